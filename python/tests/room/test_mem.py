"""Memory that is handed over."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

import standpipe
from standpipe import mem

from .conftest import environment, held

pytestmark = pytest.mark.skipif(not mem.KIND, reason="this system has no segments")


def test_both_see_it() -> None:
    made = mem.Segment.create(8192)
    assert len(made.view) == made.size == 8192 and made.view[8191] == 0 and made.view.format == "B"
    received = mem.Segment.map(made.take(), 8192)
    made.view[:5] = b"hello"
    assert bytes(received.view[:5]) == b"hello"
    made.close()
    assert bytes(received.view[:5]) == b"hello"
    assert len(made.view) == 0
    received.close()


def test_received_is_for_reading() -> None:
    made = mem.Segment.create(4096)
    received = mem.Segment.map(made.take(), 4096)
    assert received.view.readonly and not made.view.readonly
    with pytest.raises(TypeError):
        received.view[0] = 1
    with pytest.raises((TypeError, BufferError)):
        memoryview(received.view).cast("I")[0] = 1
    made.close()
    received.close()


def test_received_arrays_are_for_reading() -> None:
    if sys.platform == "win32":
        pytest.importorskip("numpy")  # it is more than Wine has
    import numpy

    made = mem.Segment.create(4096)
    received = mem.Segment.map(made.take(), 4096)
    assert not numpy.frombuffer(received.view, "u1").flags.writeable
    made.close()
    received.close()


def test_writing_to_what_was_received_faults() -> None:
    """Also for who goes around the view: the kernel has it for reading only."""
    code = """
import ctypes
from standpipe import mem
made = mem.Segment.create(4096)
received = mem.Segment.map(made.take(), 4096)
print("ready", flush=True)
received.view.obj[0] = 1
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment(), timeout=300)
    assert done.stdout.startswith(b"ready") and done.returncode not in (0, 1)


def test_memory_goes_with_the_last_view() -> None:
    before = held()
    made = mem.Segment.create(1 << 20)
    made.view[9] = 9
    part = made.view[8:16]
    made.close()
    del made
    gc.collect()
    assert part[1] == 9
    if sys.platform == "linux":
        assert held()["segments"] == before["segments"] + 1
    del part
    assert held() == before


def test_forgotten() -> None:
    before = held()
    for _ in range(20):
        mem.Segment.create(4096)
        mem.close_handle(mem.Segment.create(4096).take())
    assert held() == before


def test_taken_once() -> None:
    made = mem.Segment.create(4096)
    mem.close_handle(made.take())
    with pytest.raises(ValueError):
        made.take()
    made.close()


@pytest.mark.parametrize("size", [0, -4096, 1, 4095, 4097, 1 << 32, 1 << 62])
def test_sizes(size: int) -> None:
    with pytest.raises(ValueError, match="multiples of 4096"):
        mem.Segment.create(size)
    handle = mem.Segment.create(4096).take()
    with pytest.raises(ValueError):
        mem.Segment.map(handle, size)


@pytest.mark.parametrize("size", [8192, 4096 * 100])
def test_another_size_than_was_said(size: int) -> None:
    before = held()
    handle = mem.Segment.create(4096).take()
    with pytest.raises(OSError):
        mem.Segment.map(handle, size)
    assert held() == before, "the handle was not closed"


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors")
def test_over_a_connection() -> None:
    a, b = standpipe.pipe()
    with a, b:
        assert a.can_share
        made = mem.Segment.create(1 << 20)
        made.view[-1] = 42
        fd = made.take()
        a.send([b"x"], [fd])
        mem.close_handle(fd)
        assert b.recv_into(memoryview(bytearray(1))) == 1
        received = mem.Segment.map(b.take_handles()[0], 1 << 20)
        assert received.view[-1] == 42
        made.close()
        received.close()
