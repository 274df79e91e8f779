"""One end of a stream, for threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import TIMEOUT_MAX, Lock
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..msg.buffer import Buffer
from ..msg.error import TooLargeError
from ..msg.session import Data
from .codec import Codec
from .error import Code, Error
from .flow import Ended, StreamEnd, Waiter, release_all
from .frame import END, VALUE, data_head
from .metadata import Metadata
from .typed import Convert, converter, decode

if TYPE_CHECKING:
    from .call import Served
    from .peer import Peer

T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")


class Stream(Generic[In, Out]):
    """It receives values of type In, and sends values of type Out, in order. At its other end the two are exchanged.

    Iterating over it receives until the end; leaving the loop and the stream behind, and ``close()``, cancel it at the
    other side. Several threads may send, and others receive at the same time; the receivers take turns. A send waits
    while the other side has more unread than it takes: 64 KiB at first, and up to 4 MiB where its user keeps up. Other
    streams and calls go on meanwhile.

    Errors are Errors: what the handler raised; CANCELED after close; DEADLINE_EXCEEDED when the stream's time is up;
    UNAVAILABLE where the connection has ended; INTERNAL or INVALID_ARGUMENT for a value that can't be decoded, which
    ends nothing.
    """

    def __init__(
        self,
        peer: Peer,
        end: StreamEnd,
        codec: Codec,
        hint: Any,
        deadline: float | None,
        served: Served | None = None,
        convert: Convert | None = None,
    ) -> None:
        self._peer = peer
        self._end = end
        self._codec = codec
        self._hint = hint
        self._convert: Convert | None = convert or converter(hint)
        self._deadline = deadline
        self._served = served
        self._receiving = Lock()
        self._sending = Lock()
        self._told = False

    def __iter__(self) -> Iterator[In]:
        return self

    def __next__(self) -> In:
        try:
            return self.recv()
        except EOFError:
            raise StopIteration from None

    def recv(self, timeout: float | None = None) -> In:
        """The next value. EOFError behind the last one. TimeoutError after timeout seconds, which ends nothing."""
        end, peer = self._end, self._peer
        until = None if timeout is None else monotonic() + timeout
        if not self._receiving.acquire(timeout=-1 if timeout is None else min(max(timeout, 0), TIMEOUT_MAX)):
            raise TimeoutError("another thread was receiving all the time")
        try:
            while True:
                with peer.calls.lock:
                    try:
                        got = end.pop()
                    except Ended:
                        self._told = True
                        raise EOFError("the stream has ended") from None
                    except Error as e:
                        self._told = True
                        raise e.again() from e.__cause__
                if got is not None:
                    break
                self._wait(lambda: end.readable, self._tell_reader, until)
            if peer.session.outbox:  # credit
                peer.channel.flush()
            return self._decoded(*got)
        finally:
            self._receiving.release()

    def _wait(self, ready: Any, tell: Any, until: float | None) -> None:
        deadline = self._deadline
        if deadline is None or (until is not None and until < deadline):
            if not self._peer.wait(ready, tell, until):
                raise TimeoutError("nothing came in time")
        elif not self._peer.wait(ready, tell, deadline):
            self._stop(Error(Code.DEADLINE_EXCEEDED, "the stream's time is up"))

    def _tell_reader(self, waiter: Waiter | None) -> None:
        self._end.reader = waiter

    def _tell_writer(self, waiter: Waiter | None) -> None:
        self._end.writer = waiter

    def _decoded(self, data: Data, buffers: Sequence[Buffer]) -> In:
        if buffers and self._served is not None:
            self._served.buffers = [*(b for b in self._served.buffers if b.valid), *buffers]
        try:
            value: In = decode(self._codec, data, self._hint, self._convert, buffers, "in" if self._served else "out")
        except ValueError as e:
            release_all(buffers)
            code = Code.INVALID_ARGUMENT if self._served else Code.INTERNAL
            raise Error(code, f"a {self._codec.name} value can't be decoded: {e}") from None
        return value

    def send(self, value: Out) -> None:
        """Sends a value; when it returns, that was encoded and may be changed. EOFError where the other side has ended
        the stream: recv tells how. INVALID_ARGUMENT where it can't be encoded, RESOURCE_EXHAUSTED where it is too
        large: the stream goes on then.
        """
        self._send(value, VALUE)

    def send_last(self, value: Out) -> None:
        """send and close_send in one."""
        self._send(value, VALUE | END)

    def _send(self, value: Any, flags: int) -> None:
        buffers: list[Buffer] = []
        try:
            data = self._codec.encode(value, buffers)
        except (TypeError, ValueError) as e:
            raise Error(Code.INVALID_ARGUMENT, f"the value can't be encoded by {self._codec.name}: {e}") from None
        with self._sending:
            self._transmit(flags, data, buffers)

    def _transmit(self, flags: int, data: Data, buffers: Sequence[Buffer]) -> None:
        """Sends a data frame. _sending is held."""
        end, peer = self._end, self._peer
        calls = peer.calls
        while True:
            if not end.writable:
                self._wait(lambda: end.writable, self._tell_writer, None)
            with calls.lock:
                if end.error_out is not None:
                    raise self._refused()
                if end.credit <= 0:
                    continue
                head = data_head(end.number, flags, self._header())
                if buffers:
                    break
                try:
                    calls.send_data(end, head, data)
                except TooLargeError as e:
                    raise Error(Code.RESOURCE_EXHAUSTED, str(e)) from None
                if flags & END and end.ours:
                    end.error_out = _SEND_CLOSED
            peer.write(self._deadline)
            return
        self._transmit_buffers(head, data, buffers)

    def _transmit_buffers(self, head: bytes, data: Data, buffers: Sequence[Buffer]) -> None:
        end, peer = self._end, self._peer
        calls = peer.calls
        n = len(head) + len(data) + sum(map(len, buffers))
        with calls.lock:
            end.sending += 1
            end.credit -= n
        try:
            sent = peer.channel.send_buffers(buffers, (head, data), lambda: end.error_out is not None)
        except ValueError as e:
            with calls.lock:
                end.credit += n
            raise Error(
                Code.RESOURCE_EXHAUSTED if isinstance(e, TooLargeError) else Code.INVALID_ARGUMENT, str(e)
            ) from None
        finally:
            calls.sent(end)
        peer.write(self._deadline)
        if not sent:
            with calls.lock:
                raise self._refused()

    def _refused(self) -> Exception:
        error = self._end.error_out
        if isinstance(error, Ended):
            return EOFError("the other side has ended the stream")
        return error.again() if isinstance(error, Error) else EOFError()

    def _header(self) -> bytes:
        """The handler's header, if it has not left. The lock is held."""
        served = self._served
        if served is None or self._end.header_sent:
            return b""
        self._end.header_sent = True
        return served.header.pack() if served.header else b""

    def close_send(self) -> None:
        """Says that nothing more will be sent: the other side's recv ends behind what was. In a handler, returning ends
        the stream.
        """
        with self._sending:
            if self._end.error_out is None and self._end.ours:
                try:
                    self._transmit(END, b"", ())
                except EOFError:
                    pass

    def close(self) -> None:
        """Ends the stream. In its opener, the handler is cancelled, and what it sends is thrown away. It never waits.
        Where the stream has ended, and further times, it does nothing.
        """
        self._stop(Error(Code.CANCELED, "the stream was closed on this side"))

    def _stop(self, error: Error) -> None:
        with self._peer.calls.lock:
            self._end.stop(error)
        self._peer.stirred()

    def __del__(self) -> None:
        end: StreamEnd | None = getattr(self, "_end", None)
        if end is not None and end.ours and not end.closed and not end.left and end.error_in is None:
            self._peer.channel.later(lambda: self._peer.abandon(end))
            self._peer.channel.start()

    def __enter__(self) -> Stream[In, Out]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def header(self) -> Metadata:
        """In the opener: waits for the first thing that the handler sends, and is its header."""
        end = self._end
        if not end.headed:
            with self._receiving:  # who receives meanwhile has it, too
                self._wait(lambda: end.headed, self._tell_reader, None)
        return end.header or Metadata()

    @property
    def trailer(self) -> Metadata:
        """In the opener: the handler's trailer, when recv has told of the end; empty before."""
        return (self._end.trailer if self._told else None) or Metadata()


_SEND_CLOSED = Error(Code.FAILED_PRECONDITION, "send after close_send")
