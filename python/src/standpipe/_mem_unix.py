"""mmap(2), without what the mmap module adds: that keeps a descriptor of its own open for each segment."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from functools import lru_cache

assert sys.platform != "win32"

from .error import system_error

_FAILED = ctypes.c_void_p(-1).value
close = os.close


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    # The last one is off_t, of 64 bits on macOS and on the 64-bit systems.
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_ssize_t]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


def map_shared(fd: int, size: int, write: bool) -> int:
    """Map fd from its first byte on; the address."""
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if write else 0)
    address = _libc().mmap(None, size, protection, mmap.MAP_SHARED, fd, 0)
    if address == _FAILED:
        raise system_error(ctypes.get_errno(), f"a segment of {size} bytes can't be mapped")
    return int(address)


def unmap(address: int, size: int) -> None:
    _libc().munmap(address, size)


def advise(address: int, size: int, advice: int) -> None:
    """A hint, whose failure is of no concern."""
    _libc().madvise(address, size, advice)
