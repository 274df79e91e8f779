"""Segments by CreateFileMapping, without a name."""

from __future__ import annotations

import ctypes
import sys

assert sys.platform == "win32"

from ._windows_api import (
    INVALID_HANDLE,
    Descriptor,
    MemoryInformation,
    SecurityAttributes,
    close_handle,
    duplicate,
    kernel32,
)
from .error import NotSealedError

KIND = "section"

_PAGE_READWRITE = 4
_MAP_WRITE, _MAP_READ = 2, 4
_SECTION_QUERY, _SECTION_MAP_READ = 1, 4
_COMMITTED, _MAPPED = 0x1000, 0x40000  # and no program's image
close = close_handle


def create(size: int) -> tuple[int, int, int]:
    """Address, size and a handle for reading.

    The section's protected empty DACL keeps who gets that from making one for writing of it: DuplicateHandle
    may add rights that the object's descriptor allows.
    """
    descriptor = Descriptor("D:P")
    attributes = SecurityAttributes(ctypes.sizeof(SecurityAttributes), descriptor.pointer, False)
    section = kernel32.CreateFileMappingW(
        INVALID_HANDLE, ctypes.byref(attributes), _PAGE_READWRITE, size >> 32, size & 0xFFFFFFFF, None
    )
    try:
        address = kernel32.MapViewOfFile(section, _MAP_READ | _MAP_WRITE, 0, 0, size)
        try:
            me = kernel32.GetCurrentProcess()
            return address, size, duplicate(me, section, me, _SECTION_QUERY | _SECTION_MAP_READ, 0)
        except BaseException:
            unmap(address, size)
            raise
    finally:
        close_handle(section)


def map_received(handle: int, size: int) -> int:
    """The address. A handle is the sender's word, so the view is looked at."""
    try:
        address = kernel32.MapViewOfFile(handle, _MAP_READ, 0, 0, size)
    except OSError as e:
        raise NotSealedError("it can't be mapped", e) from e
    info = MemoryInformation()
    try:
        kernel32.VirtualQuery(address, ctypes.byref(info), ctypes.sizeof(info))
        if info.region_size < size:
            raise NotSealedError(f"it has {info.region_size} bytes, and not {size}")
        if info.state != _COMMITTED or info.type != _MAPPED or _of_file(address):
            raise NotSealedError("it is a file's, or a program's, or is not there yet")
    except BaseException:
        unmap(address, size)
        raise
    return int(address)


def _of_file(address: int) -> bool:
    """Whether it is a view of a file, which may lie where reading it fails."""
    name = ctypes.create_unicode_buffer(260)
    return bool(kernel32.K32GetMappedFileNameW(kernel32.GetCurrentProcess(), address, name, len(name)))


def unmap(address: int, size: int) -> None:
    kernel32.UnmapViewOfFile(address)
