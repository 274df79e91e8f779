"""What of Windows' own functions is used, by ctypes. Their pages are on learn.microsoft.com, under their names."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from ctypes import POINTER, c_int, c_int64, c_size_t, c_uint32, c_void_p, c_wchar_p
from typing import Any

assert sys.platform == "win32"

INVALID_HANDLE = c_void_p(-1).value
INFINITE = 0xFFFFFFFF
WAIT_TIMEOUT = 0x102
WAIT_FAILED = 0xFFFFFFFF

ERROR_FILE_NOT_FOUND = 2
ERROR_PATH_NOT_FOUND = 3
ERROR_ACCESS_DENIED = 5
ERROR_INVALID_HANDLE = 6
ERROR_NO_MORE_FILES = 18
ERROR_HANDLE_EOF = 38
ERROR_NETNAME_DELETED = 64
ERROR_BAD_DEV_TYPE = 66
ERROR_INVALID_PARAMETER = 87
ERROR_BROKEN_PIPE = 109
ERROR_SEM_TIMEOUT = 121
ERROR_INSUFFICIENT_BUFFER = 122
ERROR_INVALID_NAME = 123
ERROR_BAD_PATHNAME = 161
ERROR_ALREADY_EXISTS = 183
ERROR_FILENAME_EXCED_RANGE = 206
ERROR_BAD_PIPE = 230
ERROR_PIPE_BUSY = 231
ERROR_NO_DATA = 232
ERROR_PIPE_NOT_CONNECTED = 233
ERROR_PIPE_CONNECTED = 535
ERROR_PIPE_LISTENING = 536
ERROR_OPERATION_ABORTED = 995
ERROR_IO_PENDING = 997
ERROR_NOT_FOUND = 1168
ERROR_INVALID_OWNER = 1307
ERROR_PRIVILEGE_NOT_HELD = 1314
ERROR_CANNOT_IMPERSONATE = 1368


class Overlapped(ctypes.Structure):
    _fields_ = [
        ("internal", c_size_t),
        ("internal_high", c_size_t),
        ("offset", c_uint32),
        ("offset_high", c_uint32),
        ("event", c_void_p),
    ]


class UnicodeString(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("maximum", ctypes.c_uint16), ("buffer", c_wchar_p)]


class ObjectAttributes(ctypes.Structure):
    _fields_ = [
        ("length", c_uint32),
        ("root", c_void_p),
        ("name", POINTER(UnicodeString)),
        ("attributes", c_uint32),
        ("descriptor", c_void_p),
        ("quality", c_void_p),
    ]


class IoStatusBlock(ctypes.Structure):
    _fields_ = [("status", c_void_p), ("information", c_size_t)]


class SecurityAttributes(ctypes.Structure):
    _fields_ = [("length", c_uint32), ("descriptor", c_void_p), ("inherit", c_int)]


class MemoryInformation(ctypes.Structure):
    """MEMORY_BASIC_INFORMATION, as 64-bit processes have it; what a 32-bit one has not is padding there."""

    _fields_ = [
        ("base", c_void_p),
        ("allocation_base", c_void_p),
        ("allocation_protect", c_uint32),
        ("partition", c_uint32 if ctypes.sizeof(c_void_p) == 8 else c_uint32 * 0),
        ("region_size", c_size_t),
        ("state", c_uint32),
        ("protect", c_uint32),
        ("type", c_uint32),
    ]


class FindData(ctypes.Structure):
    """WIN32_FIND_DATAW."""

    _fields_ = [
        ("attributes", c_uint32),
        ("times", c_uint32 * 6),
        ("size", c_uint32 * 2),
        ("reserved", c_uint32 * 2),
        ("name", ctypes.c_wchar * 260),
        ("alternate", ctypes.c_wchar * 14),
    ]


def last_error(what: str) -> OSError:
    """The calling thread's last error, which ctypes keeps for it."""
    return error_of(ctypes.get_last_error(), what)


def error_of(code: int, what: str) -> OSError:
    """A system error; Python knows which class belongs to its number."""
    return OSError(0, f"{what}: {ctypes.FormatError(code).strip()}", None, code)


def _wants(good: Callable[[Any], bool], what: str) -> Callable[[Any, Any, Any], Any]:
    def check(result: Any, function: Any, arguments: Any) -> Any:
        if not good(result):
            raise last_error(what)
        return result

    return check


def _bind(
    dll: ctypes.WinDLL, name: str, result: Any, *arguments: Any, good: Callable[[Any], bool] | None = None
) -> None:
    function = getattr(dll, name)
    function.restype = result
    function.argtypes = arguments
    if good is not None:
        function.errcheck = _wants(good, name)


kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
ntdll = ctypes.WinDLL("ntdll")

_H, _D, _P, _S = c_void_p, c_uint32, c_void_p, c_wchar_p
_PH, _PD, _OV = POINTER(c_void_p), POINTER(c_uint32), POINTER(Overlapped)


def _valid(handle: Any) -> bool:
    return handle is not None and handle != INVALID_HANDLE


