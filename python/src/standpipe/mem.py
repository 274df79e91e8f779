"""Memory that another process can map: spec/memory.md, 4.2.

It has no name, so that the kernel frees it whatever dies, a size that nobody can change, and is readable only
for the side that receives it. It is never multiprocessing.shared_memory, which is neither.
"""

from __future__ import annotations

import ctypes
import sys
import weakref

if sys.platform == "win32":
    from . import _mem_windows as _system
elif sys.platform == "linux":
    from . import _mem_linux as _system
elif sys.platform == "darwin":
    from . import _mem_darwin as _system
else:
    from . import _mem_none as _system

KIND: str = _system.KIND
"""What the hello calls segments of this system; "" where there are none."""

LEAST = 4096
"""Bytes of the smallest segment. Sizes are multiples of it."""
MOST = (1 << 32) - LEAST
"""Bytes of the largest segment."""


class Segment:
    """Memory that is shared, as one of the two sides sees it: its maker, who may write, or the receiver.

    Its methods are for one thread at a time; the view is for all. A Segment that nobody refers to any more gives up its
    memory and its handle, as close() does.
    """

    def __init__(self, address: int, size: int, handle: int | None) -> None:
        memory = (ctypes.c_ubyte * size).from_address(address)
        # The memory goes when nothing refers to this object any more, and each view does, at whatever remove.
        weakref.finalize(memory, _system.unmap, address, size).atexit = False
        view = memoryview(memory).cast("B")
        self.view: memoryview = view if handle is not None else view.toreadonly()
        """The memory, which can be read only where it was received; empty after close()."""
        self.size = size
        self._handle = None if handle is None else _Handle(handle)

    @staticmethod
    def create(size: int) -> Segment:
        """Make a segment of size bytes, all 0. Raises ValueError for a size that can't be, and OSError."""
        _check(size)
        return Segment(*_system.create(size))

    @staticmethod
    def map(handle: int, size: int) -> Segment:
        """Map what was received, for reading, and close the handle, whatever happens.

        Raises NotSealedError where size is not true, or could become untrue, and ValueError for a size that can't be.
        """
        try:
            _check(size)
            return Segment(_system.map_received(handle, size), size, None)
        finally:
            _system.close(handle)

    def take(self) -> int:
        """What is to be handed over, a descriptor or handle; the caller's to close, and the memory stays.

        It can be taken once.
        """
        if self._handle is None:
            raise ValueError("this segment's handle was taken, or it was received, or closed")
        handle, self._handle = self._handle.detach(), None
        return handle

    def close(self) -> None:
        """Give up this side's view; the other side's stays.

        Views that were made of it go on, and the memory goes with the last. To close again does nothing.
        """
        self.view = memoryview(b"")
        self._handle = None


class _Handle:
    """A descriptor or handle that is closed when nobody has it any more."""

    def __init__(self, value: int) -> None:
        self._close = weakref.finalize(self, _system.close, value)
        self._close.atexit = False
        self._value = value

    def detach(self) -> int:
        self._close.detach()
        return self._value


def _check(size: int) -> None:
    if not LEAST <= size <= MOST or size % LEAST:
        raise ValueError(f"a segment has from {LEAST} to {MOST} bytes, in multiples of {LEAST}, and not {size}")


def close_handle(handle: int) -> None:
    """Close a descriptor or handle that was taken, or received."""
    _system.close(handle)
