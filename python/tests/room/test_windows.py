"""What is Windows' alone: pipes' descriptors, instances, clients who say nothing, and handles. Under Wine too."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
import time

import pytest

if sys.platform != "win32":
    pytest.skip("pipes", allow_module_level=True)
assert sys.platform == "win32"

import standpipe
from standpipe import DeniedError, InUseError, NotSealedError, Policy, _windows, _windows_listen, mem
from standpipe import _windows_api as api
from standpipe._access import sddl
from standpipe._windows_api import kernel32
from standpipe._windows_handles import Holder
from standpipe._windows_identity import Standing, current_user, pipe_owner, standing
from standpipe._windows_pipe import Endpoint
from standpipe.policy import Guard

from .conftest import Background, environment, eventually, open_handles
from .test_conn import receive
from .test_listen import connect


def descriptor_text(pipe: int) -> str:
    """The owner and the DACL of an open pipe."""
    advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    descriptor, text = ctypes.c_void_p(), ctypes.c_wchar_p()
    assert not api.advapi32.GetSecurityInfo(pipe, 6, 1 | 4, None, None, None, None, ctypes.byref(descriptor))
    convert = advapi32.ConvertSecurityDescriptorToStringSecurityDescriptorW
    convert.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p]
    assert convert(descriptor, 1, 1 | 4, ctypes.byref(text), None)
    found = text.value or ""
    kernel32.LocalFree(descriptor)
    kernel32.LocalFree(ctypes.cast(text, ctypes.c_void_p))
    return found


def test_descriptor() -> None:
    me = current_user()
    path = "\\\\.\\pipe\\standpipe-test-descriptor"
    guard = Guard(users=[me, "S-1-5-21-1-2-3-4"], groups=["S-1-5-32-545"])
    end = _windows.Instances(path, sddl(guard, me), 0).make(first=True)
    try:
        assert pipe_owner(end.pipe) == me
        text = descriptor_text(end.pipe).replace(";;;BU)", ";;;S-1-5-32-545)")
        assert text == sddl(guard, me)
    finally:
        end.close()


def test_first_instance_and_further_ones(name: str) -> None:
    path = standpipe.parse_addr(name).path
    instances = _windows.Instances(path, sddl(Guard(users=[current_user()]), current_user()), 0)
    with pytest.raises(OSError) as e:
        instances.make(first=False)
    assert e.value.winerror == api.ERROR_FILE_NOT_FOUND, "the name must exist"
    first = instances.make(first=True)
    with pytest.raises(InUseError):
        standpipe.listen(name)
    with pytest.raises(OSError):
        instances.make(first=True)
    instances.make(first=False).close()
    first.close()
    standpipe.listen(name).close()


def test_a_connection_keeps_the_name(name: str) -> None:
    """As on Windows a pipe's name is taken until its last end is closed."""
    listener = standpipe.listen(name)
    client, server = connect(listener)
    listener.close()
    with pytest.raises(InUseError):
        standpipe.listen(name)
    client.close()
    server.close()
    standpipe.listen(name).close()


def test_the_name_never_goes(name: str, background: Background) -> None:
    """A client may find it busy, and never gone: a successor is there before an instance is given away."""
    with standpipe.listen(name, backlog=1) as listener:

        def serve() -> None:
            for conn in listener:
                conn.close()

        background(serve)
        for _ in range(100):
            standpipe.connect(name, timeout=300).close()
        listener.close()


