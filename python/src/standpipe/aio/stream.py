"""One end of a stream, for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..msg.buffer import Buffer
from ..msg.error import TooLargeError
from ..msg.session import Data
from ..rpc.codec import Codec
from ..rpc.error import Code, Error
from ..rpc.flow import Ended, StreamEnd, release_all
from ..rpc.frame import END, VALUE, data_head
from ..rpc.metadata import Metadata
from ..rpc.typed import Convert, converter, decode

if TYPE_CHECKING:
    from ..rpc.call import Served
    from .peer import Peer

In = TypeVar("In")
Out = TypeVar("Out")


class Stream(Generic[In, Out]):
    """It receives values of type In, and sends values of type Out, in order: standpipe.Stream, in asyncio.

    ``async for`` receives until the end; leaving the loop and the stream behind, and ``close()``, cancel it at the
    other side. So does an ``async with`` block at its end. Tasks may send and receive at the same time; each is done by
    one after the other.
    """

    def __init__(
        self,
        peer: Peer,
        end: StreamEnd | None,
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
        self._convert = convert or converter(hint)
        self._deadline = deadline
        self._served = served
        self._opening: asyncio.Task[StreamEnd] | None = None
        self._receiving = asyncio.Lock()
        self._sending = asyncio.Lock()
        self._told = False

    @classmethod
    def open(
        cls, peer: Peer, name: bytes, value: Any, codec: Codec, hint: Any, timeout: float | None, meta: bytes
    ) -> Stream[In, Out]:
        """Opens a stream, at once where the other side has room for one more call."""
        from .peer import NOTHING, encode

        deadline = None if timeout is None else monotonic() + timeout
        stream = cls(peer, None, codec, hint, deadline)
        buffers: list[Buffer] = []
        data = None if value is NOTHING else encode(codec, value, buffers, f"the argument of {name.decode()!r}")
        place = peer.calls.codec_place(codec)
        end = None if buffers else peer.calls.begin(len(meta), True)
        if end is not None:
            assert isinstance(end, StreamEnd)
            stream._begin(end, place, name, meta)
            if data is not None:
                stream._first(end, data)
            return stream

        async def begin() -> StreamEnd:
            end = await peer.begin(len(meta), True, deadline)
            assert isinstance(end, StreamEnd)
            stream._begin(end, place, name, meta)
            if data is not None:
                async with stream._sending:
                    await stream._transmit(end, VALUE | END, data, buffers)
            return end

        stream._opening = asyncio.get_running_loop().create_task(begin())
        return stream

    def _begin(self, end: StreamEnd, place: int, name: bytes, meta: bytes) -> None:
        left = 0 if self._deadline is None else max(int((self._deadline - monotonic()) * 1e9), 1)
        self._peer.calls.open_stream(end, place, name, left, meta)
        self._end = end
        self._peer.stir()

    def _first(self, end: StreamEnd, data: Data) -> None:
        """Sends the only value of the opener, for which there is credit."""
        with self._peer.calls.lock:
            try:
                self._peer.calls.send_data(end, data_head(end.number, VALUE | END), data)
                end.error_out = _SEND_CLOSED
            except TooLargeError as e:
                end.stop(Error(Code.RESOURCE_EXHAUSTED, str(e)))

    async def _ready(self) -> StreamEnd:
        """The end, when the stream was opened."""
        if self._opening is not None:
            end = await asyncio.shield(self._opening)
            self._opening = None
            return end
        assert self._end is not None
        return self._end

    def __aiter__(self) -> AsyncIterator[In]:
        return self

    async def __anext__(self) -> In:
        try:
            return await self.recv()
        except EOFError:
            raise StopAsyncIteration from None

    async def recv(self, timeout: float | None = None) -> In:
        """The next value. EOFError behind the last one. TimeoutError after timeout seconds, which ends nothing."""
        until = None if timeout is None else monotonic() + timeout
        end, peer = await self._ready(), self._peer
        async with self._receiving:
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
                await self._wait(end, "reader", until)
            if peer.session.outbox:  # credit
                peer.stir()
            return self._decoded(*got)

    async def _wait(self, end: StreamEnd, role: str, until: float | None) -> None:
        """Waits for something to receive, or to be allowed to send."""
        from .peer import Waker

        waker = Waker()
        setattr(end, role, waker)
        try:
            if end.readable if role == "reader" else end.writable:
                return
            deadline = self._deadline
            own = deadline is not None and (until is None or deadline <= until)
            if not await waker.wait(deadline if own else until):
                if not own:
                    raise TimeoutError("nothing came in time")
                self._stop(Error(Code.DEADLINE_EXCEEDED, "the stream's time is up"))
        finally:
            setattr(end, role, None)

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

    async def send(self, value: Out) -> None:
        """Sends a value: standpipe.Stream.send, in asyncio."""
        await self._send(value, VALUE)

    async def send_last(self, value: Out) -> None:
        """send and close_send in one."""
        await self._send(value, VALUE | END)

    async def _send(self, value: Any, flags: int) -> None:
        from .peer import encode

        buffers: list[Buffer] = []
        data = encode(self._codec, value, buffers, "the value")
        end = await self._ready()
        async with self._sending:
            await self._transmit(end, flags, data, buffers)

    async def _transmit(self, end: StreamEnd, flags: int, data: Data, buffers: Sequence[Buffer]) -> None:
        """Sends a data frame. _sending is held."""
        calls = self._peer.calls
        while not end.writable:
            await self._wait(end, "writer", None)
        with calls.lock:
            if end.error_out is not None:
                raise self._refused(end)
            head = data_head(end.number, flags, self._header(end))
            if not buffers:
                try:
                    calls.send_data(end, head, data)
                except TooLargeError as e:
                    raise Error(Code.RESOURCE_EXHAUSTED, str(e)) from None
        if buffers:
            await self._transmit_buffers(end, head, data, buffers)
        with calls.lock:
            if flags & END and end.ours and end.error_out is None:
                end.error_out = _SEND_CLOSED
        await self._peer.relieve()

    async def _transmit_buffers(self, end: StreamEnd, head: bytes, data: Data, buffers: Sequence[Buffer]) -> None:
        calls = self._peer.calls
        n = len(head) + len(data) + sum(map(len, buffers))
        with calls.lock:
            end.sending += 1
            end.credit -= n
        try:
            sent = await self._peer.send_buffers(buffers, (head, data), lambda: end.error_out is not None)
        except ValueError as e:
            with calls.lock:
                end.credit += n
            raise Error(
                Code.RESOURCE_EXHAUSTED if isinstance(e, TooLargeError) else Code.INVALID_ARGUMENT, str(e)
            ) from None
        finally:
            calls.sent(end)
        if not sent:
            raise self._refused(end)

    def _refused(self, end: StreamEnd) -> Exception:
        error = end.error_out
        if isinstance(error, Ended):
            return EOFError("the other side has ended the stream")
        return error.again() if isinstance(error, Error) else self._peer.unavailable()

    def _header(self, end: StreamEnd) -> bytes:
        """The handler's header, if it has not left."""
        served = self._served
        if served is None or end.header_sent:
            return b""
        end.header_sent = True
        return served.header.pack() if served.header else b""

    async def close_send(self) -> None:
        """Says that nothing more will be sent: standpipe.Stream.close_send, in asyncio."""
        end = await self._ready()
        async with self._sending:
            if end.error_out is None and end.ours:
                try:
                    await self._transmit(end, END, b"", ())
                except EOFError:
                    pass

    async def close(self) -> None:
        """Ends the stream: standpipe.Stream.close, in asyncio. It waits for nothing."""
        if self._opening is not None and self._end is None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        self._stop(Error(Code.CANCELED, "the stream was closed on this side"))

    def _stop(self, error: Error) -> None:
        if self._end is not None:
            with self._peer.calls.lock:
                self._end.stop(error)
            self._peer.stir()

    def __del__(self) -> None:
        end: StreamEnd | None = getattr(self, "_end", None)
        if end is not None and end.ours and not end.closed and not end.left and end.error_in is None:
            peer = self._peer

            def abandon() -> None:
                with peer.calls.lock:
                    end.stop(Error(Code.CANCELED, "the stream was left behind"))
                peer.stir()

            peer.later(abandon)

    async def __aenter__(self) -> Stream[In, Out]:
        await self._ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def header(self) -> Metadata:
        """In the opener: waits for the first thing that the handler sends, and is its header."""
        end = await self._ready()
        while not end.headed:
            async with self._receiving:
                await self._wait(end, "reader", None)
        return end.header or Metadata()

    @property
    def trailer(self) -> Metadata:
        """In the opener: the handler's trailer, when recv has told of the end; empty before."""
        return (self._end.trailer if self._told and self._end is not None else None) or Metadata()


_SEND_CLOSED = Error(Code.FAILED_PRECONDITION, "send after close_send")
