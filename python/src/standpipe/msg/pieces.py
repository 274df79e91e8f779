"""Large buffers that are not in shared memory come in pieces, ahead of their message. spec/wire.md, 2.7 and 2.8."""

from __future__ import annotations

from .error import ProtocolError
from .frame import HEADER, MAX_BUFFERS, MOST_PIECE, PIECE, PIECE_HEAD, TWO, Ref

_TRUST = 16  # memory is taken for a whole buffer when this part of it has come


class _Arriving:
    __slots__ = ("data", "have", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.data = bytearray()
        self.have = 0


class Arrivals:
    """The buffers that have begun, and that no message has taken."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sum = 0
        self._last = 0
        self._all: dict[int, _Arriving] = {}

    def piece(self, body: memoryview) -> None:
        """Takes a piece."""
        number, size = TWO.unpack_from(body)
        n = len(body) - PIECE_HEAD
        a = self._all.get(number)
        if a is None:
            a = self._begin(number, size)
        elif a.size != size:
            raise ProtocolError(f"buffer {number} has {a.size} bytes in one piece's words, and {size} in another's")
        if n > a.size - a.have:
            raise ProtocolError(f"a piece of buffer {number} has {n} bytes where {a.size - a.have} are missing")
        end = a.have + n
        if len(a.data) < end:  # not on the word of a size alone
            room = a.size if end >= a.size // _TRUST else min(a.size, 2 * end)
            a.data.extend(bytes(room - len(a.data)))
        a.data[a.have : end] = body[PIECE_HEAD:]
        a.have = end

    def _begin(self, number: int, size: int) -> _Arriving:
        if number != self._last + 1:
            raise ProtocolError(
                f"a piece is of buffer {number}, which has not begun or has ended; the last that began was {self._last}"
            )
        if len(self._all) >= MAX_BUFFERS:
            raise ProtocolError(f"more than {MAX_BUFFERS} buffers come in pieces at once")
        if size > self._limit - self._sum:
            raise ProtocolError(
                f"buffers of {self._sum} bytes and one of {size} come in pieces, above the limit of {self._limit}"
            )
        a = self._all[number] = _Arriving(size)
        self._last = number
        self._sum += size
        return a

    def end(self, number: int) -> _Arriving:
        """No message will refer to that buffer, or one just has."""
        a = self._all.pop(number, None)
        if a is None:
            raise ProtocolError(f"buffer {number} is not one that has come in pieces")
        self._sum -= a.size
        return a

    def arrived(self, r: Ref) -> memoryview:
        """The buffer that a reference means."""
        a = self.end(r.pieces)
        if a.have != a.size or a.size != r.size:
            raise ProtocolError(
                f"a message has buffer {r.pieces} with {r.size} bytes, of whose {a.size} bytes {a.have} have come"
            )
        return memoryview(a.data).toreadonly()


def piece_head(number: int, size: int, n: int) -> bytes:
    """What goes before n bytes of a buffer of that size."""
    return HEADER.pack(PIECE_HEAD + n, PIECE, 0, 0) + TWO.pack(number, size)


def parts_of(view: memoryview) -> list[memoryview]:
    return [view[at : at + MOST_PIECE] for at in range(0, len(view), MOST_PIECE)]
