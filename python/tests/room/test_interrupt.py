"""Ctrl-C, which comes as KeyboardInterrupt at any place in the main thread."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from .conftest import environment

WAITING = {
    "receive": """
a, b = standpipe.pipe()
try:
    ready()
    b.recv_into(memoryview(bytearray(1)))
except KeyboardInterrupt:
    a.send([b"x"])
    assert b.recv_into(memoryview(bytearray(1))) == 1, "a wait that was interrupted does no harm"
    print("interrupted")
""",
    "send": """
a, b = standpipe.pipe()
try:
    ready()
    while True:
        a.send([bytes(100_000)])
except KeyboardInterrupt:
    assert a.closed, "what was sent is not known"
    print("interrupted")
""",
    "accept": """
with standpipe.listen(NAME) as l:
    try:
        ready()
        l.accept()
    except KeyboardInterrupt:
        try:
            l.accept(0)
        except TimeoutError:
            print("interrupted")
""",
    "dial": """
try:
    ready()
    standpipe.connect(NAME, wait=True)
except KeyboardInterrupt:
    print("interrupted")
""",
}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no way to send Ctrl-C to one process")
@pytest.mark.parametrize("where", WAITING)
def test_interrupt(where: str, name: str) -> None:
    code = f"import standpipe\nNAME = {name!r}\ndef ready(): print('ready', flush=True)\n" + WAITING[where]
    command = [sys.executable, "-X", "dev", "-c", code]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=300)
    assert (out, child.returncode) == ("interrupted\n", 0), err


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupts_at_any_moment() -> None:
    """Nothing is lost, or the connection is closed: never anything in between."""
    code = """
import os, signal, standpipe, threading, time
a, b = standpipe.pipe()
over = False

def feed():
    i = 0
    try:
        while not over:
            a.send([bytes([i % 256])])
            i += 1
    except (BrokenPipeError, standpipe.ClosedError):
        pass

def shoot():
    while not over:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.0007)

class Shot(BaseException): pass

def fire(*args):
    if armed: raise Shot()

armed = False
signal.signal(signal.SIGUSR1, fire)
threads = [threading.Thread(target=feed), threading.Thread(target=shoot)]
for t in threads: t.start()
want, shots, room = 0, 0, bytearray(1)
end = time.monotonic() + 3
while time.monotonic() < end:
    n = None
    try:
        armed = True
        n = b.recv_into(memoryview(room))
        armed = False
    except Shot:
        armed = False
        shots += 1
        if b.closed:
            a.close(); b.close()
            break
        if n is None:
            continue
    assert n == 1 and room[0] == want % 256, (n, room[0], want)
    want += 1
over = True
a.close(); b.close()
for t in threads: t.join()
assert want and shots
print("ok")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment(), text=True, timeout=300)
    assert done.stdout == "ok\n", done.stderr
