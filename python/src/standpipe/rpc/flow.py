"""One end of a stream without the connection: what waits to be taken, what may be sent, how it ends. No I/O.
spec/wire.md, 3.9.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..msg.buffer import Buffer
from ..msg.error import ProtocolError
from ..msg.session import Data, Message
from .error import Code, Error
from .frame import END, MAX_CREDIT, META, VALUE, Frame
from .metadata import Metadata

if TYPE_CHECKING:
    from .calls import Calls

LEAST_WINDOW = 64 << 10  # what every side takes on a stream before its user has read; what ours takes at first
MOST_WINDOW = 4 << 20  # what it grows to for a user who keeps up


class Waiter(Protocol):
    """Somebody who waits for a change. wake may be called several times, and when nobody waits any more."""

    def wake(self) -> None: ...


class Ended(Exception):
    """The good end of a stream."""


class StreamEnd:
    """The state of one end. ``Calls.lock`` guards it, and its methods are called with that held, but for properties
    that are one look.
    """

    __slots__ = (
        "_given",
        "_inbox",
        "_owed",
        "_shared",
        "_window",
        "calls",
        "closed",
        "credit",
        "ended",
        "error_in",
        "error_out",
        "got_header",
        "header",
        "header_sent",
        "left",
        "number",
        "ours",
        "overrun",
        "reader",
        "sending",
        "trailer",
        "writer",
    )

    def __init__(self, calls: Calls, number: int, ours: bool, credit: int) -> None:
        self.calls = calls
        self.number = number
        self.ours = ours  # opened here
        self.credit = credit  # what the other side takes
        self.error_in: Exception | None = None  # how the stream ends for who reads, behind the inbox
        self.error_out: Exception | None = None  # and for who sends
        self.reader: Waiter | None = None
        self.writer: Waiter | None = None
        self.header: Metadata | None = None
        self.got_header = False
        self.header_sent = False
        self.trailer: Metadata | None = None
        self.ended = False  # the opener's end is here
        self.closed = False  # the called side's close is here
        self.left = False  # this side does not care any more
        self.overrun: Error | None = None  # a handler's stream got more than is kept
        self.sending = 0  # messages that are being sent in pieces: the number is not free until they are
        self._inbox: deque[tuple[Data, int, Sequence[Buffer]]] = deque()
        self._given = LEAST_WINDOW
        self._window = LEAST_WINDOW
        self._owed = 0
        self._shared = 0

    def wake(self) -> None:
        """Both look again."""
        for w in (self.reader, self.writer):
            if w is not None:
                w.wake()

    @property
    def readable(self) -> bool:
        """Whether there is a value, or the end, for who reads."""
        return bool(self._inbox) or self.error_in is not None

    @property
    def writable(self) -> bool:
        """Whether a value may be sent, or the end is here for who sends."""
        return self.credit > 0 or self.error_out is not None

    @property
    def headed(self) -> bool:
        """Whether it is known what the header is."""
        return self.got_header or self.error_in is not None

    def push(self, f: Frame, m: Message) -> None:
        """Takes a data frame of the other side."""
        beside: Sequence[Buffer] = ()
        if f.flags & VALUE and m.buffers:
            beside, m.buffers = m.buffers, []
        n = f.size + sum(map(len, beside))
        if self.ended:
            raise ProtocolError(f"stream {self.number} got data behind its end")
        if (f.flags & END and self.ours) or (f.flags & META and (not self.ours or self.got_header)):
            raise ProtocolError(
                f"stream {self.number} got a data frame with the flags {f.flags:#x}, from the wrong side or too late"
            )
        if self._given <= 0:
            raise ProtocolError(f"stream {self.number} got {n} bytes without credit")
        self._given -= n
        if self.ours and not self.got_header:
            self.got_header, self.header = True, f.meta
        if f.flags & END:
            self.ended = True
        if self.error_in is not None:
            return  # nobody wants it
        if f.flags & VALUE:
            overrun = self.calls.hold(len(f.value) + private(beside))
            if overrun is not None:
                self.stop(overrun)
                return
            self._shared = max(self._shared, sum(len(b) for b in beside if b.shared))
            self._inbox.append((bytes(f.value) if m.lent else f.value, n, beside))
        else:
            self._owed += n
        if self.ended:
            self.error_in = Ended()
        if self.reader is not None:
            self.reader.wake()

    def pop(self) -> tuple[Data, Sequence[Buffer]] | None:
        """The next value; None where there is none yet. It raises how the stream has ended."""
        if not self._inbox:
            if self.error_in is not None:
                raise self.error_in
            return None
        value, n, beside = self._inbox.popleft()
        self.calls.hold(-len(value) - private(beside))
        credit = self._consumed(n)
        if credit:
            self.calls.send_credit(self.number, credit)
        return value, beside

    def _consumed(self, n: int) -> int:
        """Counts what the user has taken, and says how much credit to send now, if any. A user who finds nothing more
        while the other side has used up half of its credit keeps up: the window grows.
        """
        self._owed += n
        if self.error_in is not None or (self.error_out is not None and not self.ours):
            return 0
        most = max(
            MOST_WINDOW, min(2 * self._shared, MAX_CREDIT // 2)
        )  # two at once: one is filled while the other is read
        if not self._inbox and self._given < self._window // 2 and self._window < most:
            self._owed += self._window
            self._window *= 2
        if self._owed < self._window // 2:
            return 0
        credit = min(self._owed, MAX_CREDIT - max(self._given, 0))
        self._owed -= credit
        self._given += credit
        return credit

    def give(self, n: int) -> None:
        """Takes credit from the other side."""
        self.credit += n
        if self.credit > MAX_CREDIT:
            raise ProtocolError(f"stream {self.number} was given a credit of {self.credit} bytes")
        if self.writer is not None:
            self.writer.wake()

    def answered(self, f: Frame, error: Error | None) -> None:
        """Takes the called side's close."""
        if not self.got_header:
            self.got_header, self.header = True, f.header
        self.trailer = f.meta
        self.closed = True
        if self.error_in is None:
            self.error_in = error or Ended()
        if self.error_out is None:
            self.error_out = Ended()
        self.wake()

    def lost(self, error: Error) -> None:
        """The connection has ended."""
        self.error_in = self.error_in or error
        self.error_out = self.error_out or error
        self.wake()

    def stop(self, error: Error) -> None:
        """Ends the stream at this side: what came is thrown away, and the other side is told, by a cancel or by how the
        handler ends.
        """
        if self.left:
            return
        self.left = True
        if not self.closed:
            self.error_in = self.error_out = error
        elif self._inbox:
            self.error_in = error
        self.drop()
        self.wake()
        if not self.ours and error.code == Code.RESOURCE_EXHAUSTED:
            self.overrun = error
            self.calls.cancel_served(self.number, Code.CANCELED)
        elif self.ours and not self.closed:
            self.calls.send_cancel(
                self.number, Code.DEADLINE_EXCEEDED if error.code == Code.DEADLINE_EXCEEDED else Code.CANCELED
            )

    def drop(self) -> None:
        """Throws away what came and was not taken."""
        while self._inbox:
            value, _, beside = self._inbox.popleft()
            self.calls.hold(-len(value) - private(beside))
            release_all(beside)


def private(buffers: Sequence[Buffer]) -> int:
    """How many bytes of them are memory of this process alone."""
    return sum(len(b) for b in buffers if not b.shared) if buffers else 0


def release_all(buffers: Sequence[Buffer]) -> None:
    for b in buffers:
        b.release()