def test_a_client_that_must_speak_first(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose token can be had only behind its first bytes, as CreateFile's default has it."""
    met: list[bytes] = []

    def meet(end: Endpoint) -> None:
        met.append(end.first)
        if not end.first:
            raise api.error_of(api.ERROR_CANNOT_IMPERSONATE, "a test")
        Endpoint.meet(end)

    with standpipe.listen(name, backlog=1) as listener:
        listener.inner.meet = meet
        with standpipe.connect(name, timeout=300) as client:
            with pytest.raises(TimeoutError):
                listener.accept(0.05)
            client.send([b"hello"])
            with listener.accept(300) as server:
                assert receive(server, 2) == b"he"
                client.send([b" you"])
                assert receive(server, 7) == b"llo you"
                assert met == [b"", b"hello"]


def test_a_client_that_never_speaks_is_refused(name: str) -> None:
    def meet(end: Endpoint) -> None:
        raise api.error_of(api.ERROR_CANNOT_IMPERSONATE, "a test")

    with standpipe.listen(name, backlog=1) as listener:
        listener.inner.meet = meet
        listener.inner.mute_limit = 0.05
        with standpipe.connect(name, timeout=300) as client:
            with pytest.raises(TimeoutError):
                listener.accept(1)
            assert listener.refused == 1
            assert receive(client, 1) == b""


def test_mute_clients_do_not_keep_others_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mute = 3
    monkeypatch.setattr(_windows_listen, "MOST_MUTE", mute)

    def meet(end: Endpoint) -> None:
        if not end.first:
            raise api.error_of(api.ERROR_CANNOT_IMPERSONATE, "a test")
        Endpoint.meet(end)

    with standpipe.listen(name, backlog=2) as listener:
        listener.inner.meet = meet
        listener.inner.mute_limit = 0.3
        quiet = []
        for _ in range(mute + 1):
            quiet.append(standpipe.connect(name, timeout=300))
            with pytest.raises(TimeoutError):
                listener.accept(0.01)
        with standpipe.connect(name, timeout=300) as client:
            client.send([b"x"])
            with listener.accept(300) as server:
                assert receive(server, 1) == b"x"
        for conn in quiet:
            conn.close()


def test_what_others_call_a_client(name: str) -> None:
    """A program that opens the pipe as a file, as other languages do."""
    with standpipe.listen(name) as listener:
        got: list[bytes] = []

        def serve() -> None:
            with listener.accept(300) as conn:
                got.append(receive(conn, 5))
                conn.send([b"back"])
                receive(conn, 1)

        thread = threading.Thread(target=serve)
        thread.start()
        with open(listener.addr.path, "r+b", buffering=0) as f:
            f.write(b"hello")
            assert f.read(4) == b"back"
        thread.join()
        assert got == [b"hello"]


def test_ends_of_one_pipe_trust_each_other() -> None:
    a, b = standpipe.pipe()
    with a, b:
        for giver, taker in ((a, b), (b, a)):
            made = mem.Segment.create(8192)
            made.view[0] = 7
            handle = made.take()
            value = giver.export_handle(handle)
            received = mem.Segment.map(taker.import_handle(value), 8192)
            assert received.view[0] == 7
            received.close()
            made.close()
            if giver is b:
                giver.revoke_handle(
                    value, handle
                )  # it has put a duplicate into the client's process, which is this one
                api.close_handle(handle)


def test_over_processes(name: str) -> None:
    """The server puts its handles into the client's process, and takes the client's out of it."""
    code = f"""
import standpipe, sys
from standpipe import mem
with standpipe.connect({name!r}, timeout=300) as conn:
    made = mem.Segment.create(4096)
    made.view[:5] = b"child"
    handle = made.take()
    conn.send([conn.export_handle(handle).to_bytes(8, "little")])
    value = bytearray(8)
    assert conn.recv_into(memoryview(value)) == 8
    received = mem.Segment.map(conn.import_handle(int.from_bytes(value, "little")), 8192)
    print(bytes(received.view[:6]).decode(), received.view.readonly)
    conn.send([b"x"])
    conn.recv_into(memoryview(value))
"""
    with standpipe.listen(name) as listener:
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment(), text=True)
        with child, listener.accept(300) as conn:
            value = int.from_bytes(receive(conn, 8), "little")
            received = mem.Segment.map(conn.import_handle(value), 4096)
            assert bytes(received.view[:5]) == b"child"
            received.close()
            made = mem.Segment.create(8192)
            made.view[:6] = b"parent"
            handle = made.take()
            conn.send([conn.export_handle(handle).to_bytes(8, "little")])
            assert receive(conn, 1) == b"x"
            # What was taken back is not in the child any more.
            value = conn.export_handle(handle)
            api.close_handle(conn.import_handle(value))
            conn.revoke_handle(value, handle)
            with pytest.raises(OSError):
                conn.import_handle(value)
            conn.revoke_handle(value, handle)
            api.close_handle(handle)
            made.close()
            assert child.stdout is not None
            assert child.stdout.readline() == "parent True\n"


