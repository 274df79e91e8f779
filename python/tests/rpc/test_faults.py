"""Faults that the threads' side once had."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import standpipe
from standpipe import Code, Error, Server

from .conftest import Connect

if sys.platform == "win32":
    pytest.skip("it is of Unix sockets", allow_module_level=True)

MIB = 1 << 20
SOURCE = str(Path(standpipe.__file__).parents[1])
HELLO = b"standpipe 1\nmax-message: 65536\nmax-buffers: 0\ncodecs: msgpack\n\n"


def frame(body: bytes) -> bytes:
    return struct.pack("<IBBH", len(body), 1, 0, 0) + body


Raw = Callable[..., tuple[socket.socket, Any]]


@pytest.fixture
def raw(server: Server) -> Iterator[Raw]:
    """A hostile peer's socket, and the server's Peer."""
    ends: list[Any] = []

    def make(hello: bytes = HELLO) -> tuple[socket.socket, Any]:
        a, b = standpipe.pipe()
        peer = server.attach(b)
        sock = socket.socket(fileno=os.dup(a.fileno()))
        sock.setblocking(True)
        sock.sendall(hello)
        ends.extend((a, sock))
        return sock, peer

    yield make
    for end in ends:
        end.close()


def test_two_copied_buffers(server: Server, connect: Connect) -> None:
    @server.method
    def join(v: list[standpipe.Buffer]) -> bytes:
        return b"".join(bytes(b.view[:4]) for b in v)

    @server.method
    def give(n: int) -> list[standpipe.Buffer]:
        peer = standpipe.current().peer
        found = []
        for i in range(n):
            b = peer.new_buffer(100_000)
            b.view[:4] = bytes([65 + i]) * 4
            found.append(b)
        return found

    peer = connect()
    theirs = peer.call("give", 2, returns=list[standpipe.Buffer])
    assert [bytes(b.view[:4]) for b in theirs] == [b"AAAA", b"BBBB"]
    assert peer.call("join", theirs, timeout=10) == b"AAAABBBB"


def test_answer_with_a_buffer_that_is_gone(server: Server, connect: Connect) -> None:
    kept: list[standpipe.Buffer] = []

    @server.method
    def cached() -> standpipe.Buffer:
        if not kept:
            kept.append(standpipe.current().peer.new_buffer(100_000))
        return kept[0]

    peer = connect()
    assert len(peer.call("cached", returns=standpipe.Buffer)) == 100_000
    with pytest.raises(standpipe.Error) as e:
        peer.call("cached", timeout=3)
    assert e.value.code == standpipe.Code.INTERNAL


def test_pings_of_one_who_does_not_read(raw: Raw) -> None:
    sock, peer = raw()
    sock.settimeout(1)
    pings = frame(struct.pack("<IBBBB", 0, 6, 0, 0, 0)) * 4096
    with suppress(TimeoutError, OSError):
        for _ in range(100):
            sock.sendall(pings)
    time.sleep(0.2)
    assert len(peer.session.outbox) < 20_000


@pytest.mark.parametrize("where", ["hello", "skipped", "large"])
def test_descriptors_inside_of_a_frame(raw: Raw, where: str) -> None:
    hello = b"standpipe 1\nmax-message: 65536\nmax-buffers: 1048576\ncodecs: msgpack\nshare: memfd\n"
    sock, peer = raw(hello)
    if where != "hello":
        sock.sendall(b"\n" + struct.pack("<IBBH", 1 << 20, 200 if where == "skipped" else 1, 0, 0))
    more = [os.dup(0) for _ in range(64)]
    most = 0
    with suppress(OSError):
        for _ in range(8):
            socket.send_fds(sock, [b"x: y\n" if where == "hello" else b"x"], more)
            time.sleep(0.05)
            most = max(most, len(peer.session.handles))
    for fd in more:
        os.close(fd)
    assert most <= 128


def test_a_long_timeout(server: Server, connect: Connect) -> None:
    @server.method
    def one() -> int:
        return 1

    assert connect().call("one", timeout=40 * 86400) == 1


def test_the_time_of_a_call_with_buffers_is_kept(server: Server) -> None:
    a, b = standpipe.pipe()
    b_sock = socket.socket(fileno=os.dup(b.fileno()))
    b_sock.sendall(b"standpipe 1\nmax-message: 65536\nmax-buffers: 100000000\ncodecs: msgpack\n\n")
    peer = standpipe.attach(a)

    def call() -> None:
        with suppress(BaseException):
            peer.call("x", standpipe.Buffer(memoryview(bytearray(8 * MIB))), timeout=0.5)

    t = threading.Thread(target=call, daemon=True)
    t.start()
    t.join(3)
    late = t.is_alive()
    peer.close()
    b_sock.close()
    b.close()
    t.join()
    assert not late


def test_dial_timeout_is_a_timeout(name: str) -> None:
    with standpipe.listen(name) as ln:
        with pytest.raises(TimeoutError):
            standpipe.dial(name, timeout=0.2)
        ln.accept().close()


@pytest.mark.parametrize("what", ["listener", "conn"])
def test_fork(name: str, what: str) -> None:
    import subprocess

    code = f"""
