"""Handles that are handed over as values: spec/handles-windows.md.

Values are always of the client's handle table, and only the server's end, which may be the more privileged,
duplicates between processes.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import byref, c_int, c_uint32, c_void_p
from functools import lru_cache
from types import TracebackType
from typing import Any

assert sys.platform == "win32"

from ._windows_api import close_handle, duplicate, kernel32
from ._windows_identity import Standing, process_token, standing
from .error import DeniedError

_PROCESS_DUP_HANDLE = 0x40
_PROCESS_QUERY_LIMITED = 0x1000
_CLOSE_SOURCE, _SAME_ACCESS = 1, 2


class Holder:
    """The process whose table values are of: the client's, at either end. It is a context manager."""

    def __init__(self, pipe: int, client: Standing | None) -> None:
        """client is who was admitted, at the server's end; None: we are the client."""
        self._server = client is not None
        self._me = kernel32.GetCurrentProcess()
        self._process = self._me if client is None else _client_process(pipe, client)

    def __enter__(self) -> Holder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._server:
            close_handle(self._process)

    def push(self, handle: int) -> int:
        """The value for the peer. A client's own is what the server takes a duplicate of."""
        return duplicate(self._me, handle, self._process, 0, _SAME_ACCESS) if self._server else handle

    def pull(self, value: int) -> int:
        """A handle of ours for the value. What a server takes stays open in the client, which closes it when it may."""
        if not 0 < value < 1 << 31:  # none, and the pseudo-handles, which stand for a process or a thread
            raise OSError(f"{value:#x} is no handle's value")
        return duplicate(self._process, value, self._me, 0, _SAME_ACCESS) if self._server else value

    def revoke(self, value: int, handle: int) -> None:
        """Close what was pushed into the client, if it is still there."""
        if not self._server:
            return
        try:
            there = self.pull(value)
        except OSError:
            return
        try:
            if _same_object(handle, there):
                # Moved, and closed here: Wine refuses to close it there without a target.
                close_handle(duplicate(self._process, value, self._me, 0, _CLOSE_SOURCE | _SAME_ACCESS))
        finally:
            close_handle(there)


def _client_process(pipe: int, client: Standing) -> int:
    """Open the client's process.

    Its number may be another process's by now, and a client can make it say what it likes. So it is looked at
    whether the process runs as the client does: whoever has the same user, session and integrity could open it
    themselves.
    """
    pid = c_uint32()
    if not kernel32.GetNamedPipeClientProcessId(pipe, byref(pid)):
        raise DeniedError("handles can't be handed over: the client's process is not known")
    try:
        process = int(kernel32.OpenProcess(_PROCESS_DUP_HANDLE | _PROCESS_QUERY_LIMITED, False, pid))
    except OSError as e:
        raise DeniedError(f"handles can't be handed over: the client's process {pid.value} can't be opened", e) from e
    try:
        token = process_token(process)
        try:
            if standing(token) == client:
                return process
        finally:
            close_handle(token)
    except BaseException:
        close_handle(process)
        raise
    close_handle(process)
    raise DeniedError(
        f"handles can't be handed over: process {pid.value} does not run as the client does, with its user,"
        " session and integrity"
    )


@lru_cache(maxsize=1)
def _comparing() -> Any:
    """CompareObjectHandles, which is there since Windows 10."""
    try:
        function = ctypes.WinDLL("kernelbase").CompareObjectHandles
    except (OSError, AttributeError):
        return None
    function.argtypes = [c_void_p, c_void_p]
    function.restype = c_int
    return function


def _same_object(a: int, b: int) -> bool:
    compare = _comparing()
    return compare is not None and bool(compare(a, b))
