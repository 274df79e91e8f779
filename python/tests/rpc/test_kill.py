"""A process that is killed: the other side hears of it at once, and keeps nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import standpipe
from standpipe import Buffer, Server, current

from .conftest import eventually

SOURCE = str(Path(standpipe.__file__).parents[1])

CLIENT = """
import sys, threading
import standpipe
peer = standpipe.dial(sys.argv[1])
b = peer.new_buffer(1 << 20)
got = peer.call("same", b)
mine = peer.new_buffer(1 << 20)
print("ready", flush=True)
peer.call("hang")
"""

SERVER = """
import sys
import standpipe
server = standpipe.Server()
@server.method
def same(v):
    return v
@server.method
def hang():
    print("hangs", flush=True)
    standpipe.current().wait()
print("ready", flush=True)
server.serve(sys.argv[1])
"""


def start(text: str, name: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([SOURCE, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    process = subprocess.Popen([sys.executable, "-c", text, name], stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_client(name: str, server: Server) -> None:
    hanging, cancelled = threading.Event(), threading.Event()

    @server.method
    def same(v: Buffer) -> Buffer:
        out: Buffer = current().peer.new_buffer(len(v))
        out.view[:] = v.view
        return out

    @server.method
    def hang() -> None:
        hanging.set()
        current().wait()
        cancelled.set()

    with server.start(name):
        process = start(CLIENT, name)
        assert hanging.wait(20)
        kill(process)
        assert cancelled.wait(20)


def test_server(name: str, leaks: None) -> None:
    process = start(SERVER, name)
    with standpipe.dial(name, wait=True, timeout=20) as peer:
        got = peer.call("same", peer.new_buffer(1 << 20))
        threading.Timer(0.2, process.kill).start()
        with pytest.raises(standpipe.UnavailableError):
            peer.call("hang")
        assert len(got.copy()) == 1 << 20  # the memory is there still
        eventually(lambda: peer.closed, "it is closed", lambda: peer.error)
    kill(process)
