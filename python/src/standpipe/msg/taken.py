"""Segments of the peer's making. spec/memory.md, section 4."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from .buffer import Buffer
from .error import ProtocolError
from .frame import MOST_NUMBERS, RELEASE, Ref, SegmentFrame, numbers_frame
from .made import MOST_SEGMENTS
from .memory import LEAST, MOST, Memory, Window

EAGER = 1 << 20  # bytes: so much is given back at once, not with what is sent next


class Taken:
    """A segment. here: a Buffer has it, or something that was made of one."""

    __slots__ = ("here", "number", "size", "window")

    def __init__(self, number: int, size: int, window: Window | None) -> None:
        self.number = number
        self.size = size
        self.window = window  # None: its memory could not be had any more
        self.here = False


class Taker:
    """The segments that a session was given. Only who receives calls its methods, but for ``releases``, which one
    thread at a time does.

    poke is called when releases are to be sent by somebody, with whether that is urgent: in any thread, and in the
    middle of anything.
    """

    def __init__(
        self, memory: Memory, limit: int, handles: list[int], freed: deque[Taken], poke: Callable[[bool], None]
    ) -> None:
        self._memory = memory
        self._limit = limit
        self._handles = handles
        self._poke = poke
        self._closed = False
        self.sum = 0  #: bytes of all segments
        self._all: dict[int, Taken] = {}
        self._areas: set[int] = set()
        self._last = 0
        self._freed = freed

    def take(self, f: SegmentFrame) -> None:
        """Maps a segment that was announced."""
        if f.use:
            raise ProtocolError("an area for a ring was not agreed on")
        if f.number != self._last + 1:
            raise ProtocolError(f"segment {f.number} was announced behind number {self._last}")
        if not LEAST <= f.size <= MOST or f.size % LEAST:
            raise ProtocolError(f"a segment can't have {f.size} bytes")
        if len(self._all) >= MOST_SEGMENTS:
            raise ProtocolError(f"more than {MOST_SEGMENTS} segments were announced")
        if f.size > self._limit - self.sum:
            raise ProtocolError(
                f"segments of {self.sum} bytes and one of {f.size} were announced, above the limit of {self._limit}"
            )
        try:
            segment = self._memory.take(f.handle, f.size, self._handles)
        except (OSError, ValueError) as e:
            raise ProtocolError(f"segment {f.number}: {e}") from e
        self._last = f.number
        self.sum += f.size
        self._all[f.number] = Taken(f.number, f.size, Window(segment, writable=False) if segment else None)

    def buffer(self, r: Ref) -> Buffer:
        """What a reference in a message means."""
        t = self._all.get(r.segment)
        if t is None:
            raise ProtocolError(f"a buffer lies in segment {r.segment}, which is not known")
        if t.here:
            raise ProtocolError(f"a buffer lies in segment {r.segment}, which was sent before and is not released")
        if r.size > t.size:
            raise ProtocolError(f"a buffer of {r.size} bytes lies in segment {r.segment}, which has {t.size}")
        if t.window is None:
            raise ProtocolError(f"a buffer lies in segment {r.segment}, whose memory could not be had")
        t.here = True
        if self._memory.copies:
            own = bytes(t.window.segment.view[: r.size])
            self._free(t)
            return Buffer(memoryview(own))

        def ended(_: Any) -> None:
            self._free(t)

        return Buffer(t.window.look(r.size, ended), shared=True)

    def _free(self, t: Taken) -> None:
        """Nobody looks at a segment any more. It may come in the middle of anything, so it takes no lock."""
        self._freed.append(t)
        if self._closed:
            self._bury()
        else:
            self._poke(t.size >= EAGER)

    def releases(self) -> bytes:
        """The frames that give back what nobody looks at any more."""
        frames = []
        while self._freed:
            numbers: list[int] = []
            while self._freed and len(numbers) < MOST_NUMBERS:
                t = self._freed.popleft()
                t.here = False
                numbers.append(t.number)
            frames.append(numbers_frame(RELEASE, numbers))
        return b"".join(frames)

    def retired(self, number: int) -> None:
        """The maker gives up a segment."""
        t = self._all.get(number)
        if t is None or t.here:
            raise ProtocolError(
                f"the peer gives up segment {number}, which is not known, or was sent and is not released"
            )
        del self._all[number]
        self.sum -= t.size
        if t.window is not None:
            t.window.close()

    def end(self) -> None:
        """Gives up all segments but those that somebody looks at: those end with the look."""
        self._closed = True
        for t in self._all.values():
            if not t.here and t.window is not None:
                t.window.close()
        self._all.clear()
        self._bury()

    def _bury(self) -> None:
        while self._freed:
            try:
                t = self._freed.popleft()
            except IndexError:
                return
            if t.window is not None:
                t.window.close()
