"""Users and groups of this machine, and who is at the other end of a pipe."""

from __future__ import annotations

import ctypes
import sys
import threading
from ctypes import byref, c_uint32, c_void_p
from functools import lru_cache
from typing import NamedTuple

assert sys.platform == "win32"

from ._windows_api import ERROR_INSUFFICIENT_BUFFER, advapi32, close_handle, error_of, kernel32, last_error

SYSTEM = "S-1-5-18"
ADMINISTRATORS = "S-1-5-32-544"
ANONYMOUS = "S-1-5-7"
SUPERUSERS = (SYSTEM, ADMINISTRATORS)

_TOKEN_QUERY = 8
_TOKEN_USER, _TOKEN_GROUPS, _TOKEN_SESSION, _TOKEN_INTEGRITY = 1, 2, 12, 25
_GROUP_ENABLED, _GROUP_FOR_DENY_ONLY = 0x4, 0x10
_KIND_USER, _KIND_GROUP, _KIND_ALIAS, _KIND_WELL_KNOWN = 1, 2, 4, 5  # SID_NAME_USE


@lru_cache(maxsize=1)
def current_user() -> str:
    """The SID of the process's user."""
    token = process_token(kernel32.GetCurrentProcess())
    try:
        return standing(token).user
    finally:
        close_handle(token)


def lookup_user(name: str) -> str:
    """Also accounts that Windows counts as well-known groups are taken: SYSTEM and services are of that kind."""
    return _lookup(name, "user", _KIND_USER, _KIND_WELL_KNOWN)


def lookup_group(name: str) -> str:
    return _lookup(name, "group", _KIND_GROUP, _KIND_ALIAS, _KIND_WELL_KNOWN)


def _lookup(name: str, what: str, *kinds: int) -> str:
    if name.startswith("S-1-"):  # no account can be called so
        sid = _sid_of(name)
        if sid is None:
            raise LookupError(f"{name!r} is not a SID")
        try:
            return _sid_text(sid)
        finally:
            kernel32.LocalFree(sid)
    buffer = ctypes.create_string_buffer(68)  # SECURITY_MAX_SID_SIZE
    domain = ctypes.create_unicode_buffer(256)
    size, length, kind = c_uint32(68), c_uint32(256), c_uint32()
    try:
        advapi32.LookupAccountNameW(None, name, buffer, byref(size), domain, byref(length), byref(kind))
    except OSError as e:
        raise LookupError(f"no {what} is called {name!r}: {e}") from e
    if kind.value not in kinds:
        raise LookupError(f"{name!r} is no {what}")
    return _sid_text(ctypes.addressof(buffer))


def user_name(user: str) -> str:
    """DOMAIN\\name of a SID, or nothing."""
    sid = _sid_of(user)
    if sid is None:
        return ""
    name, domain = ctypes.create_unicode_buffer(256), ctypes.create_unicode_buffer(256)
    length, domain_length, kind = c_uint32(256), c_uint32(256), c_uint32()
    found = advapi32.LookupAccountSidW(None, sid, name, byref(length), domain, byref(domain_length), byref(kind))
    kernel32.LocalFree(sid)
    if not found:
        return ""
    return f"{domain.value}\\{name.value}" if domain.value else name.value


def _sid_of(text: str) -> int | None:
    """A SID in memory that LocalFree frees; None: text is none."""
    sid = c_void_p()
    try:
        advapi32.ConvertStringSidToSidW(text, byref(sid))
    except OSError:
        return None
    return sid.value


def _sid_text(sid: int) -> str:
    text = c_void_p()
    advapi32.ConvertSidToStringSidW(sid, byref(text))
    try:
        return ctypes.wstring_at(text.value or 0)
    finally:
        kernel32.LocalFree(text)


def _token_information(token: int, what: int) -> ctypes.Array[ctypes.c_char]:
    size = c_uint32(512)
    while True:
        buffer = ctypes.create_string_buffer(size.value)
        if advapi32.GetTokenInformation(token, what, buffer, len(buffer), byref(size)):
            return buffer
        if ctypes.get_last_error() != ERROR_INSUFFICIENT_BUFFER:
            raise last_error("GetTokenInformation")


class _SidAndAttributes(ctypes.Structure):
    _fields_ = [("sid", c_void_p), ("attributes", c_uint32)]


class Standing(NamedTuple):
    """What makes two tokens equally powerful, as far as handing handles to a process is concerned."""

    user: str
    session: int
    integrity: str


def standing(token: int) -> Standing:
    def sid(what: int) -> str:
        buffer = _token_information(token, what)
        return _sid_text(_SidAndAttributes.from_buffer(buffer).sid)

    session = c_uint32.from_buffer(_token_information(token, _TOKEN_SESSION)).value
    return Standing(sid(_TOKEN_USER), session, sid(_TOKEN_INTEGRITY))


def groups(token: int) -> tuple[str, ...]:
    """The enabled ones. A group that is for denials only is one that the process does not have any more."""
    buffer = _token_information(token, _TOKEN_GROUPS)
    count = c_uint32.from_buffer(buffer).value
    at = _SidAndAttributes.sid.size  # behind the count and its padding
    found = (_SidAndAttributes * count).from_buffer(buffer, at)
    return tuple(
        _sid_text(g.sid) for g in found if g.attributes & _GROUP_ENABLED and not g.attributes & _GROUP_FOR_DENY_ONLY
    )


def process_token(process: int) -> int:
    token = c_void_p()
    advapi32.OpenProcessToken(process, _TOKEN_QUERY, byref(token))
    return token.value or 0


def client_token(pipe: int) -> int:
    """The token of the client at the other end of a server's pipe, for queries. It is the caller's to close.

    A client has one that the kernel took when it connected, or, where it asked for dynamic tracking, which is
    the default of CreateFile, one as of its last write: before that the error is ERROR_CANNOT_IMPERSONATE. A
    client that asked for SECURITY_ANONYMOUS has none.

    Impersonation is the thread's, so it is a thread of its own that does it: where it can't be ended, the
    thread ends. No KeyboardInterrupt comes there, either.
    """
    found: list[int] = []
    errors: list[BaseException] = []

    def impersonate() -> None:
        token = c_void_p()
        try:
            advapi32.ImpersonateNamedPipeClient(pipe)
            try:
                advapi32.OpenThreadToken(kernel32.GetCurrentThread(), _TOKEN_QUERY, True, byref(token))
            finally:
                advapi32.RevertToSelf()
            found.append(token.value or 0)
        except BaseException as e:
            if token.value:
                close_handle(token.value)
            errors.append(e)

    thread = threading.Thread(target=impersonate, name="standpipe-impersonate")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return found[0]


def pipe_owner(pipe: int) -> str:
    """The user who made the pipe: whoever serves it.

    It is the pipe object's own, unlike a process id, which may be another's by now.
    """
    owner, descriptor = c_void_p(), c_void_p()
    code = advapi32.GetSecurityInfo(pipe, 6, 1, byref(owner), None, None, None, byref(descriptor))  # a kernel object's
    if code:
        raise error_of(code, "GetSecurityInfo")
    try:
        return _sid_text(owner.value or 0)
    finally:
        kernel32.LocalFree(descriptor)
