"""One side of a connection without the connection: bytes in, messages out, and the other way round. No I/O.
spec/wire.md, 1 and 2; spec/memory.md, 4.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from ..error import ClosedError
from .buffer import Buffer
from .error import EndOfStream, ProtocolError, TooLargeError
from .frame import (
    ABORT,
    BELL,
    DROP,
    HEADER,
    HEADER_SIZE,
    IGNORED,
    MAX_BUFFERS,
    MESSAGE,
    MOST_PIECE,
    ONE,
    PIECE,
    REF,
    REF_SIZE,
    RELEASE,
    RETIRE,
    SEGMENT,
    Limits,
    abort_frame,
    check_header,
    parse_numbers,
    parse_refs,
    parse_segment,
)
from .hello import LEAST_DATA, Hello, hello_end, parse_hello
from .made import LEAST_SHARED, Made, Maker
from .memory import Memory
from .pieces import Arrivals, parts_of, piece_head
from .taken import Taken, Taker

Data = bytes | bytearray | memoryview

READ = 64 << 10  # bytes of the memory that everything small is read into
FIRST_TAKE = 256 << 10  # memory that is taken on the word of a length alone
TRUST = 16  # and all of it when this part has come
MOST_HANDLES = 64
MOST_LENGTH = (1 << 32) - 1


class Message:
    """What was received. Where it is lent, data is valid until more bytes are fed; otherwise it is the receiver's own.
    The buffers are his.
    """

    __slots__ = ("buffers", "data", "lent")

    def __init__(self, data: memoryview, lent: bool, buffers: list[Buffer]) -> None:
        self.data = data
        self.lent = lent
        self.buffers = buffers


class Session:
    """The state of one side.

    Received bytes go where ``room()`` says, and are announced by ``fed``; then ``next`` returns the messages, one by
    one. ``feed`` does all of that for bytes that are somewhere else. One thread at a time does these. What is to be
    sent lies in ``outbox``, in order: a list of parts, and the descriptors that go with its first byte. Every thread
    may send; only one at a time may take from the outbox.

    Errors of ``next``, ``feed`` and ``eof`` are final: ProtocolError, where the peer broke the rules (``abort`` makes
    the answer), and EndOfStream.
    """

    def __init__(
        self, hello: Hello, memory: Memory | None = None, poke: Callable[[bool], None] = lambda urgent: None
    ) -> None:
        if memory is not None and hello.max_buffers > 0:
            hello.share = memory.kind
        self.own = hello
        self.peer: Hello | None = None  #: the other side's hello, when it is here
        self.outbox: deque[tuple[Sequence[Data], tuple[int, ...]]] = deque()
        self.sent = self.received = 0  #: bytes of frames, and of buffers that were received in memory that is shared
        self.carried = 0  #: and of those that were sent there
        self.freed: deque[Taken] = deque()  #: what releases() is of
        self.send_limits = Limits(LEAST_DATA, 0)
        self.handles: list[int] = []
        self.maker: Maker | None = None
        self.taker: Taker | None = None
        self._memory = memory
        self._poke = poke
        self._limits = Limits(hello.max_message, hello.max_buffers)
        self._arrivals = Arrivals(hello.max_buffers)
        self._pieces_sent = 0
        self._buf = bytearray(READ)
        self._mv = memoryview(self._buf)
        self._i = self._j = 0  # what is unread of it
        self._large: bytearray | None = None  # a frame that does not fit there, with its header
        self._have = self._need = 0  # bytes of it
        self._skip = 0  # bytes to be thrown away
        self.outbox.append(([hello.pack()], ()))

    # Receiving.

    def room(self) -> memoryview:
        """Where to read to next. It is never empty."""
        if self._large is not None:
            return memoryview(self._large)[self._have :]
        i, j = self._i, self._j
        if i == j:
            self._i = self._j = j = 0
        elif j > READ // 2 and i:
            self._buf[: j - i] = self._buf[i:j]
            self._i, self._j = 0, j - i
            j -= i
        return self._mv[j:]

    def lone(self, n: int) -> memoryview | None:
        """In place of fed and next, what they would find where the n bytes that were read to room() are just one
        message without buffers. It is lent, see Message. None: it is for them to say.
        """
        if self._j or n < HEADER_SIZE or self._large is not None or self._skip or self.peer is None:
            return None
        length, kind, flags, buffers = HEADER.unpack_from(self._buf)
        if length != n - HEADER_SIZE or kind != MESSAGE or flags or buffers or length > self._limits.message:
            return None
        return self._mv[HEADER_SIZE:n]

    def fed(self, n: int, handles: Sequence[int] = ()) -> None:
        """n bytes were read to room(), with these descriptors, which are the session's from now on."""
        if handles:
            waiting = len(self.handles)
            self.handles.extend(handles)
            if waiting > MOST_HANDLES:  # whatever is under way: each byte may bring more
                raise ProtocolError(f"{waiting} descriptors came that no frame explains")
        if self._large is None:
            self._j += n
            return
        self._have += n
        if self._have == len(self._large) < self._need:  # memory grows with the bytes
            more = self._need if self._have >= self._need // TRUST else min(self._need, 2 * self._have)
            self._large = _grown(self._large, more)

    def feed(self, data: Data, handles: Sequence[int] = ()) -> list[Message]:
        """Takes bytes, and returns the messages that are whole now, as copies."""
        found = []
        rest = memoryview(data)
        while True:
            while (m := self.next()) is not None:
                found.append(Message(memoryview(bytes(m.data)), False, m.buffers))
            if not rest and not handles:
                return found
            room = self.room()
            n = min(len(room), len(rest))
            room[:n] = rest[:n]
            room.release()
            self.fed(n, handles)
            rest, handles = rest[n:], ()

    @property
    def empty(self) -> bool:
        """Whether nothing is unread: next has nothing then."""
        return self._i == self._j and self._large is None

    def next(self) -> Message | None:
        """The next message, or None where more bytes are needed."""
        if self.peer is None and not self._greet():
            return None
        lim = self._limits
        while True:
            if self._large is not None:
                if self._have < self._need:
                    return None
                frame, self._large = memoryview(self._large), None
                _, kind, _, buffers = HEADER.unpack_from(frame)
                m = self._frame(kind, buffers, frame[HEADER_SIZE:], False)
                if m is not None:
                    return m
                continue
            i = self._i
            have = self._j - i
            if self._skip:
                self._i += min(self._skip, have)
                self._skip -= min(self._skip, have)
                if self._skip:
                    return None
                continue
            if have < HEADER_SIZE:
                self._wait()
                return None
            length, kind, flags, buffers = HEADER.unpack_from(self._buf, i)
            end = i + HEADER_SIZE + length
            if kind == MESSAGE and not flags and not buffers and length <= lim.message:
                if end <= self._j:
                    self._i = end
                    return Message(self._mv[i + HEADER_SIZE : end], True, [])
            else:
                check_header(length, kind, flags, buffers, lim)
                if kind >= IGNORED:
                    self._i += HEADER_SIZE
                    self._skip = length
                    continue
                if end <= self._j:
                    self._i = end
                    m = self._frame(kind, buffers, self._mv[i + HEADER_SIZE : end], True)
                    if m is not None:
                        return m
                    continue
            if HEADER_SIZE + length > READ:
                refs = HEADER_SIZE + buffers * REF_SIZE
                if kind == MESSAGE and have < refs:
                    self._wait()
                    return None
                if buffers:  # before memory is taken
                    parse_refs(self._mv[i + HEADER_SIZE : i + refs], length, lim)
                self._need = HEADER_SIZE + length
                self._large = bytearray(min(self._need, FIRST_TAKE))
                self._large[:have] = self._mv[i : i + have]
                self._have = have
                self._i = self._j = 0
            self._wait()
            return None

    def _wait(self) -> None:
        """What is here is no whole frame."""
        if len(self.handles) > MOST_HANDLES:
            raise ProtocolError(f"{len(self.handles)} descriptors came that no frame explains")

    def eof(self) -> None:
        """The stream has ended. It always raises: EndOfStream, where that is between two frames."""
        if self.peer is None and self._j > self._i:
            raise ProtocolError("the connection ended inside the hello")
        if self._j > self._i or self._skip or self._large is not None:
            raise ProtocolError("the connection ended inside a frame")
        raise EndOfStream

    def _greet(self) -> bool:
        n = hello_end(self._buf[self._i : min(self._j, self._i + 4098)])
        if n == 0:
            return False
        peer = parse_hello(self._buf[self._i : self._i + n])
        self._i += n
        own = self.own
        self.send_limits = Limits(min(own.max_message, peer.max_message), min(own.max_buffers, peer.max_buffers))
        memory = self._memory
        if memory is not None and own.share and own.share == peer.share:
            self._limits.shared = True
            self.taker = Taker(memory, own.max_buffers, self.handles, self.freed, self._poke)
            self.maker = Maker(memory, self.send_limits.buffers, self._announce)
        self.peer = peer
        return True

    def _frame(self, kind: int, buffers: int, body: memoryview, lent: bool) -> Message | None:
        """Takes a frame that is whole."""
        if kind == MESSAGE:
            return self._message(buffers, body, lent)
        if kind == ABORT:
            raise ProtocolError(bytes(body).decode("utf-8", "replace"), remote=True)
        if kind == PIECE:
            self._arrivals.piece(body)
        elif kind == DROP:
            self._arrivals.end(ONE.unpack(body)[0])
        elif kind == SEGMENT and self.taker is not None:
            self.taker.take(parse_segment(body))
        elif kind == RELEASE and self.maker is not None:
            for number in parse_numbers(body):
                self.maker.released(number)
        elif kind == RETIRE and self.taker is not None:
            for number in parse_numbers(body):
                self.taker.retired(number)
        elif kind != BELL:
            raise ProtocolError("the stream goes to a ring, which was not agreed on")
        return None

    def _message(self, count: int, body: memoryview, lent: bool) -> Message:
        at = count * REF_SIZE
        size, refs = parse_refs(body[:at], len(body), self._limits)
        data = body[at : at + size]
        at += size
        found: list[Buffer] = []
        for r in refs:
            if r.segment:
                assert self.taker is not None  # parse_refs has seen to it
                self.received += r.size
                found.append(self.taker.buffer(r))
            elif r.pieces:
                found.append(Buffer(self._arrivals.arrived(r)))
            else:
                part = body[at : at + r.size]
                at += r.size
                found.append(Buffer(memoryview(bytes(part)) if lent else part.toreadonly()))
        return Message(data, lent, found)

    # Sending.

    def send(self, *data: Data) -> None:
        """Sends a message without buffers. TooLargeError where the peer does not take it."""
        n = 0
        for part in data:
            n += len(part)
        if n > self.send_limits.message:
            raise self._too_large(n)
        parts = (HEADER.pack(n, MESSAGE, 0, 0), *data)
        self.outbox.append(((b"".join(parts),) if n <= READ else parts, ()))

    def check(self, n: int, buffers: Sequence[Buffer]) -> None:
        """Refuses what can't be sent, by TooLargeError."""
        lim = self.send_limits
        bulk = sum(map(len, buffers))
        if n > lim.message:
            raise self._too_large(n)
        if len(buffers) > MAX_BUFFERS:
            raise TooLargeError(f"a message has {len(buffers)} buffers; at most {MAX_BUFFERS} may be")
        if bulk > lim.buffers or n + bulk + REF_SIZE * MAX_BUFFERS > MOST_LENGTH:
            raise TooLargeError(f"a message has {bulk} bytes of buffers, above the limit of {lim.buffers}")

    def _too_large(self, n: int) -> TooLargeError:
        return TooLargeError(f"a message of {n} bytes is above the limit of {self.send_limits.message}")

    def send_buffers(self, buffers: Sequence[Buffer], *data: Data) -> Iterator[None]:
        """Sends a message with buffers, which are the peer's from then on. Large ones that are not in shared memory
        leave in pieces: it yields behind each, so that the outbox can be emptied. Where the iterator is closed
        before its end, the message is not sent, and the buffers are gone all the same. One caller at a time, until
        the end. ValueError where a buffer is not here any more, and TooLargeError: nothing was sent.
        """
        self.check(sum(map(len, data)), buffers)
        views = take_all(buffers)
        return self._send_taken(buffers, views, data)

    def _send_taken(self, buffers: Sequence[Buffer], views: list[memoryview], data: tuple[Data, ...]) -> Iterator[None]:
        refs, inside = bytearray(), list[Data]()
        segments, gone = list[Made](), list[int]()
        looks = list[memoryview]()  # of copies: their segments are nobody else's while these are there
        sent, shared = False, 0
        try:
            for i, b in enumerate(buffers):
                view, views[i] = views[i], memoryview(b"")
                made = self._share(b, view, looks)
                if made is not None:
                    shared += len(view)
                    segments.append(made)
                    refs += REF.pack(len(view), made.number, 0)
                elif len(view) > MOST_PIECE:
                    self._pieces_sent += 1
                    gone.append(self._pieces_sent)
                    refs += REF.pack(len(view), 0, self._pieces_sent)
                    for part in parts_of(view):
                        self.outbox.append(([piece_head(self._pieces_sent, len(view), len(part)), part], ()))
                        yield
                else:
                    refs += REF.pack(len(view), 0, 0)
                    inside.append(view)
            parts: list[Data] = [refs, *data, *inside]
            assert self.maker is not None or not segments
            for made in segments:
                made.maker.send(made)
            self.carried += shared
            self.outbox.append(([HEADER.pack(sum(map(len, parts)), MESSAGE, 0, len(buffers)), *parts], ()))
            sent = True
        finally:
            if not sent:
                for number in gone:
                    self.outbox.append(([HEADER.pack(4, DROP, 0, 0), ONE.pack(number)], ()))

    def _share(self, b: Buffer, view: memoryview, looks: list[memoryview]) -> Made | None:
        """The segment that b's bytes are in, or were copied to: b may be another session's, or the peer's own. Whoever
        has a look at a copy keeps its segment from being free again, until it is sent.
        """
        if self.maker is None:
            return None
        if b.made is not None and b.made.maker is self.maker:
            return b.made
        if len(view) < LEAST_SHARED:
            return None
        try:
            got = self.maker.get(len(view))
        except BlockingIOError:
            return None
        if got is None:
            return None
        made, to = got
        to[:] = view
        looks.append(to)
        return made

    def new_buffer(self, n: int) -> Buffer:
        """Memory for n bytes to be sent. BlockingIOError where all that may be shared is in use, or the peer's hello
        has not come. TooLargeError where it never could be.
        """
        if self.peer is None:
            raise BlockingIOError("the peer's hello has not come, which says what it takes")
        most = self.send_limits.buffers
        if not 0 <= n <= most:
            raise TooLargeError(f"a buffer of {n} bytes, where at most {most} may be sent at once")
        got = self.maker.get(n) if self.maker is not None else None
        if got is None:
            return Buffer(memoryview(bytearray(n)))
        made, view = got
        return Buffer(view, made, shared=True)

    def exhausted(self, n: int) -> Exception:
        """The error of who has waited in vain for new_buffer."""
        if self.maker is None:
            return TimeoutError("the peer's hello has not come, which says what it takes")
        return self.maker.exhausted(n)

    def _announce(self, frame: bytes, handles: tuple[int, ...]) -> None:
        self.outbox.append(([frame], handles))

    def releases(self) -> bytes:
        """The frames that give buffers back, to be sent before anything else. For who takes from the outbox."""
        return self.taker.releases() if self.freed and self.taker is not None else b""

    def abort(self, reason: str) -> None:
        """The last frame: why the connection dies."""
        self.outbox.append(([abort_frame(reason)], ()))

    def over(self, error: BaseException) -> None:
        """The connection has ended by that error, and is open still on this side. A client's process is rid of what the
        client has not taken. spec/memory.md, 4.10.
        """
        own = isinstance(error, ClosedError) or (isinstance(error, ProtocolError) and not error.remote)
        if self.maker is not None and not own:
            self.maker.take_back()

    def end(self) -> None:
        """Gives up all memory but what somebody looks at. Nobody may receive or send any more."""
        for part in (self.maker, self.taker):
            if part is not None:
                part.end()
        if self._memory is not None:
            while self.outbox:
                for handle in self.outbox.popleft()[1]:
                    self._memory.drop(handle)
            while self.handles:
                self._memory.drop(self.handles.pop())


def take_all(buffers: Sequence[Buffer]) -> list[memoryview]:
    """Ends the owners' hold on all, or on none."""
    views: list[memoryview] = []
    for b in buffers:
        try:
            views.append(b.take())
        except ValueError:
            for taken, view in zip(buffers, views, strict=False):
                taken.give_back(view)
            raise
    return views


def _grown(b: bytearray, size: int) -> bytearray:
    more = bytearray(size)
    more[: len(b)] = b
    return more
