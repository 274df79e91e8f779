"""Segments as a session needs them: how they travel, and how long they are looked at."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from typing import Any, Protocol

LEAST = 4096  # bytes of a segment, which has multiples of that
MOST = (1 << 32) - 4096


class Segment(Protocol):
    """Memory without a name, mapped into this process."""

    @property
    def view(self) -> memoryview: ...

    @property
    def size(self) -> int: ...

    def close(self) -> None: ...


class Memory(Protocol):
    """How segments are made and handed over on one connection."""

    kind: str  #: as the hello says it
    copies: bool  #: the peer runs as another user: nobody looks at what it can change

    def make(self, size: int) -> tuple[Segment, int, tuple[int, ...]]:
        """A new segment, the handle value for its frame, and the descriptors to go with that, which the caller owns.
        OSError where there is none.
        """

    def take(self, value: int, size: int, handles: list[int]) -> Segment | None:
        """The segment that a frame announces, of its value or of the first of handles. ValueError and OSError where it
        is none; None where that shows only when it is used.
        """

    def taken(self, value: int) -> None:
        """The peer has surely taken what was handed over by value."""

    def revoke(self, value: int) -> None:
        """The peer has not taken what was handed over by value, and will not."""

    def drop(self, handle: int) -> None:
        """Closes a descriptor that nobody has asked for."""


class Window:
    """Views of one segment. Each look goes through an object of its own, whose end is the end of all that was made of
    it: slices and arrays too. So a segment is not given away, nor unmapped, under somebody's eyes.
    """

    __slots__ = ("_memory", "_ref", "_writable", "segment")

    def __init__(self, segment: Segment, *, writable: bool) -> None:
        self.segment = segment
        self._memory: Any = segment.view.obj  # a ctypes array
        self._writable = writable
        self._ref: weakref.ref[Any] | None = None

    def look(self, size: int, ended: Callable[[Any], object]) -> memoryview:
        """The first size bytes. ended is called when nobody looks any more: in any thread, and in the middle of
        anything.
        """
        exporter = type(self._memory).from_address(ctypes.addressof(self._memory))
        exporter.memory = self._memory  # which goes with the last of those who refer to it
        self._ref = weakref.ref(exporter, ended)
        view = memoryview(exporter).cast("B")[:size]
        return view if self._writable else view.toreadonly()

    @property
    def live(self) -> bool:
        """Whether somebody looks."""
        return self._ref is not None and self._ref() is not None

    def close(self) -> None:
        """Gives it up. Whoever still looks keeps the memory."""
        self._memory = None
        self.segment.close()
