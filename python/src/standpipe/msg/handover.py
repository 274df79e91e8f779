"""How segments travel on the connections that this package makes."""

from __future__ import annotations

from typing import Any

from .. import mem
from .memory import Memory, Segment


def memory_of(conn: Any) -> Memory | None:
    """The memory that can be shared over a connection; None where there is no such kind."""
    if mem.KIND in ("memfd", "shm"):
        return _Descriptors(mem.KIND, conn)
    if mem.KIND == "section":
        return _Values(conn)
    return None


class _Descriptors:
    """Segments go as descriptors, beside the bytes of their frames."""

    def __init__(self, kind: str, conn: Any) -> None:
        self.kind = kind
        self.copies = stranger(conn)

    def make(self, size: int) -> tuple[Segment, int, tuple[int, ...]]:
        segment = mem.Segment.create(size)
        return segment, 0, (segment.take(),)

    def take(self, value: int, size: int, handles: list[int]) -> Segment:
        if value:
            raise ValueError("it has a handle value, which is for Windows")
        if not handles:
            raise ValueError("no descriptor came with it")
        return mem.Segment.map(handles.pop(0), size)

    def taken(self, value: int) -> None:
        pass

    def revoke(self, value: int) -> None:
        pass

    def drop(self, handle: int) -> None:
        mem.close_handle(handle)


class _Values:
    """Segments go as values of handles, in their frames. spec/handles-windows.md."""

    kind = "section"

    def __init__(self, conn: Any) -> None:
        self.copies = stranger(conn)
        self._conn = conn
        # By their values: handles that the peer has perhaps not taken. It closes what it has taken, so that a value may
        # be given again before that is known here; the one that was given first was taken first.
        self._given: dict[int, list[int]] = {}

    def make(self, size: int) -> tuple[Segment, int, tuple[int, ...]]:
        segment = mem.Segment.create(size)
        handle = segment.take()
        try:
            value: int = self._conn.export_handle(handle)
        except BaseException:
            mem.close_handle(handle)
            segment.close()
            raise
        self._given.setdefault(value, []).append(handle)
        return segment, value, ()

    def take(self, value: int, size: int, handles: list[int]) -> Segment | None:
        try:
            return mem.Segment.map(self._conn.import_handle(value), size)
        except (OSError, ValueError):
            return None  # its maker may have sent it and closed: what refers to it shows

    def taken(self, value: int) -> None:
        mem.close_handle(self._first(value))

    def _first(self, value: int) -> int:
        given = self._given[value]
        handle = given.pop(0)
        if not given:
            del self._given[value]
        return handle

    def revoke(self, value: int) -> None:
        handle = self._first(value)
        try:
            self._conn.revoke_handle(value, handle)
        except OSError:
            pass  # the peer's process is gone
        mem.close_handle(handle)

    def drop(self, handle: int) -> None:
        mem.close_handle(handle)


def stranger(conn: Any) -> bool:
    """Whether the peer runs as another user."""
    from ..policy import Policy

    return not Policy().admits(conn.identity)
