"""Segments of this side's making. spec/memory.md, section 4."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from threading import Lock

from .error import ProtocolError, TooLargeError
from .frame import MOST_NUMBERS, RETIRE, SegmentFrame, numbers_frame, segment_frame
from .memory import LEAST, MOST, Memory, Window

LEAST_SHARED = 16 << 10  # below, a Buffer is copied: that is cheaper
MOST_SEGMENTS = 1024
IDLE = 10.0  # seconds that a free segment is kept

HERE, AWAY, FREE = range(3)
_WHERE = ("here", "with the peer", "free")


class Made:
    """A segment. It is here (a Buffer has it), with the peer, or free."""

    __slots__ = ("maker", "number", "since", "size", "value", "where", "window")

    def __init__(self, maker: Maker, number: int, window: Window, value: int) -> None:
        self.maker = maker
        self.number = number
        self.window = window
        self.size = window.segment.size
        self.value = value  # what the peer has it by, until it has surely taken it
        self.where = HERE
        self.since = 0.0


def size_class(n: int) -> int:
    """What a segment for n bytes has: a power of two, or a quarter, a half or three quarters on the way to the next."""
    bits = max(n - 1, 0).bit_length()
    step = 1 << (bits - 3) if bits > 14 else LEAST
    return -(-max(n, 1) // step) * step


class Maker:
    """A session's own segments. announce queues a frame and the descriptors that go with it; its order is that of the
    calls.
    """

    def __init__(self, memory: Memory, limit: int, announce: Callable[[bytes, tuple[int, ...]], None]) -> None:
        self._memory = memory
        self._limit = limit
        self._announce = announce
        self._lock = Lock()
        self._on = limit > 0
        self._closed = False
        self._sum = 0
        self._all: dict[int, Made] = {}
        self._free: list[Made] = []  # the one that was free last is last: its memory is in the caches
        self._ended: deque[Made] = deque()  # nobody looks at these any more; filled in the middle of anything
        self._kept: list[int] = []  # values of segments that were given up
        self._last = 0

    def get(self, n: int) -> tuple[Made, memoryview] | None:
        """A segment for n bytes, and its bytes. None: the memory is not to be shared. BlockingIOError: all is in
        use.
        """
        with self._lock:
            self._settle()
            size = size_class(n)
            if size > self._limit:
                size = -(-n // LEAST) * LEAST
            if self._closed or not self._on or n < LEAST_SHARED or size > self._limit or size > MOST:
                return None
            made = self._pick(size) or self._make(size)
            if made is None:
                return None
            made.where = HERE
            return made, made.window.look(n, lambda _: self._over(made))

    def _pick(self, size: int) -> Made | None:
        for i in range(len(self._free) - 1, -1, -1):
            if self._free[i].size == size:
                return self._free.pop(i)
        return None

    def _make(self, size: int) -> Made | None:
        while self._free and (self._sum + size > self._limit or len(self._all) >= MOST_SEGMENTS):
            self._retire(self._free[:1])
        if self._sum + size > self._limit or len(self._all) >= MOST_SEGMENTS:
            raise BlockingIOError("all memory that may be shared is in use")
        try:
            segment, value, handles = self._memory.make(size)
        except OSError:
            self._on = False  # the system has no more, or the peer must not be given any: bytes are copied from now on
            return None
        self._last += 1
        made = Made(self, self._last, Window(segment, writable=True), value)
        self._all[made.number] = made
        self._sum += size
        self._announce(segment_frame(SegmentFrame(made.number, 0, size, value)), handles)
        return made

    def send(self, made: Made) -> None:
        """It is the peer's from now on."""
        made.where = AWAY

    def released(self, number: int) -> None:
        """The peer gives a segment back. Only one that it was given, and once."""
        with self._lock:
            made = self._all.get(number)
            if made is None or made.where != AWAY:
                raise ProtocolError(f"the peer releases segment {number}, which it does not have")
            if made.value:
                self._memory.taken(made.value)
                made.value = 0
            if made.window.live:
                made.where = HERE  # arrays of the sender's still show it: it must not change under them
            else:
                self._put(made)

    def _over(self, made: Made) -> None:
        """Nobody looks at a segment any more. It may come in the middle of anything, so it takes no lock."""
        if self._closed:
            made.window.close()
        else:
            self._ended.append(made)

    def _settle(self) -> None:
        """Takes back what nobody looks at any more. The lock is held."""
        while self._ended:
            made = self._ended.popleft()
            if made.where == HERE and not made.window.live:
                self._put(made)

    def _put(self, made: Made) -> None:
        if self._closed:
            made.window.close()
            return
        made.where, made.since = FREE, time.monotonic()
        self._free.append(made)

    def trim(self) -> None:
        """Gives up what nobody has used for a while: to be called now and then."""
        with self._lock:
            self._settle()
            edge = time.monotonic() - IDLE
            idle = [m for m in self._free if m.since <= edge]
            if idle and not self._closed:
                self._retire(idle[:MOST_NUMBERS])

    def _retire(self, gone: list[Made]) -> None:
        for made in gone:
            self._free.remove(made)
            del self._all[made.number]
            self._sum -= made.size
            if made.value:  # the peer has perhaps not read of it
                self._kept.append(made.value)
            made.window.close()
        self._announce(numbers_frame(RETIRE, [m.number for m in gone]), ())

    def sums(self) -> tuple[int, int]:
        """The bytes of all segments, and of those that the peer has."""
        with self._lock:
            return self._sum, sum(m.size for m in self._all.values() if m.where == AWAY)

    def exhausted(self, n: int) -> TooLargeError:
        """The error of who has waited in vain."""
        with self._lock:
            count, total = [0, 0], [0, 0]
            for m in self._all.values():
                if m.where != FREE:
                    count[m.where] += 1
                    total[m.where] += m.size
        return TooLargeError(
            f"no room for a buffer of {n} bytes: of the {self._limit} bytes that may be shared (max_shared, here and at"
            f" the peer), {total[AWAY]} in {count[AWAY]} buffers are with the peer, which has not released them, and"
            f" {total[HERE]} in {count[HERE]} buffers are here, not sent and not released"
        )

    def take_back(self) -> None:
        """The peer has closed, or takes nothing any more: what it has not taken is not left in its process."""
        with self._lock:
            self._on = False
            for value in self._handed():
                self._memory.revoke(value)

    def _handed(self) -> list[int]:
        """The values of what the peer has perhaps not taken, which are forgotten here."""
        values, self._kept = self._kept, []
        for made in self._all.values():
            if made.value:
                values.append(made.value)
                made.value = 0
        return values

    def end(self) -> None:
        """Gives up all segments but those that somebody looks at: those end with the look."""
        with self._lock:
            self._closed = True
            self._settle()
            for value in self._handed():
                self._memory.taken(value)  # or never will be: the connection has gone
            for made in self._all.values():
                if not made.window.live:
                    made.window.close()
            self._all.clear()
            self._free.clear()
