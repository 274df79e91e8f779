"""How the ends of pipes are made and found."""

from __future__ import annotations

import ctypes
import os
import secrets
import sys
from ctypes import byref

assert sys.platform == "win32"

from . import _windows_api as api
from ._access import CLIENT_ACCESS, sddl
from ._windows_api import kernel32
from ._windows_identity import current_user, groups, process_token, standing
from ._windows_path import MINE, ROOT
from ._windows_pipe import Endpoint
from .addr import Addr
from .error import BadNameError, DeniedError, InUseError, NameTooLongError, NoServerError
from .identity import Identity
from .policy import Guard

__all__ = ["Endpoint", "Instances", "connect", "name_error", "own_identity", "pair"]

BUFFER = 64 << 10


def pair() -> tuple[Endpoint, Endpoint]:
    """A pipe that only this user could open, under a name that nobody guesses, with room for one client: us."""
    path = f"{MINE}pair\\{secrets.token_hex(16)}"
    server = Instances(path, sddl(Guard(users=[current_user()]), current_user()), BUFFER, most=1).make(first=True)
    try:
        server.await_client()
        client = connect(Addr(path, path))
        if client is None:
            raise InUseError(f"somebody has opened {path}, which nobody could know")
        try:
            if not server.came():
                raise InUseError(f"somebody has opened {path}, which nobody could know")
            server.meet()
            return client, server
        except BaseException:
            client.close()
            raise
    except BaseException:
        server.close()
        raise


def own_identity() -> Identity:
    token = process_token(kernel32.GetCurrentProcess())
    try:
        return Identity(os.getpid(), standing(token).user, groups(token))
    finally:
        api.close_handle(token)


_OPEN_EXISTING = 3
# The server may see who we are, as of now, but not act as us, whoever it is: overlapped, SQOS_PRESENT, IDENTIFICATION.
_OPEN_FLAGS = 0x40000000 | 0x00100000 | 0x00010000


def connect(addr: Addr) -> Endpoint | None:
    """Open a client's end, asking for no more than CLIENT_ACCESS; None: every instance is taken.

    WaitNamedPipe would wait for one, without an end that others could bring about.
    """
    pipe = kernel32.CreateFileW(addr.path, CLIENT_ACCESS, 0, None, _OPEN_EXISTING, _OPEN_FLAGS, None)
    if pipe == api.INVALID_HANDLE:
        e = api.last_error(addr.path)
        if e.winerror in (api.ERROR_PIPE_BUSY, api.ERROR_SEM_TIMEOUT):
            return None
        raise _dial_error(addr.path, e) from e
    return Endpoint(pipe, server=False)


def _dial_error(path: str, e: OSError) -> OSError:
    """What a failed open has found."""
    if e.winerror in (api.ERROR_FILE_NOT_FOUND, api.ERROR_PATH_NOT_FOUND):
        return NoServerError(f"there is no pipe {path}", e)
    if e.winerror == api.ERROR_ACCESS_DENIED:
        me = Identity(0, current_user())
        return DeniedError(f"the pipe {path} does not let {me} in; its server's policy decides", e)
    return name_error(path, e)


def name_error(path: str, e: OSError) -> OSError:
    """e as an error of the name, where it is one."""
    if e.winerror in (api.ERROR_INVALID_NAME, api.ERROR_BAD_PATHNAME):
        return BadNameError(f"Windows refuses {path}", e)
    if e.winerror == api.ERROR_FILENAME_EXCED_RANGE:
        return NameTooLongError(f"Windows refuses {path}", e)
    return e


class Instances:
    """How a server's ends are made; all of this package come from here."""

    _UNLIMITED = 0xFFFFFFFF
    _ACCESS = 0xC0100000  # GENERIC_READ, GENERIC_WRITE, SYNCHRONIZE: all that clients have, and further instances
    _FILE_OPEN, _FILE_CREATE = 1, 2
    _REJECT_REMOTE_CLIENTS = 2  # of a pipe of bytes: no pipe of this package takes clients from the network
    _SHARED = 3  # for reading and writing
    _CASE_INSENSITIVE = 0x40

    def __init__(self, path: str, descriptor: str, buffer: int, most: int = _UNLIMITED) -> None:
        self.path = path
        self._descriptor = api.Descriptor(descriptor)
        self._buffer = buffer or BUFFER
        self._most = most

    def make(self, first: bool) -> Endpoint:
        """Make one.

        The first must be the first of its name, so that nobody's pipe is joined; for the others the name must
        exist. What FILE_CREATE does, FILE_FLAG_FIRST_PIPE_INSTANCE asks of CreateNamedPipe.
        """
        text = "\\??\\pipe\\" + self.path[len(ROOT) :]
        size = 2 * len(text)
        name = api.UnicodeString(size, size + 2, text)
        attributes = api.ObjectAttributes(
            ctypes.sizeof(api.ObjectAttributes),
            None,
            ctypes.pointer(name),
            self._CASE_INSENSITIVE,
            self._descriptor.pointer,
        )
        pipe, status = ctypes.c_void_p(), api.IoStatusBlock()
        timeout = ctypes.c_int64(
            -50 * 10000
        )  # 50 ms in 100 ns, for clients of WaitNamedPipe without a time of their own
        code = api.ntdll.NtCreateNamedPipeFile(
            byref(pipe), self._ACCESS, byref(attributes), byref(status), self._SHARED,
            self._FILE_CREATE if first else self._FILE_OPEN, 0, self._REJECT_REMOTE_CLIENTS, 0, 0,
            self._most, self._buffer, self._buffer, byref(timeout),
        )  # fmt: skip
        if code < 0:
            raise api.error_of(api.ntdll.RtlNtStatusToDosError(code), self.path)
        return Endpoint(pipe.value or 0, server=True)
