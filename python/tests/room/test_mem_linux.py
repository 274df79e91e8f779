"""The seals of memory that is handed over."""

from __future__ import annotations

import os
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("seals are Linux's", allow_module_level=True)

import fcntl

from standpipe import NotSealedError, _mem_linux, mem


@pytest.mark.parametrize("without", ["shrink", "grow", "future-write", "seal", "all"])
def test_seals(without: str) -> None:
    bits = {"shrink": 2, "grow": 4, "future-write": 16, "seal": 1, "all": _mem_linux.SEALS}
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.truncate(fd, 4096)
    fcntl.fcntl(fd, 1033, _mem_linux.SEALS & ~bits[without])
    with pytest.raises(NotSealedError):
        mem.Segment.map(fd, 4096)


def test_what_is_no_segment() -> None:
    r, w = os.pipe()
    os.close(w)
    for fd in (r, os.open(__file__, os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY)):
        with pytest.raises(NotSealedError):
            mem.Segment.map(fd, 4096)


def test_sealed_against_its_maker_too() -> None:
    made = mem.Segment.create(8192)
    fd = made.take()
    with pytest.raises(PermissionError):
        os.truncate(fd, 4096)
    with pytest.raises(PermissionError):
        os.truncate(fd, 16384)
    with pytest.raises(PermissionError):
        os.write(fd, b"x")
    assert not os.get_inheritable(fd)
    os.close(fd)
    made.close()
