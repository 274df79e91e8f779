"""Segments by shm_open(2), which have a name for a moment."""

from __future__ import annotations

import os
import secrets
import stat
import sys

assert sys.platform == "darwin"

# The standard library's own: ctypes can't be sure of how a variable list of arguments is passed, which shm_open takes.
import _posixshmem  # type: ignore[import-not-found]

from . import _mem_unix
from ._mem_unix import close, unmap
from .error import NotSealedError

__all__ = ["KIND", "close", "create", "map_received", "unmap"]

KIND = "shm"


def create(size: int) -> tuple[int, int, int]:
    """Address, size and descriptor.

    The object is opened once more, for reading, before its name goes: that is what the other side gets. Its
    size can be set once only.
    """
    name = "/standpipe-" + secrets.token_hex(8)  # at most PSHMNAMLEN, 31
    fd = _posixshmem.shm_open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            reading = _posixshmem.shm_open(name, os.O_RDONLY, 0o600)
        finally:
            _posixshmem.shm_unlink(name)
        try:
            os.ftruncate(fd, size)
            return _mem_unix.map_shared(fd, size, write=True), size, reading
        except BaseException:
            close(reading)
            raise
    finally:
        close(fd)


def map_received(fd: int, size: int) -> int:
    """The address. Shared memory objects only are taken, which have no type of file: a file's size could change."""
    st = os.fstat(fd)
    if stat.S_IFMT(st.st_mode) or st.st_size < size:
        raise NotSealedError(f"it is no shared memory object of {size} bytes")
    return _mem_unix.map_shared(fd, size, write=False)
