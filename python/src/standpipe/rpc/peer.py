"""The other side of a connection, for threads: to be called, and calling."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ..error import ClosedError
from ..msg.buffer import Buffer
from ..msg.error import TooLargeError
from .call import Call, Served
from .codec import Codec
from .error import Code, Error
from .flow import StreamEnd, release_all
from .frame import VALUE, open_head
from .line import Line
from .metadata import Metadata, MetadataLike
from .options import method_bytes
from .stream import Stream
from .turn import Sleeper
from .typed import converter, decode

if TYPE_CHECKING:
    pass

T = TypeVar("T")
_log = logging.getLogger("standpipe")

_NOTHING: Any = object()


class Reply:
    """Filled by a call that it is given to: the header and the trailer that the handler has set, also where it
    failed.
    """

    def __init__(self) -> None:
        self.header = Metadata()
        self.trailer = Metadata()


class Peer(Line):
    """Who is at the other end. Made by ``dial``; a handler gets its caller's by ``current().peer``.

    Any number of threads may use it at once. ``close`` ends the connection: calls that wait, and streams, fail with
    UNAVAILABLE, and the handlers of its calls are cancelled. A ``with`` block closes.
    """

    def wait_cancelled(self, served: Served, timeout: float | None) -> bool:
        """See Context.wait."""
        until = None if timeout is None else monotonic() + timeout
        deadline = (
            served.deadline if until is None or (served.deadline is not None and served.deadline < until) else until
        )

        def tell(sleeper: Sleeper | None) -> None:
            served.waiter = sleeper

        return self.wait(lambda: served.cancelled is not None, tell, deadline) or deadline is served.deadline

    # Calling.

    @overload
    def call(
        self,
        method: str,
        value: Any = None,
        *,
        returns: type[T],
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        reply: Reply | None = None,
        codec: Codec | None = None,
    ) -> T: ...
    @overload
    def call(
        self,
        method: str,
        value: Any = None,
        *,
        returns: Any = Any,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        reply: Reply | None = None,
        codec: Codec | None = None,
    ) -> Any: ...
    def call(
        self,
        method: str,
        value: Any = None,
        *,
        returns: Any = Any,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        reply: Reply | None = None,
        codec: Codec | None = None,
    ) -> Any:
        """Calls a method at the other side, and waits for the result, for timeout seconds at most; its time travels
        with the call. Any exception in the waiting thread, such as KeyboardInterrupt, cancels the call.

        returns is a type hint: the result is checked, and made what it says. Errors are Errors: what the handler
        raised; DEADLINE_EXCEEDED; UNAVAILABLE where the connection is over, or ends before the result is here (whether
        the handler ran is not known then); UNIMPLEMENTED where there is no such method; INVALID_ARGUMENT where the
        value can't be encoded, or not be decoded over there; RESOURCE_EXHAUSTED where it is too large;
        PERMISSION_DENIED where the method is not for this user. Buffers in the value are the peer's from then on; those
        in the result are the caller's. Where the other side runs as many calls as it takes at once, it waits for one to
        end.
        """
        codec = codec or self._codec
        convert = None if returns is Any else converter(returns)
        deadline = None if timeout is None else monotonic() + timeout
        buffers: list[Buffer] = []
        name = method_bytes(method)
        meta = Metadata(metadata).pack() if metadata else b""
        data = self.encode(codec, value, buffers, method)
        calls = self.calls
        call = calls.begin(len(data)) or self._begin(len(data), False, deadline)
        assert isinstance(call, Call)
        try:
            left = 0 if deadline is None else max(int((deadline - monotonic()) * 1e9), 1)
            place = 0 if codec is self._codec else calls.codec_place(codec)
            head = open_head(call.number, VALUE, place, name, left, meta)
            if buffers:
                self._send_buffers(call, buffers, (head, data), deadline)
            else:
                self.session.send(head, data)
        except ValueError as e:
            calls.unsent(call)
            raise Error(
                Code.RESOURCE_EXHAUSTED if isinstance(e, TooLargeError) else Code.INVALID_ARGUMENT, str(e)
            ) from None
        except BaseException:
            calls.unsent(call)
            raise
        try:
            self.write(deadline)
            if not self._await(call, deadline):
                self._cancel(call, Code.DEADLINE_EXCEEDED)
                if not call.done:
                    raise Error(Code.DEADLINE_EXCEEDED, f"the time of the call of {method!r} was up")
        except BaseException:
            self._cancel(call, Code.CANCELED)
            raise
        if reply is not None:
            reply.header, reply.trailer = call.header or Metadata(), call.trailer or Metadata()
        if call.error is not None:
            raise call.error.again()
        return self._result(codec, call, returns, convert, method)

    def _await(self, call: Call, deadline: float | None) -> bool:
        """Waits for the answer. Without a deadline, where nobody else reads, it is wait, by hand."""
        turn = self.turn
        if deadline is None and turn.take():
            turn.changes += 1
            try:
                while not call.done:
                    self.read_only(None)
                    if self._runs:
                        self._run_elsewhere()
            finally:
                turn.give()
            return True

        def tell(sleeper: Sleeper | None) -> None:
            call.waiter = sleeper

        return turn.wait(lambda: call.done, tell, self.read, deadline)

    def _result(self, codec: Codec, call: Call, hint: Any, convert: Any, method: str) -> Any:
        try:
            return decode(codec, call.value, hint, convert, call.buffers, "out")
        except ValueError as e:
            release_all(call.buffers)
            raise Error(Code.INTERNAL, f"the {codec.name} result of {method!r} can't be decoded: {e}") from None

    def encode(self, codec: Codec, value: Any, buffers: list[Buffer], method: str) -> Any:
        try:
            return codec.encode(value, buffers)
        except (TypeError, ValueError, RecursionError) as e:
            raise Error(
                Code.INVALID_ARGUMENT, f"the argument of {method!r} can't be encoded by {codec.name}: {e}"
            ) from None

    def write(self, deadline: float | None) -> None:
        """Has what was sent written. Who has a deadline does not wait for the other side to read."""
        if deadline is None or self.calls.quick:
            self.channel.flush()
        else:
            self.channel.post()

    def _cancel(self, call: Call, code: Code) -> None:
        self.calls.cancel(call, code)
        if self.session.outbox:
            self.channel.post()

    def _begin(self, n: int, stream: bool, deadline: float | None) -> Call | StreamEnd:
        """begin, where the other side runs as many calls as it takes at once."""
        room: list[Sleeper] = []

        def tell(sleeper: Sleeper | None) -> None:
            if sleeper is not None:
                room.append(sleeper)
                self.calls.await_room(sleeper)

        while (call := self.calls.begin(n, stream)) is None:
            try:
                self.wait(lambda: self.calls.roomy, tell, deadline)
            finally:
                while room:
                    self.calls.leave_room(room.pop())
            if deadline is not None and monotonic() >= deadline:
                raise Error(
                    Code.DEADLINE_EXCEEDED, "the other side runs as many calls as it takes at once, and the time was up"
                )
        return call

    def _send_buffers(self, call: Call, buffers: Sequence[Buffer], data: Sequence[Any], deadline: float | None) -> None:
        sent = self.channel.send_buffers(
            buffers, data, lambda: deadline is not None and monotonic() > deadline, patient=deadline is None
        )
        if not sent:
            self.channel.post()
            raise (
                self._unavailable()
                if self._error
                else Error(Code.DEADLINE_EXCEEDED, "the time was up before all was sent")
            )

    def open(
        self,
        method: str,
        value: Any = _NOTHING,
        *,
        returns: Any = Any,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        codec: Codec | None = None,
    ) -> Stream[Any, Any]:
        """Opens a stream. With a value, that is sent, and nothing more: ``for token in peer.open("generate", prompt)``.
        Without, ``send`` and ``close_send`` are the caller's. timeout is the whole stream's, in seconds. returns is
        a hint for what is received. Errors are as call's.

        The stream takes one of the calls that the other side runs at once, until it has ended, or was closed.
        """
        codec = codec or self._codec
        converter(returns)  # which refuses what it can't be
        deadline = None if timeout is None else monotonic() + timeout
        name = method_bytes(method)
        meta = Metadata(metadata).pack() if metadata else b""
        place = self.calls.codec_place(codec)
        self.channel.start()  # which ends what is left behind
        end = self.calls.begin(len(meta), True) or self._begin(len(meta), True, deadline)
        assert isinstance(end, StreamEnd)
        left = 0 if deadline is None else max(int((deadline - monotonic()) * 1e9), 1)
        self.calls.open_stream(end, place, name, left, meta)
        stream: Stream[Any, Any] = Stream(self, end, codec, returns, deadline)
        if value is _NOTHING:
            self.write(deadline)
            return stream
        try:
            stream.send_last(value)
        except EOFError:
            pass  # it has ended already: who receives sees how
        except BaseException:
            stream.close()
            raise
        return stream

    def abandon(self, end: StreamEnd) -> None:
        """A stream was left behind by its user."""
        with self.calls.lock:
            end.stop(Error(Code.CANCELED, "the stream was left behind"))

    def new_buffer(self, size: int, timeout: float | None = None) -> Buffer:
        """Memory of size bytes, to be sent to this peer, in a value. Where memory can be shared with the peer, it is
        not copied then. What was in it before is there still.

        Where all memory that may be shared is in use, it waits for some to be released, for timeout seconds at most:
        the TooLargeError says who has it then. The Buffer is the caller's until it was sent, or released.
        """
        deadline = None if timeout is None else monotonic() + timeout
        pause = 0.0005
        while True:
            if self._error is not None:
                raise self._unavailable()
            try:
                b = self.session.new_buffer(size)
            except BlockingIOError:
                pass
            else:
                if b.shared:
                    self.channel.start()
                return b
            if deadline is not None and monotonic() >= deadline:
                raise self.session.exhausted(size)
            pause = min(2 * pause, 0.02)
            self.wait(lambda: False, lambda _: None, monotonic() + pause)  # releases must be read

    def describe(self, timeout: float | None = None) -> list[dict[str, Any]]:
        """The methods of the other side: for each a map with name, kind ("unary" or "stream"), the JSON Schemas in and
        out, and doc.
        """
        from .describe import understand

        return understand(self.call("standpipe.describe", timeout=timeout, returns=Mapping[str, Any]))

    @property
    def draining(self) -> bool:
        """Whether the other side has said that it takes no further calls: it is about to end. Those that run go on."""
        return self.calls.draining

    @property
    def error(self) -> BaseException | None:
        """Why the connection has ended; None before."""
        return self._error

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self._error is not None

    def join(self, timeout: float | None = None) -> bool:
        """Waits for the end of the connection. False after timeout seconds."""
        return self.wait(
            lambda: self._error is not None, lambda _: None, None if timeout is None else monotonic() + timeout
        )

    def close(self) -> None:
        """Ends the connection, and everybody who waits. What was sent is still written, if the other side takes it
        within a second. It does not wait for handlers. Further calls do nothing.
        """
        self.channel.close()
        self.turn.take_soon()
        try:
            if self._error is None:
                self._end(ClosedError())
        finally:
            self.turn.give()
        self._parked.wake()
        if self._reader is not None and self._reader is not threading.current_thread():
            self._reader.join()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
