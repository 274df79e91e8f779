"""The names that are served, by the folder of all pipes. Everybody may look at it: a name is no secret."""

from __future__ import annotations

import ctypes
import errno
import sys
from collections.abc import Iterator

assert sys.platform == "win32"

from . import _windows_api as api
from ._windows_api import kernel32
from ._windows_path import ROOT, user_prefix
from ._windows_path import SHARED as SHARED_PREFIX
from .addr import SHARED, Addr, parse_addr
from .error import BadNameError


def found() -> Iterator[Addr]:
    data = api.FindData()
    search = kernel32.FindFirstFileW(ROOT + "*", ctypes.byref(data))
    if search == api.INVALID_HANDLE:
        e = api.last_error("the pipes can't be listed")
        if e.winerror == api.ERROR_FILE_NOT_FOUND:
            return
        if e.winerror == api.ERROR_BAD_DEV_TYPE:  # Wine's answer: its folder of pipes can't be read
            raise OSError(errno.ENOTSUP, "this system does not list its pipes") from e
        raise e
    try:
        while True:
            addr = _named(data.name)
            if addr is not None:
                yield addr
            if not kernel32.FindNextFileW(search, ctypes.byref(data)):
                e = api.last_error("the pipes can't be listed")
                if e.winerror != api.ERROR_NO_MORE_FILES:
                    raise e
                return
    finally:
        kernel32.FindClose(search)


def _named(pipe: str) -> Addr | None:
    """The Addr of a pipe, of which the part below the root is given, if it has a name of this package."""
    path = ROOT + pipe
    for folder, prefix in ((user_prefix(), ""), (SHARED_PREFIX, SHARED)):
        if path.lower().startswith(folder.lower()):
            try:
                return parse_addr(prefix + path[len(folder) :])
            except BadNameError:
                return None
    return None
