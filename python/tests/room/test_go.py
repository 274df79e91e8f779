"""The Go command at the other end, and beside us: both keep each other out of a name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import standpipe
from standpipe import InUseError, NoServerError, StaleError

from .conftest import Background, environment, eventually
from .test_conn import receive


@contextmanager
def go_server(command: str, name: str, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    server = subprocess.Popen([command, "serve", name, *more], stdout=subprocess.PIPE)
    assert server.stdout is not None
    with server, server.stdout:
        try:
            assert server.stdout.readline().startswith(b"ready ")
            yield server
        finally:
            server.kill()


def test_go_serves_the_name(command: str, name: str) -> None:
    with go_server(command, name) as server:
        with pytest.raises(InUseError):
            standpipe.listen(name)
        if sys.platform != "win32":
            assert [a.name for a in standpipe.list()] == [name]
            with pytest.raises(InUseError, match=f"process {server.pid} serves it"):
                standpipe.listen(name)
        with standpipe.connect(name) as conn:
            assert receive(conn, 12) == b"standpipe 1\n"
            assert conn.identity.pid == server.pid
            assert standpipe.Policy().admits(conn.identity)
    # It was killed.
    with pytest.raises(NoServerError) as e:
        standpipe.connect(name)
    if sys.platform != "win32":
        assert isinstance(e.value, StaleError)
    standpipe.listen(name).close()


def test_python_serves_the_name(command: str, name: str) -> None:
    with standpipe.listen(name) as listener:
        done = subprocess.run([command, "serve", name], capture_output=True, timeout=300)
        assert done.returncode == 1 and b"in use" in done.stderr
        if sys.platform != "win32":
            done = subprocess.run([command, "list"], capture_output=True, timeout=300)
            assert listener.addr.name in done.stdout.decode()
    with go_server(command, name):
        pass


def test_go_connects(command: str, name: str, background: Background) -> None:
    with standpipe.listen(name) as listener:

        def serve() -> None:
            with listener.accept(300) as conn:
                conn.send([receive(conn, 5).upper()])
                assert receive(conn, 1) == b""

        background(serve)
        client = subprocess.Popen([command, "connect", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert client.stdin is not None and client.stdout is not None
        with client:
            client.stdin.write(b"hello")
            client.stdin.flush()
            assert client.stdout.read(5) == b"HELLO"


def test_connecting_to_go(command: str, name: str) -> None:
    server = subprocess.Popen(
        [command, "listen", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert server.stdin is not None and server.stdout is not None and server.stderr is not None
    with server, server.stdin, server.stdout, server.stderr:
        with standpipe.connect(name, wait=True, timeout=300) as conn:
            conn.send([b"hello"])
            assert server.stdout.read(5) == b"hello"
            server.stdin.write(b"hi")
            server.stdin.flush()
            assert receive(conn, 2) == b"hi"
        server.wait(300)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes keep no dead names")
def test_go_replaces_a_python_server_that_was_killed(command: str, name: str) -> None:
    code = f"import os, standpipe; l = standpipe.listen({name!r}); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())
    with go_server(command, name):
        standpipe.connect(name).close()
    eventually(lambda: standpipe.list() == [], "nothing is served", standpipe.list)