# Those without `good` are asked for their result by who calls them.
_bind(kernel32, "CloseHandle", c_int, _H)
_bind(kernel32, "CreateFileW", _H, _S, _D, _D, _P, _D, _D, _H)
_bind(kernel32, "ReadFile", c_int, _H, _P, _D, _PD, _OV)
_bind(kernel32, "WriteFile", c_int, _H, _P, _D, _PD, _OV)
_bind(kernel32, "ConnectNamedPipe", c_int, _H, _OV)
_bind(kernel32, "GetOverlappedResult", c_int, _H, _OV, _PD, c_int)
_bind(kernel32, "CancelIoEx", c_int, _H, _OV)
_bind(kernel32, "DisconnectNamedPipe", c_int, _H, good=bool)
_bind(kernel32, "PeekNamedPipe", c_int, _H, _P, _D, _PD, _PD, _PD)
_bind(kernel32, "WaitNamedPipeW", c_int, _S, _D)
_bind(kernel32, "GetNamedPipeClientProcessId", c_int, _H, _PD)
_bind(kernel32, "GetNamedPipeServerProcessId", c_int, _H, _PD)
_bind(kernel32, "CreateEventW", _H, _P, c_int, c_int, _S, good=bool)
_bind(kernel32, "SetEvent", c_int, _H, good=bool)
_bind(kernel32, "ResetEvent", c_int, _H, good=bool)
_bind(kernel32, "WaitForMultipleObjects", _D, _D, _PH, c_int, _D, good=lambda r: r != WAIT_FAILED)
_bind(kernel32, "GetCurrentProcess", _H)
_bind(kernel32, "GetCurrentThread", _H)
_bind(kernel32, "OpenProcess", _H, _D, c_int, _D, good=bool)
_bind(kernel32, "DuplicateHandle", c_int, _H, _H, _H, _PH, _D, c_int, _D, good=bool)
_bind(kernel32, "LocalFree", _P, _P)
_bind(kernel32, "CreateFileMappingW", _H, _H, POINTER(SecurityAttributes), _D, _D, _D, _S, good=bool)
_bind(kernel32, "MapViewOfFile", _P, _H, _D, _D, _D, c_size_t, good=bool)
_bind(kernel32, "UnmapViewOfFile", c_int, _P)
_bind(kernel32, "VirtualQuery", c_size_t, _P, POINTER(MemoryInformation), c_size_t, good=bool)
_bind(kernel32, "K32GetMappedFileNameW", _D, _H, _P, _S, _D)
_bind(kernel32, "FindFirstFileW", _H, _S, POINTER(FindData))
_bind(kernel32, "FindNextFileW", c_int, _H, POINTER(FindData))
_bind(kernel32, "FindClose", c_int, _H)
_bind(kernel32, "CreateIoCompletionPort", _H, _H, _H, c_size_t, _D, good=bool)
_bind(kernel32, "GetQueuedCompletionStatus", c_int, _H, _PD, POINTER(c_size_t), POINTER(_OV), _D)
_bind(kernel32, "PostQueuedCompletionStatus", c_int, _H, _D, c_size_t, _OV, good=bool)

_bind(advapi32, "ImpersonateNamedPipeClient", c_int, _H, good=bool)
_bind(advapi32, "RevertToSelf", c_int, good=bool)
_bind(advapi32, "OpenThreadToken", c_int, _H, _D, c_int, _PH, good=bool)
_bind(advapi32, "OpenProcessToken", c_int, _H, _D, _PH, good=bool)
_bind(advapi32, "GetTokenInformation", c_int, _H, c_int, _P, _D, _PD)
_bind(advapi32, "ConvertSidToStringSidW", c_int, _P, POINTER(c_void_p), good=bool)
_bind(advapi32, "ConvertStringSidToSidW", c_int, _S, _PH, good=bool)
_bind(advapi32, "LookupAccountNameW", c_int, _S, _S, _P, _PD, _P, _PD, _PD, good=bool)
_bind(advapi32, "LookupAccountSidW", c_int, _S, _P, _P, _PD, _P, _PD, _PD)
_bind(advapi32, "ConvertStringSecurityDescriptorToSecurityDescriptorW", c_int, _S, _D, _PH, _PD, good=bool)
_bind(advapi32, "GetSecurityInfo", _D, _H, c_int, _D, _PH, _PH, _PH, _PH, _PH)

_bind(
    ntdll, "NtCreateNamedPipeFile", ctypes.c_int32, _PH, _D, POINTER(ObjectAttributes), POINTER(IoStatusBlock),
    _D, _D, _D, _D, _D, _D, _D, _D, _D, POINTER(c_int64),
)  # fmt: skip
_bind(ntdll, "RtlNtStatusToDosError", _D, ctypes.c_int32)


def close_handle(handle: int) -> None:
    kernel32.CloseHandle(handle)


def wait_for(handles: list[int], timeout: float | None) -> int | None:
    """Wait until one of the handles is signalled: its place. None: after timeout seconds, none was."""
    array = (c_void_p * len(handles))(*handles)
    milliseconds = INFINITE if timeout is None else min(max(0, -int(-timeout * 1000 // 1)), INFINITE - 1)
    found = int(kernel32.WaitForMultipleObjects(len(handles), array, False, milliseconds))
    return None if found == WAIT_TIMEOUT else found


def new_event() -> int:
    """An event that stays signalled until it is reset."""
    return int(kernel32.CreateEventW(None, True, False, None))


class Descriptor:
    """A security descriptor, read from SDDL."""

    def __init__(self, sddl: str) -> None:
        self.pointer = c_void_p()
        advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW(sddl, 1, ctypes.byref(self.pointer), None)

    def __del__(self, free: Callable[[Any], Any] = kernel32.LocalFree) -> None:
        free(self.pointer)


def duplicate(source: int, handle: int, target: int, access: int, options: int) -> int:
    """A handle in the process target for what handle is in the process source."""
    made = c_void_p()
    kernel32.DuplicateHandle(source, handle, target, ctypes.byref(made), access, False, options)
    return made.value or 0
