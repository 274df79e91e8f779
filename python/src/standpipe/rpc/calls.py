"""The calls of one connection, both ways, without the connection: messages in, messages out. No I/O. spec/wire.md,
section 3.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Sequence
from threading import Lock
from time import perf_counter
from typing import Any

from ..msg.error import ProtocolError
from ..msg.hello import number
from ..msg.session import Data, Message, Session
from .call import Call, Served
from .codec import CODECS, Codec
from .error import Code, Error
from .flow import LEAST_WINDOW, StreamEnd, Waiter, private, release_all
from .frame import (
    CLOSE,
    CREDIT,
    DATA,
    DRAIN,
    DRAIN_FRAME,
    HEADER,
    HEADER_SIZE,
    MAX_CREDIT,
    OPEN,
    PING,
    PONG_FRAME,
    STREAM,
    VALUE,
    Frame,
    cancel_frame,
    close_head,
    credit_frame,
    error_frame,
    open_head,
    parse_error,
)
from .stats import SAMPLE, Tally

LEAST_CALLS = 16
QUICK = 32 << 10  # bytes that the kernel takes, whatever the other side does
PER_FRAME = 256  # of the kernel's own, which it counts too
_NAME = re.compile(r"[a-z0-9.+-]{1,32}\Z")


def codec_names(codecs: Sequence[Codec]) -> str:
    return " ".join(c.name for c in codecs)


_MOST_WAITING = 64  # frames that are to be written, above which a ping has no pong of its own


class Calls:
    """The state of all calls. What is to be sent goes to the session's outbox; whoever called has to have it written.

    ``receive`` and ``end`` are called by one thread at a time; everything else by any thread at any time.

    lookup finds what handles a method: an object with ``streams``, which says of which kind the method is; None where
    there is none.
    """

    def __init__(
        self,
        session: Session,
        *,
        dialer: bool,
        lookup: Callable[[str], Any] = lambda method: None,
        codecs: Sequence[Codec] = CODECS,
        max_calls: int = 1024,
        max_queued: int = 256 << 20,
    ) -> None:
        self.session = session
        self.lock = Lock()
        self.codecs = codecs
        self.error: Error | None = None  # no further calls may begin
        self.draining = False  # the other side takes no further calls
        self.called = False  # the other side has called
        self.on_drain: Waiter | None = None
        self._dialer = dialer
        self._lookup = lookup
        self._max_calls = max_calls
        self._max_queued = max_queued
        self._held = 0
        self._out: dict[int, Call | StreamEnd] = {}
        self._unused: list[int] = []
        self._next = 1 if dialer else 2
        self._limit = LEAST_CALLS
        self._window = LEAST_WINDOW
        self._room: deque[Waiter] = deque()  # who waits for a call to end
        self._in: dict[int, Served] = {}
        self._refuses = False  # this side drains
        self._their_codecs: list[Codec | None] = []
        self._their_names: list[str] = []
        self._unread = 0  # calls that were refused since the outbox was empty
        self._sent = self._heard = 0
        # For Census; the lock is held.
        self.begun = self.failed = 0  # calls of the other side
        self.refusals: Counter[int] = Counter()  # those that reached no method, by code
        self.tallies: dict[str, Tally] = {}  # by method
        self._greeted = False

    # What comes.

    def greet(self) -> None:
        """Takes the lines of the other side's hello, when it is here."""
        assert self.session.peer is not None
        keys = self.session.peer.keys
        line = keys.get("codecs", "")
        names = line.split(" ") if line else []
        if len(names) > 16 or not all(map(_NAME.match, names)):
            raise ProtocolError(f"the hello says codecs: {line!r}, which is not a list of at most 16 names")
        limit = number(keys, "max-calls", LEAST_CALLS, 65535)
        window = number(keys, "window", LEAST_WINDOW, MAX_CREDIT)
        known = {c.name: c for c in self.codecs}
        with self.lock:
            self._their_names, self._their_codecs = names, [known.get(name) for name in names]
            self._limit, self._window = limit, window
            self._greeted = True

    def receive(self, m: Message) -> Served | None:
        """Takes a message. A call to be run is returned. ProtocolError ends the connection."""
        if not self._greeted:
            self.greet()
        f = Frame(m.data)
        kind = f.type
        served = None
        if kind == CLOSE:
            if f.stream & 1 == self._dialer:
                self._answered(f, m)
            else:
                self._cancelled(f)
        elif kind == OPEN:
            served = self._opened(f, m)
        elif kind in (DATA, CREDIT):
            self._flow(f, m)
        elif kind == DRAIN:
            self._drained()
        elif kind == PING and len(self.session.outbox) < _MOST_WAITING:  # or something else is sent anyway
            self.session.send(PONG_FRAME)
        if m.buffers:
            release_all(m.buffers)  # nobody wanted them
        return served

    def receive_usual(self, b: memoryview) -> Served | None:
        """receive, for a message without buffers that is lent. Unary calls and answers that have nothing but a value
        are taken here, at a fraction of the time; what is not as usual is left to receive, which says what is wrong.
        """
        if len(b) >= HEADER_SIZE and self._greeted:
            number, kind, flags, at6, at7 = HEADER.unpack_from(b)
            if flags != VALUE:
                pass
            elif kind == CLOSE:
                if not at6 and not at7 and number & 1 == self._dialer and self._answered_usual(number, b):
                    return None
            elif kind == OPEN and at7 and number & 1 != self._dialer:
                served = self._opened_usual(number, at6, HEADER_SIZE + at7, b)
                if served is not None:
                    return served
        return self.receive(Message(b, True, []))

    def _answered_usual(self, number: int, b: memoryview) -> bool:
        with self.lock:
            call = self._out.get(number)
            if type(call) is not Call:
                return False
            if call.mark > self._heard:
                self._heard = call.mark
            if not call.gone:
                call.value = bytes(b[HEADER_SIZE:])
            call.done = True  # before it is forgotten: see end
            self._free(number)
        waiter = call.waiter
        if waiter is not None:
            waiter.wake()
        return True

    def _opened_usual(self, number: int, codec: int, end: int, b: memoryview) -> Served | None:
        held = len(b) - end
        if held < 0:
            return None
        try:
            method = str(b[HEADER_SIZE:end], "utf-8")
        except UnicodeDecodeError:
            return None
        route = self._lookup(method)
        codecs = self._their_codecs
        if number == 0 or route is None or route.streams or codec >= len(codecs):
            return None
        how = codecs[codec]
        with self.lock:
            if self._refuses or how is None or number in self._in or len(self._in) >= self._max_calls:
                return None
            if self.hold(held) is not None:
                return None
            self.called = True
            served = self._in[number] = Served(number, method, route, how, 0, None)
            self._enter(served)
        served.held = held
        served.value = bytes(b[end:])
        return served

    def _answered(self, f: Frame, m: Message) -> None:
        """Takes the called side's close."""
        error = parse_error(f.code, f.value) if f.code else None
        with self.lock:
            call = self._out.get(f.stream)
            if call is None:
                raise ProtocolError(f"stream {f.stream} was answered and is not open")
            unary = type(call) is Call
            if error is None and (f.flags & VALUE != 0) != unary:
                raise ProtocolError(f"stream {f.stream} was answered as the other kind of call")
            if isinstance(call, StreamEnd):
                if call.closed:
                    raise ProtocolError(f"stream {f.stream} was answered and is not open")
                call.answered(f, error)
                if not call.sending:
                    self._free(f.stream)
                return
            self._heard = max(self._heard, call.mark)
            call.error = error
            call.header, call.trailer = f.header, f.meta
            if error is None and not call.gone:
                call.value = bytes(f.value) if m.lent else f.value
                if m.buffers:
                    call.buffers, m.buffers = m.buffers, []
            call.done = True  # before it is forgotten, so that an interrupt in between leaves nobody waiting: see end
            self._free(f.stream)
        waiter = call.waiter
        if waiter is not None:
            waiter.wake()

    def _free(self, stream: int) -> None:
        """Ends a number's use. The lock is held."""
        del self._out[stream]
        self._unused.append(stream)
        while self._room and len(self._out) < self._limit:
            self._room.popleft().wake()

    def _cancelled(self, f: Frame) -> None:
        if f.code not in (Code.CANCELED, Code.DEADLINE_EXCEEDED) or f.flags or len(f.value):
            raise ProtocolError(
                f"stream {f.stream} was cancelled with the code {f.code}, flags {f.flags:#x} and {len(f.value)} bytes"
            )
        with self.lock:
            self.cancel_served(f.stream, Code(f.code))

    def cancel_served(self, number: int, code: Code) -> None:
        """Ends the work of a call of the other side, if there still is one. The lock is held."""
        served = self._in.get(number)
        if served is not None and served.cancelled is None:
            served.cancelled = code
            if served.stream is not None:
                served.stream.lost(Error(code, "the call was cancelled"))
            if served.waiter is not None:
                served.waiter.wake()

    def _flow(self, f: Frame, m: Message) -> None:
        """Gives a frame to the stream that it belongs to."""
        ours = f.stream & 1 == self._dialer
        with self.lock:
            end: Any = self._out.get(f.stream) if ours else self._in.get(f.stream)
            if end is None:
                if ours and f.type == DATA:
                    raise ProtocolError(f"stream {f.stream} got data and is not open")
                return  # it crossed the last frame of the call
            stream = end if ours else end.stream
            if not isinstance(stream, StreamEnd):
                if f.type == DATA:
                    raise ProtocolError(f"stream {f.stream} got data and is a unary call")
                return
            if f.type == CREDIT:
                stream.give(f.credit)
            else:
                stream.push(f, m)

    def _opened(self, f: Frame, m: Message) -> Served | None:
        if f.stream & 1 == self._dialer:
            raise ProtocolError(f"stream {f.stream} was opened by the wrong side")
        route = self._lookup(f.method)
        with self.lock:
            self.called = True
            if f.stream in self._in:
                raise ProtocolError(f"stream {f.stream} was opened and is open")
            held = len(f.value) + private(m.buffers)
            refused = self._refused(f, route, held)
            if refused is not None:
                self.refusals[refused.code] += 1
                self._unread = self._unread + 1 if self.session.outbox else 1
                if self._unread > 2 * self._max_calls:
                    raise ProtocolError("the peer calls, and does not read the answers")
                self.session.send(error_frame(f.stream, refused, b"", b"", self.session.send_limits.message))
                return None
            codec = self._their_codecs[f.codec]
            assert codec is not None  # or it was refused
            served = Served(f.stream, f.method, route, codec, f.timeout, f.meta)
            self._in[f.stream] = served
            self._enter(served)
            if f.flags & STREAM:
                served.stream = StreamEnd(self, f.stream, False, self._window)
                return served
        served.held = held
        served.value = bytes(f.value) if m.lent else f.value
        if m.buffers:
            served.buffers, m.buffers = m.buffers, []
        return served

    def _enter(self, served: Served) -> None:
        """Counts a call that begins. The lock is held."""
        self.begun += 1
        tally = served.tally = self.tallies.get(served.method)
        if tally is None:
            tally = served.tally = self.tallies[served.method] = Tally()
        n = tally.begun = tally.begun + 1
        if n < SAMPLE or n % SAMPLE == 0:
            served.since = perf_counter()

    def _leave(self, served: Served, code: int = 0) -> bool:
        """Ends a call, unless it was ended before, and counts that. The lock is held."""
        if self._in.pop(served.number, None) is not served:
            return False
        tally = served.tally
        assert tally is not None
        if code:
            self.failed += 1
            tally.failed[code] += 1
        if served.since:
            tally.took(perf_counter() - served.since)
        return True

    def counts(self, opened: Counter[str]) -> dict[str, Any]:
        """What the stats of a connection say of its calls. Those that run are added to opened, by method."""
        with self.lock:
            inside = list(self._in.values())
            opened.update(served.method for served in inside)
            streams = [served.stream for served in inside if served.stream is not None]
            streams += [end for end in self._out.values() if isinstance(end, StreamEnd)]
            return {
                "dialed": self._dialer,
                "calls": self.begun,
                "failed": self.failed,
                "open": len(inside),
                "streams": len(streams),
                "blocked": sum(end.writer is not None and not end.writable for end in streams),
                "queued": self._held,
            }

    def _refused(self, f: Frame, route: Any, held: int) -> Error | None:
        """Why a call can't even begin. The lock is held."""
        if self._refuses:
            return Error(Code.UNAVAILABLE, "the other side is about to end, and takes no further calls")
        if len(self._in) >= self._max_calls:
            return Error(Code.RESOURCE_EXHAUSTED, f"more than {self._max_calls} calls at once")
        if route is None:
            return Error(Code.UNIMPLEMENTED, f"there is no method {f.method!r}")
        if f.codec >= len(self._their_codecs):
            return Error(Code.UNIMPLEMENTED, f"codec {f.codec} was not announced")
        if self._their_codecs[f.codec] is None:
            return Error(Code.UNIMPLEMENTED, f"the codec {self._their_names[f.codec]!r} is not known here")
        if f.flags & STREAM and not route.streams:
            return Error(Code.UNIMPLEMENTED, f"the method {f.method!r} is unary: call it")
        if not f.flags & STREAM and route.streams:
            return Error(Code.UNIMPLEMENTED, f"the method {f.method!r} is a stream: open it")
        return self.hold(held)

    def hold(self, n: int) -> Error | None:
        """Counts bytes of values that came and that no user has taken. The lock is held."""
        if n > 0 and self._held + n > self._max_queued:
            return Error(
                Code.RESOURCE_EXHAUSTED, f"more than {self._max_queued} bytes of values of one peer wait to be taken"
            )
        self._held += n
        return None

    def _drained(self) -> None:
        with self.lock:
            if not self.draining:
                self.draining = True
                self._refuse(Error(Code.UNAVAILABLE, "the other side is about to end, and takes no further calls"))
        if self.on_drain is not None:
            self.on_drain.wake()

    def _refuse(self, error: Error) -> None:
        """No further calls may begin. The lock is held."""
        self.error = error
        while self._room:
            self._room.popleft().wake()

    def end(self, error: Error) -> None:
        """The connection has ended: so do all calls, both ways."""
        with self.lock:
            self._refuse(error)
            self._refuses = True
            out, self._out = list(self._out.values()), {}
            for number in list(self._in):
                self.cancel_served(number, Code.CANCELED)
            for call in out:
                if isinstance(call, StreamEnd):
                    call.lost(error)
        for call in out:
            if isinstance(call, Call):
                call.error = error
                call.done = True
                if call.waiter is not None:
                    call.waiter.wake()

    # What this side calls.

    def begin(self, n: int, stream: bool = False) -> Call | StreamEnd | None:
        """Finds a number for a call of which about n bytes are to be sent. None where the other side runs as many calls
        as it wants to: see await_room. It raises why no further calls may begin.
        """
        with self.lock:
            if self.error is not None:
                raise self.error.again()
            if len(self._out) >= self._limit:
                return None
            if self._unused:
                number = self._unused.pop()
            else:
                number = self._next
                self._next += 2
            self._sent += n + PER_FRAME
            call: Call | StreamEnd
            call = StreamEnd(self, number, True, self._window) if stream else Call(number, self._sent)
            self._out[number] = call
            return call

    @property
    def quick(self) -> bool:
        """Whether so little is on its way that the kernel's buffer takes it, whatever the other side does: only an
        answer proves that it has read.
        """
        return self._sent - self._heard <= QUICK

    def await_room(self, waiter: Waiter) -> None:
        """waiter is woken when begin may have a number. leave_room takes it out."""
        with self.lock:
            self._room.append(waiter)
            if self.error is not None or len(self._out) < self._limit:
                waiter.wake()

    def leave_room(self, waiter: Waiter) -> None:
        with self.lock:
            if waiter in self._room:
                self._room.remove(waiter)
            elif self._room:  # its turn had come: the next one has it
                self._room.popleft().wake()

    @property
    def roomy(self) -> bool:
        """Whether begin may have a number, or an error."""
        return self.error is not None or len(self._out) < self._limit

    def unsent(self, call: Call | StreamEnd) -> None:
        """Ends a call of which nothing was sent."""
        with self.lock:
            if self._out.get(call.number) is call:
                self._free(call.number)

    def cancel(self, call: Call, code: Code) -> None:
        """The caller does not wait any more."""
        with self.lock:
            if not call.done and not call.gone and self._out.get(call.number) is call:
                call.gone = True
                self.send_cancel(call.number, code)

    def send_cancel(self, number: int, code: Code) -> None:
        """The lock is held: the number can't be free, and be another call's."""
        self.session.send(cancel_frame(number, code))

    def send_credit(self, number: int, n: int) -> None:
        self.session.send(credit_frame(number, n))

    def codec_place(self, codec: Codec) -> int:
        """ValueError where the codec is not one of this connection."""
        for i, own in enumerate(self.codecs):
            if own.name == codec.name:
                return i
        raise ValueError(f"the codec {codec.name!r} is not one of this connection")

    def open_stream(self, end: StreamEnd, codec: int, method: bytes, timeout: int, meta: bytes) -> None:
        self.session.send(open_head(end.number, STREAM, codec, method, timeout, meta))

    def send_data(self, end: StreamEnd, head: bytes, value: Data) -> None:
        """Sends a data frame without buffers. The lock is held, and the end is writable. It raises how the stream has
        ended.
        """
        if end.error_out is not None:
            raise end.error_out
        self.session.send(head, value)
        n = len(head) + len(value)
        end.credit -= n
        self._sent += n + PER_FRAME

    def sent(self, end: StreamEnd) -> None:
        """A message that was being sent in pieces is out, or will not be."""
        with self.lock:
            end.sending -= 1
            if not end.sending and end.ours and end.closed and self._out.get(end.number) is end:
                self._free(end.number)

    # What the other side calls.

    def answer(self, served: Served, value: Data) -> None:
        """Answers a unary call, without buffers."""
        head = self._end(served, VALUE)
        if HEADER_SIZE + len(value) > self.session.send_limits.message - len(head):
            self._too_large(served, len(value))
            return
        with self.lock:
            self._held -= served.held
            if self._leave(served):
                self.session.send(head, value)

    def _too_large(self, served: Served, n: int) -> None:
        limit = self.session.send_limits.message
        self.fail(served, Error(Code.RESOURCE_EXHAUSTED, f"the result has {n} bytes, the limit is {limit}"))

    def answer_head(self, served: Served) -> bytes:
        """Ends a unary call whose answer has buffers, and is what goes before the value in that."""
        return self._end(served, VALUE)

    def forget(self, served: Served) -> bool:
        """A call was, or is being, answered: its number may be used again. False where the connection has ended."""
        with self.lock:
            self._held -= served.held
            return self._leave(served)

    def finish(self, served: Served) -> None:
        """Answers a stream that has ended well."""
        assert served.stream is not None
        with self.lock:
            served.stream.drop()
            overrun = served.stream.overrun
            served.stream.error_in = served.stream.error_out = Error(Code.CANCELED, "the stream's handler has returned")
            served.stream.left = True
            if overrun is None and self._leave(served):
                self.session.send(self._end(served, 0))
        if overrun is not None:
            self.fail(served, overrun)

    def fail(self, served: Served, error: Error) -> None:
        """Answers a call that has failed."""
        header, trailer = self._blocks(served)
        with self.lock:
            self._held -= served.held
            if served.stream is not None:
                served.stream.drop()
                served.stream.left = True
                served.stream.error_in = served.stream.error_out = Error(
                    Code.CANCELED, "the stream's handler has returned"
                )
                if served.stream.overrun is not None:
                    error = served.stream.overrun
            if self._leave(served, error.code or Code.UNKNOWN):
                self.session.send(error_frame(served.number, error, header, trailer, self.session.send_limits.message))

    def _end(self, served: Served, flags: int) -> bytes:
        if served.header is None and served.trailer is None:
            return close_head(served.number, flags, b"", b"")
        return close_head(served.number, flags, *self._blocks(served))

    def _blocks(self, served: Served) -> tuple[bytes, bytes]:
        header = served.header if served.stream is None or not served.stream.header_sent else None
        return header.pack() if header else b"", served.trailer.pack() if served.trailer else b""

    def drain(self) -> None:
        """Refuses calls from now on, and tells the other side."""
        with self.lock:
            if not self._refuses:
                self._refuses = True
                self.session.send(DRAIN_FRAME)

    @property
    def busy(self) -> int:
        """How many calls of the other side have no answer yet."""
        return len(self._in)
