"""How segments travel on the connections that this package makes."""

from __future__ import annotations

import os
from typing import Any

from .. import mem
from .memory import Memory, Segment


def memory_of(conn: Any) -> Memory | None:
    """The memory that can be shared over a connection; None where there is no such kind."""
    if mem.KIND in ("memfd", "shm"):
        return _Descriptors(mem.KIND, conn)
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
        os.close(handle)


def stranger(conn: Any) -> bool:
    """Whether the peer runs as another user."""
    from ..policy import Policy

    return not Policy().admits(conn.identity)