@pytest.mark.parametrize("value", [0, -1, 1 << 31, (1 << 64) - 1, (1 << 64) - 2, 0x7FFFFFF0])
def test_values_that_are_no_handles(value: int) -> None:
    a, b = standpipe.pipe()
    with a, b, pytest.raises(OSError):
        b.import_handle(value)


def test_a_process_that_is_not_the_client_s() -> None:
    a, b = standpipe.pipe()
    with a, b:
        end = b._end
        assert end.server and end.client_standing is not None
        end.client_standing = Standing("S-1-5-21-1-2-3-4", 0, "S-1-16-8192")
        with pytest.raises(DeniedError, match="does not run as the client does"):
            b.export_handle(4)
        with pytest.raises(DeniedError):
            b.import_handle(4)


def test_a_server_that_may_not_have_put_handles_here(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = standpipe.pipe()
    with a, b:
        stranger = standpipe.Identity(1, "S-1-5-21-1-2-3-4")
        monkeypatch.setattr(a._end, "identity", lambda: stranger)
        with pytest.raises(DeniedError, match="may not put handles into this process"):
            a.import_handle(4)


def test_a_received_section_stays_for_reading() -> None:
    """Its empty DACL keeps who has it for reading from making a handle for writing of it."""
    made = mem.Segment.create(4096)
    handle = made.take()
    me = kernel32.GetCurrentProcess()
    with pytest.raises(PermissionError):
        api.duplicate(me, handle, me, 2, 0)  # SECTION_MAP_WRITE
    with pytest.raises(PermissionError):
        kernel32.MapViewOfFile(handle, 2, 0, 0, 4096)
    api.close_handle(handle)
    made.close()


def test_sections_that_are_none(place: str) -> None:
    import msvcrt

    path = place + "\\file"
    with open(path, "w+b") as f:
        f.write(bytes(8192))
        f.flush()
        section = kernel32.CreateFileMappingW(msvcrt.get_osfhandle(f.fileno()), None, 4, 0, 8192, None)
        with pytest.raises(NotSealedError):
            mem.Segment.map(section, 8192)
        with pytest.raises(NotSealedError):
            mem.Segment.map(api.new_event(), 4096)
    reserved = kernel32.CreateFileMappingW(api.INVALID_HANDLE, None, 4 | 0x4000000, 0, 8192, None)
    with pytest.raises(NotSealedError):
        mem.Segment.map(reserved, 8192)


def test_standing_and_identity() -> None:
    a, b = standpipe.pipe()
    with a, b:
        from standpipe._windows_identity import process_token

        token = process_token(kernel32.GetCurrentProcess())
        assert b._end.client_standing == standing(token)
        api.close_handle(token)
        assert a.identity.user == b.identity.user == current_user()
        assert "S-1-1-0" in b.identity.groups
        assert Policy.group("S-1-1-0").admits(b.identity)
        holder = Holder(b._end.pipe, b._end.client_standing)
        with holder:
            pass


def test_ctrl_c_is_let_through() -> None:
    """The main thread looks for it while it waits: here an exception is raised in it as a signal handler would."""
    code = """
import _thread, standpipe, threading, time
a, b = standpipe.pipe()
threading.Timer(0.2, _thread.interrupt_main).start()
try:
    b.recv_into(memoryview(bytearray(1)))
except KeyboardInterrupt:
    a.send([b"x"])
    assert b.recv_into(memoryview(bytearray(1))) == 1, "a wait that was interrupted does no harm"
    print("interrupted")
"""
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment(), text=True, timeout=300)
    assert done.stdout == "interrupted\n", done.stderr
    assert time.monotonic() - started < 50


def test_handles_do_not_pile_up(name: str) -> None:
    def use() -> None:
        with standpipe.listen(name) as listener:
            client, server = connect(listener)
            client.send([b"x"])
            receive(server, 1)
            client.close()
            server.close()
        made = mem.Segment.create(4096)
        mem.Segment.map(made.take(), 4096).close()

    for _ in range(3):
        use()
    before = open_handles()
    for _ in range(20):
        use()
    eventually(lambda: open_handles() <= before, f"{before} handles", open_handles)