import os, sys, standpipe, warnings
warnings.simplefilter("ignore")
ln = standpipe.listen({name!r})
a, b = standpipe.pipe()
if os.fork() == 0:
    sys.exit(0)
os.wait()
if {what!r} == "listener":
    ok = os.path.exists(ln.addr.path)
else:
    a.send([b"x"])
    ok = b.recv_into(memoryview(bytearray(9)), 1) == 1
ln.close(); a.close(); b.close()
sys.exit(0 if ok else 7)
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    p = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, timeout=20)
    assert p.returncode == 0, p.stderr


def test_interrupted_when_it_was_queued(server: Server, connect: Connect) -> None:
    @server.method
    def size(v: standpipe.Buffer) -> int:
        return len(v)

    @server.method
    def name_of(v: str) -> str:
        return v

    peer = connect()
    peer.call("name_of", "x")
    peer.channel._writing.acquire()
    threading.Timer(0.2, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)).start()

    def written() -> None:  # as who writes does: what has come meanwhile is his
        peer.channel._writing.release()
        peer.channel.flush()

    writer = threading.Timer(0.4, written)
    writer.start()

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGUSR1, stop)
    b = standpipe.Buffer(memoryview(bytearray(60_000)))
    try:
        with pytest.raises(KeyboardInterrupt):
            peer.call("size", {"v": b, "pad": bytes(100_000)})
        assert peer.call("name_of", "mine", timeout=5) == "mine"
        assert peer.error is None
    finally:
        signal.signal(signal.SIGUSR1, old)
        writer.join()


def test_shortage_of_descriptors(name: str) -> None:
    """A server that has none left serves on when it has some again."""
    for text in (SHORT, SHORT_AIO):
        with subprocess.Popen(
            [sys.executable, "-X", "dev", "-c", text, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": SOURCE},
        ) as child:
            assert child.stdin is not None and child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            with pytest.raises(TimeoutError):
                standpipe.dial(name, timeout=0.3)
            child.stdin.write("free\n")
            child.stdin.flush()
            assert child.stdout.readline() == "freed\n"
            with standpipe.dial(name, timeout=5) as peer:
                assert peer.call("one", returns=int) == 1
            child.stdin.close()
            assert child.wait(10) == 0


SHORT = """
import os, resource, sys
import standpipe
server = standpipe.Server()
@server.method
def one() -> int:
    return 1
with server.start(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        print("ready", flush=True)
    os.read(0, 100)
    for fd in taken:
        os.close(fd)
    print("freed", flush=True)
    os.read(0, 100)
"""

SHORT_AIO = """
import asyncio, os, resource, sys
from standpipe import aio
async def main():
    async with aio.Server() as server:
        @server.method
        async def one() -> int:
            return 1
        await server.start(sys.argv[1])
        read = asyncio.get_running_loop().run_in_executor
        await read(None, int)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        taken = []
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            print("ready", flush=True)
        await read(None, os.read, 0, 100)
        for fd in taken:
            os.close(fd)
        print("freed", flush=True)
        await read(None, os.read, 0, 100)
asyncio.run(main())
"""


def test_no_thread_can_be_started(server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are refused, and the server ends well; what runs goes on."""
    inside, go = threading.Event(), threading.Event()

    @server.method
    def wait() -> int:
        inside.set()
        go.wait(10)
        return 1

    @server.method
    def each(n: int) -> Iterator[int]:
        yield from range(n)

    peer = connect()
    results: list[Any] = []
    caller = threading.Thread(target=lambda: results.append(peer.call("wait", timeout=10)))
    caller.start()
    assert inside.wait(5)
    with monkeypatch.context() as m:

        def start(thread: threading.Thread) -> None:
            if thread.name == "standpipe-handler":
                raise RuntimeError("can't start new thread")
            begin(thread)

        begin = threading.Thread.start
        m.setattr(threading.Thread, "start", start)
        server._pool._idle, idle = 0, server._pool._idle
        with pytest.raises(Error) as e, peer.open("each", 3, timeout=5) as stream:
            list(stream)
        assert e.value.code is Code.RESOURCE_EXHAUSTED
        server._pool._idle += idle
    go.set()
    caller.join()
    assert results == [1]
    assert list(peer.open("each", 3)) == [0, 1, 2]


def test_header_beside_a_receiver(server: Server, connect: Connect) -> None:
    """Who waits for the header does not take the place of who receives."""
    go = threading.Event()

    @server.method
    def late() -> Iterator[int]:
        go.wait(10)
        yield 1

    peer = connect()
    stream = peer.open("late")
    got: list[Any] = []
    receiver = threading.Thread(target=lambda: got.append(stream.recv(5)))
    header = threading.Thread(target=lambda: got.append(stream.header()))
    receiver.start()
    time.sleep(0.1)
    header.start()
    with pytest.raises(TimeoutError):
        stream.recv(0.1)
    go.set()
    receiver.join()
    header.join()
    assert len(got) == 2 and 1 in got
    stream.close()


def test_umask(tmp_path: Any) -> None:
    from standpipe._unix_path import make_user_folder

    old = os.umask(0)
    try:
        make_user_folder(str(tmp_path / ".cache" / "standpipe" / "run"))
    finally:
        os.umask(old)
    assert (tmp_path / ".cache").stat().st_mode & 0o077 == 0
