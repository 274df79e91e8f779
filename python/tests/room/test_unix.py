"""What lies in the file system: sockets, their locks, and what others may have put there. spec/address.md."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

import standpipe
from standpipe import BadNameError, DeniedError, InUseError, MessagesError, NotSocketError, StaleError

from .conftest import Background, environment
from .test_conn import receive, waits

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

import fcntl

from standpipe import _unix_path


def path_of(name: str) -> str:
    return standpipe.parse_addr(name).path


def stale(path: str) -> None:
    """Leave a socket that nobody serves."""
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        s.listen()


def folder(name: str) -> str:
    made = os.path.dirname(path_of(name))
    os.mkdir(made, 0o700)
    return made


def test_files(name: str) -> None:
    path = path_of(name)
    with standpipe.listen(name):
        st = os.lstat(path)
        assert stat.S_ISSOCK(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o600
        assert stat.S_IMODE(os.lstat(os.path.dirname(path)).st_mode) == 0o700
        lock = os.lstat(path + ".lock")
        assert stat.S_IMODE(lock.st_mode) == 0o600
        with open(path + ".lock") as f:
            assert f.read() == f"name: {name}\npid: {os.getpid()}\ninode: {st.st_dev}:{st.st_ino}\n"
    assert os.listdir(os.path.dirname(path)) == []


def test_modes_whatever_the_umask(place: str) -> None:
    old = os.umask(0o777)
    try:
        with standpipe.listen(place + "/s", policy=standpipe.Policy.anyone()):
            assert stat.S_IMODE(os.lstat(place + "/s").st_mode) == 0o666
        with standpipe.listen(place + "/s"):
            assert stat.S_IMODE(os.lstat(place + "/s").st_mode) == 0o600
    finally:
        os.umask(old)


def test_a_dead_server_is_replaced(name: str) -> None:
    folder(name)
    path = path_of(name)
    stale(path)
    with pytest.raises(StaleError):
        standpipe.connect(name)
    with standpipe.listen(name):
        standpipe.connect(name).close()


def test_a_killed_server_is_replaced(name: str) -> None:
    code = f"import standpipe, time; l = standpipe.listen({name!r}); print('ready', flush=True); time.sleep(60)"
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment())
    assert server.stdout is not None
    with server, server.stdout:
        assert server.stdout.readline() == b"ready\n"
        with pytest.raises(InUseError, match=f"process {server.pid} serves it"):
            standpipe.listen(name)
        server.send_signal(signal.SIGKILL)
    with pytest.raises(StaleError):
        standpipe.connect(name)
    assert standpipe.list() == []
    with standpipe.listen(name) as listener:
        assert standpipe.list() == [listener.addr]


def test_what_is_no_socket_stays(name: str) -> None:
    path = os.path.join(folder(name), name + ".sock")
    with open(path, "w") as f:
        f.write("precious")
    with pytest.raises(NotSocketError, match="regular file; it was left alone"):
        standpipe.listen(name)
    with pytest.raises(NotSocketError):
        standpipe.connect(name)
    with open(path) as f:
        assert f.read() == "precious"
    os.remove(path)
    os.symlink("/etc/passwd", path)
    with pytest.raises(NotSocketError, match="symbolic link"):
        standpipe.listen(name)
    assert os.readlink(path) == "/etc/passwd"


def test_a_server_without_a_lock_file(name: str) -> None:
    folder(name)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path_of(name))
        s.listen()
        with pytest.raises(InUseError, match="without a lock file"):
            standpipe.listen(name)
        assert stat.S_ISSOCK(os.lstat(path_of(name)).st_mode)


def test_a_lock_that_is_held_for_a_moment(name: str, background: Background) -> None:
    lock = os.path.join(folder(name), name + ".sock.lock")
    fd = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(fd, fcntl.LOCK_SH)

    def let_go() -> None:
        time.sleep(0.005)
        os.close(fd)

    background(let_go)
    try:
        standpipe.listen(name).close()
    except InUseError:  # this machine was slow
        standpipe.listen(name).close()


def test_lock_files_that_are_not_ours_alone(name: str) -> None:
    made = folder(name)
    lock = path_of(name) + ".lock"
    os.symlink("/etc/passwd", lock)
    with pytest.raises(OSError):
        standpipe.listen(name)
    os.remove(lock)
    with open(lock, "w"):
        os.link(lock, os.path.join(made, "other"))
    with pytest.raises(InUseError, match="has 2 names"):
        standpipe.listen(name)


def test_a_folder_that_others_may_use(name: str) -> None:
    made = folder(name)
    os.chmod(made, 0o750)
    with pytest.raises(DeniedError, match="mode 0o750"):
        standpipe.listen(name)
    os.rmdir(made)
    os.mkdir(made + "-real", 0o700)
    os.symlink(made + "-real", made)
    with pytest.raises(DeniedError, match="symbolic link"):
        standpipe.listen(name)


def test_a_path_where_others_may_meddle(place: str) -> None:
    os.mkdir(place + "/open")
    os.chmod(place + "/open", 0o777)
    with pytest.raises(DeniedError, match="others could replace the socket"):
        standpipe.listen(place + "/open/s")
    os.chmod(place + "/open", 0o1777)
    standpipe.listen(place + "/open/s").close()
    os.symlink(place + "/open", place + "/link")
    with standpipe.listen(place + "/link/s"):
        assert os.path.exists(place + "/open/s")
    os.symlink("loop", place + "/loop")
    with pytest.raises(BadNameError, match="too many links"):
        standpipe.listen(place + "/loop/s")
    with open(place + "/file", "w"), pytest.raises(BadNameError, match="regular file"):
        standpipe.listen(place + "/file/s")


def test_only_the_socket_that_was_made_is_removed(place: str) -> None:
    listener = standpipe.listen(place + "/s")
    os.remove(place + "/s")
    stale(place + "/s")
    listener.close()
    assert stat.S_ISSOCK(os.lstat(place + "/s").st_mode)


def test_long_names(place: str) -> None:
    name = "a" * 128
    with standpipe.listen(name) as listener:
        assert os.path.basename(listener.addr.path).startswith("~") and len(listener.addr.path) <= 107
        with open(listener.addr.path + ".lock") as f:
            assert f.readline() == f"name: {name}\n"
        assert standpipe.list() == [listener.addr]
        standpipe.connect(name).close()


def test_list(name: str, place: str) -> None:
    assert standpipe.list() == []
    with standpipe.listen(name + "-b") as b, standpipe.listen(name + "-a") as a, standpipe.listen(place + "/s"):
        assert standpipe.list() == [a.addr, b.addr]
        stale(path_of("dead"))
        assert standpipe.list() == [a.addr, b.addr]
    os.remove(path_of("dead"))


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's alone")
def test_abstract(name: str) -> None:
    with standpipe.listen("@" + name) as listener:
        with pytest.raises(InUseError):
            standpipe.listen("@" + name)
        standpipe.connect("@" + name).close()
        with listener.accept(300) as conn:
            assert receive(conn, 1) == b""
    with pytest.raises(standpipe.NoServerError):
        standpipe.connect("@" + name)


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no SOCK_SEQPACKET")
def test_a_server_that_keeps_messages(place: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.bind(place + "/s")
        s.listen()
        with pytest.raises(MessagesError):
            standpipe.connect(place + "/s")
        with pytest.raises(InUseError):
            standpipe.listen(place + "/s")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses")
def test_a_full_queue_is_waited_for(place: str, background: Background) -> None:
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(place + "/s")
        s.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(place + "/s")
            with pytest.raises(TimeoutError, match="queue is full"):
                standpipe.connect(place + "/s", timeout=0.05)
            thread = background(lambda: standpipe.connect(place + "/s", timeout=300).close())
            waits(thread)
            s.accept()[0].close()
            thread.join()


def test_default_timeouts_of_sockets_do_not_count(name: str, background: Background) -> None:
    socket.setdefaulttimeout(0.02)
    try:
        with standpipe.listen(name) as listener:

            def serve() -> None:
                with listener.accept() as conn:
                    time.sleep(0.06)
                    conn.send([bytes(1 << 20)])
                    receive(conn, 1)

            background(serve)
            with standpipe.connect(name) as conn:
                time.sleep(0.1)
                assert len(receive(conn, 1 << 20)) == 1 << 20
    finally:
        socket.setdefaulttimeout(None)


@pytest.mark.parametrize("name", ["/", "//a", "/a//b", "/a/../b", "/a/.", "/a/", "/a\0b", "/\udcff" * 60, "/\ud800"])
def test_bad_path(name: str) -> None:
    with pytest.raises(BadNameError):
        standpipe.parse_addr(name)


def test_where_names_lie(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("HOME", "/home/nobody-here")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(_unix_path, "own_folder", lambda folder: (_ for _ in ()).throw(PermissionError()))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    cache = "Library/Caches" if sys.platform == "darwin" else ".cache"
    assert standpipe.parse_addr("a").path == f"/home/nobody-here/{cache}/standpipe/run/a.sock"
    monkeypatch.delenv("HOME")
    with pytest.raises(BadNameError, match="set XDG_RUNTIME_DIR or HOME"):
        standpipe.parse_addr("a")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc/1" if os.geteuid() else place)
    if os.geteuid() == 0:
        os.chown(place, 12345, -1)  # as sudo may leave another user's
    with pytest.raises(BadNameError):
        standpipe.parse_addr("a")
