"""Segments by memfd_create(2), sealed."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import sys

assert sys.platform == "linux"

from . import _mem_unix
from ._mem_unix import close, unmap
from .error import NotSealedError

__all__ = ["KIND", "close", "create", "map_received", "unmap"]

KIND = "memfd"

_F_ADD_SEALS, _F_GET_SEALS = 1033, 1034  # fcntl(2)
_SEAL, _SHRINK, _GROW, _FUTURE_WRITE = 1, 2, 4, 16
SEALS = _SHRINK | _GROW | _FUTURE_WRITE | _SEAL
"""The size stays, nobody but who has mapped it by now can ever write to it, and that stays.

FUTURE_WRITE needs Linux 5.1.
"""

_MFD_NOEXEC_SEAL = 8
_HUGE = 2 << 20


def create(size: int) -> tuple[int, int, int]:
    """Address, size and descriptor."""
    fd = _memfd()
    try:
        os.truncate(fd, size)
        address = _mem_unix.map_shared(fd, size, write=True)
        try:
            fcntl.fcntl(fd, _F_ADD_SEALS, SEALS)
        except BaseException:
            unmap(address, size)
            raise
    except BaseException:
        close(fd)
        raise
    _advise(address, size)
    return address, size, fd


def _memfd() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("standpipe", flags | _MFD_NOEXEC_SEAL)
    except OSError as e:
        if e.errno != errno.EINVAL:  # before Linux 6.3
            raise
        return os.memfd_create("standpipe", flags)


def map_received(fd: int, size: int) -> int:
    """The address, after the seals and the size were looked at. The descriptor stays open."""
    try:
        seals = fcntl.fcntl(fd, _F_GET_SEALS)
    except OSError as e:
        raise NotSealedError("it takes no seals", e) from e
    if seals & SEALS != SEALS:
        raise NotSealedError(f"it has the seals {seals:#x}, and must have {SEALS:#x}")
    if os.fstat(fd).st_size != size:
        raise NotSealedError(f"it has {os.fstat(fd).st_size} bytes, and not {size}")
    address = _mem_unix.map_shared(fd, size, write=False)
    _advise(address, size)
    return address


def _advise(address: int, size: int) -> None:
    """Huge pages where much is to be moved: fewer faults. A core dump does without."""
    if size >= 2 * _HUGE:
        _mem_unix.advise(address, size, mmap.MADV_HUGEPAGE)
    _mem_unix.advise(address, size, mmap.MADV_DONTDUMP)
