"""With the command in Go at the other end."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import standpipe
from standpipe import Code, Error, Server

from ..room.conftest import command

__all__ = ["command"]


@pytest.fixture
def go(command: str, name: str) -> Iterator[standpipe.Peer]:
    """A peer of a server in Go."""
    process = subprocess.Popen([command, "serve", name], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("ready ")
        with standpipe.dial(name) as peer:
            yield peer
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def test_calls(go: standpipe.Peer) -> None:
    value = {"a": [1, 2.5, None, "é", True], "b": b"\0\xff"}
    assert go.call("echo", value) == value
    assert go.call("echo", value["a"], codec=standpipe.JSON) == value["a"]
    assert go.call("sum", [1, 2, 3.5], returns=float) == 6.5
    methods = {m["name"]: m for m in go.describe()}
    assert methods["count"]["kind"] == "stream"
    assert methods["sum"]["out"] == {"type": "number"}
    assert go.call("whoami", returns=dict[str, Any])["user"]


def test_errors(go: standpipe.Peer) -> None:
    for method, value, code in (
        ("nothing", None, Code.UNIMPLEMENTED),
        ("sum", ["x"], Code.INVALID_ARGUMENT),
        ("count", 1, Code.UNIMPLEMENTED),
    ):
        with pytest.raises(Error) as e:
            go.call(method, value)
        assert e.value.code is code
    with pytest.raises(standpipe.DeadlineError):
        go.call("sleep", 30, timeout=0.05)


def test_streams(go: standpipe.Peer) -> None:
    assert list(go.open("count", {"to": 1000})) == list(range(1, 1001))
    for v in go.open("count", {"to": 1 << 30}):
        assert v == 1
        break
    with go.open("words") as stream:
        stream.send("two words")
        stream.close_send()
        assert "".join(stream)


def run(*args: str) -> tuple[int, str]:
    done = subprocess.run(args, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.strip()


def test_go_calls(command: str, name: str, server: Server) -> None:
    @server.method
    def echo(v: Any) -> Any:
        return v

    @server.method
    def count(n: int) -> Iterator[int]:
        yield from range(n)

    @server.method
    def fail() -> None:
        raise Error(Code.NOT_FOUND, "as asked")

    with server.start(name):
        assert run(command, "call", name, "echo", '{"a":[1,2]}', "--codec", "msgpack") == (0, '{"a":[1,2]}')
        assert run(command, "call", name, "echo", '{"a":[1,2]}') == (0, '{"a":[1,2]}')
        assert run(command, "call", name, "count", "3") == (0, "0\n1\n2")
        assert run(command, "call", name, "fail")[0] != 0
        code, text = run(command, "describe", name)
        assert code == 0
        assert "count  stream" in text
