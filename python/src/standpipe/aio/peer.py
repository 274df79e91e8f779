"""The other side of a connection, for asyncio: to be called, and calling."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ..error import ClosedError, HandlesError
from ..msg.buffer import Buffer
from ..msg.error import EndOfStream, ProtocolError, TooLargeError
from ..msg.made import IDLE
from ..msg.session import Data
from ..rpc.call import Call
from ..rpc.calls import Calls
from ..rpc.codec import Codec
from ..rpc.describe import understand
from ..rpc.error import Code, Error
from ..rpc.flow import StreamEnd, release_all
from ..rpc.frame import VALUE, open_head
from ..rpc.metadata import Metadata, MetadataLike
from ..rpc.options import Options, method_bytes, new_session
from ..rpc.peer import Reply
from ..rpc.typed import converter, decode
from .stream import Stream

if TYPE_CHECKING:
    from ..identity import Identity
    from .server import Server

T = TypeVar("T")
_log = logging.getLogger("standpipe")

_HELLO = 10.0  # seconds for the peer's hello
_READS = 8  # one after the other, until others in the loop have their turn
_CLOSE = 1.0  # seconds that the peer has to take what was queued, at the end
_MOST_PARTS = 256  # in one write
_HIGH = 256  # messages that wait, above which senders of streams do
NOTHING: Any = object()


class Waker:
    """A task that waits for something. Of one loop."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def wait(self, deadline: float | None) -> bool:
        """Waits to be woken. False when the deadline, a time of monotonic(), has passed."""
        if deadline is None:
            await self._future
            return True
        done, _ = await asyncio.wait([self._future], timeout=max(deadline - monotonic(), 0))
        return bool(done)


class Peer:
    """Who is at the other end. Made by ``dial``; a handler gets its caller's by ``current().peer``.

    It belongs to one event loop; any number of its tasks may use it at once. A task that is cancelled cancels its call
    at the other side. ``close`` ends the connection: calls that wait, and streams, fail with UNAVAILABLE, and the tasks
    of handlers are cancelled. An ``async with`` block closes.
    """

    def __init__(self, conn: Any, options: Options, *, dialer: bool, server: Server | None = None) -> None:
        self._conn = conn
        self._codec = options.codec
        self.server = server
        make, self._memory = new_session(conn, options)
        self.session = make(self._poke)
        self.calls = Calls(
            self.session,
            dialer=dialer,
            lookup=server.lookup if server is not None else lambda method: None,
            codecs=options.codecs,
            max_calls=options.max_calls,
            max_queued=options.max_queued,
        )
        self._loop = asyncio.get_running_loop()
        self._shares = self.session.own.share != ""
        self._error: BaseException | None = None
        self._over = asyncio.Event()
        self._greeted = asyncio.Event()
        self._wanted = asyncio.Event()  # there is something to write
        self._written = asyncio.Event()  # for who sends buffers in pieces
        self._pieces = asyncio.Lock()
        self._broken = False
        self.handlers: set[asyncio.Task[None]] = set()
        self._tasks = [self._loop.create_task(self._read()), self._loop.create_task(self._write())]
        self._tasks[0].add_done_callback(self._finish)
        if server is not None:
            server.census.join(self)
        self.stir()

    # Writing.

    def stir(self) -> None:
        """Has the outbox written."""
        self._wanted.set()

    async def relieve(self) -> None:
        """Has the outbox written, and waits for that where much is in it."""
        self.stir()
        if len(self.session.outbox) > _HIGH:
            await self.flush()

    def _poke(self, urgent: bool) -> None:
        """Releases are to be sent. It may come in any thread, and in the middle of anything."""
        try:
            self._loop.call_soon_threadsafe(self.stir)
        except RuntimeError:
            pass  # the loop was closed

    def later(self, job: Callable[[], object]) -> None:
        """Does a job in the loop, from anywhere."""
        try:
            self._loop.call_soon_threadsafe(job)
        except RuntimeError:
            pass  # the loop was closed, and everything with it

    async def _write(self) -> None:
        session = self.session
        while True:
            if not session.outbox and not session.freed:
                self._written.set()
                self._wanted.clear()
                await self._idle()
                continue
            parts, handles = self._gather()
            try:
                if not self._broken:
                    await self._conn.send(parts, handles)
                    session.sent += sum(map(len, parts))
            except OSError as e:
                self._broken = True  # who receives sees why
                if not isinstance(e, (BrokenPipeError, ConnectionResetError)):
                    self._conn.close()
            finally:
                if self._memory is not None:
                    for handle in handles:
                        self._memory.drop(handle)

    async def _idle(self) -> None:
        """Waits for something to write, and gives up memory that nobody uses meanwhile."""
        while not self._wanted.is_set():
            if self.session.maker is None:
                await self._wanted.wait()
                return
            done = self._loop.call_later(IDLE, self._wanted.set)
            await self._wanted.wait()
            done.cancel()
            self.session.maker.trim()

    def _gather(self) -> tuple[Sequence[Data], tuple[int, ...]]:
        outbox = self.session.outbox
        given = self.session.releases()
        parts: list[Data] = [given] if given else []
        handles: tuple[int, ...] = ()
        while outbox and len(parts) < _MOST_PARTS:
            if outbox[0][1] and parts:
                break  # they go with the first byte
            more, files = outbox.popleft()
            parts += more
            handles = handles or files
        return parts, handles

    async def flush(self) -> None:
        """Waits until everything was written that was sent by now, or nothing will be any more."""
        if self._broken:
            return
        self._written.clear()
        self.stir()
        await self._written.wait()

    async def send_buffers(
        self,
        buffers: Sequence[Buffer],
        data: Sequence[Data],
        stop: Callable[[], bool],
        deadline: float | None = None,
    ) -> bool:
        """See Channel.send_buffers. A deadline is a time of monotonic()."""
        async with self._pieces:
            steps = self.session.send_buffers(buffers, *data)
            try:
                for _ in steps:
                    try:
                        await asyncio.wait_for(self.flush(), None if deadline is None else deadline - monotonic())
                    except asyncio.TimeoutError:
                        return False
                    if self._broken or stop():
                        return False
            finally:
                steps.close()  # type: ignore[attr-defined]
                self.stir()
        return True

    # Reading.

    async def _read(self) -> None:
        error: BaseException = ClosedError()
        hello = self._loop.time() + _HELLO
        reads = 0
        try:
            while True:
                room = self.session.room()
                if self.session.peer is None:
                    n = await asyncio.wait_for(self._conn.recv_into(room), hello - self._loop.time())
                else:
                    n = await self._conn.recv_into(room)
                if n == 0:
                    self.session.eof()
                self._take(n)
                reads += 1
                if reads % _READS == 0:  # while there is more to read, a read does not wait
                    await asyncio.sleep(0)
        except asyncio.TimeoutError:
            error = ProtocolError(f"no whole hello came within {_HELLO:.0f} seconds")
        except HandlesError as e:
            error = ProtocolError(str(e))
        except (EndOfStream, ProtocolError, OSError) as e:
            error = e
        finally:
            self._error = error

    def _take(self, n: int) -> None:
        self.session.received += n
        self.session.fed(n, self._conn.take_handles() if self._shares else ())
        while (m := self.session.next()) is not None:
            served = self.calls.receive(m)
            if served is not None:
                assert self.server is not None  # or nothing is looked up
                self.server.begin(self, served)
        if self.session.peer is not None and not self._greeted.is_set():
            self.calls.greet()
            self._greeted.set()
        if self.session.outbox:
            self.stir()

    def _finish(self, _: asyncio.Task[None]) -> None:
        """The connection has ended, perhaps before its first read."""
        error = self._error = self._error or ClosedError()
        if isinstance(error, ProtocolError):
            _log.warning("the connection of %s died: %s", self.identity, error)
            if not error.remote:
                self.session.abort(error.text)
        self.session.over(error)
        self.calls.end(self.unavailable())
        if self.server is not None:
            self.server.census.leave(self)
        self._greeted.set()
        self._tasks.append(self._loop.create_task(self._bury()))

    async def _bury(self) -> None:
        """Writes what was queued, if the peer takes it within a second, and gives up everything."""
        try:
            if not self._broken:
                await asyncio.wait_for(self.flush(), _CLOSE)
        except asyncio.TimeoutError:
            pass
        finally:
            self._broken = True
            self._conn.close()
            self._tasks[1].cancel()
            await asyncio.wait([self._tasks[1]])
            self._written.set()
            self.session.end()
            self._over.set()
            if self.server is not None:
                self.server.gone(self)

    def unavailable(self) -> Error:
        """How calls fail when the connection has ended."""
        e = self._error
        if isinstance(e, EndOfStream):
            return Error(Code.UNAVAILABLE, "the other side closed the connection")
        if isinstance(e, ClosedError):
            return Error(Code.UNAVAILABLE, "the connection was closed on this side")
        error = Error(Code.UNAVAILABLE, f"the connection has ended: {e}")
        error.__cause__ = e
        return error

    async def greet(self) -> None:
        """Waits for the other side's hello, or the end."""
        await self._greeted.wait()

    # Calling.

    @overload
    async def call(
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
    async def call(
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
    async def call(
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
        """Calls a method at the other side, and waits for the result: standpipe.Peer.call, in asyncio. Cancelling the
        task cancels the call.
        """
        codec = codec or self._codec
        convert = converter(returns)
        deadline = None if timeout is None else monotonic() + timeout
        name = method_bytes(method)
        meta = Metadata(metadata).pack() if metadata else b""
        buffers: list[Buffer] = []
        data = encode(codec, value, buffers, f"the argument of {method!r}")
        calls = self.calls
        call = calls.begin(len(data)) or await self.begin(len(data), False, deadline)
        assert isinstance(call, Call)
        sent = False
        try:
            left = 0 if deadline is None else max(int((deadline - monotonic()) * 1e9), 1)
            head = open_head(call.number, VALUE, calls.codec_place(codec), name, left, meta)
            if not buffers:
                self.session.send(head, data)
            elif not await self.send_buffers(buffers, (head, data), lambda: False, deadline):
                raise (
                    self.unavailable()
                    if self._error
                    else Error(Code.DEADLINE_EXCEEDED, "the time was up before all was sent")
                )
            sent = True
            self.stir()
            call.waiter = waker = Waker()
            if not call.done and not await waker.wait(deadline) and not call.done:
                calls.cancel(call, Code.DEADLINE_EXCEEDED)
                self.stir()
                raise Error(Code.DEADLINE_EXCEEDED, f"the time of the call of {method!r} was up")
        except ValueError as e:
            calls.unsent(call)
            raise Error(
                Code.RESOURCE_EXHAUSTED if isinstance(e, TooLargeError) else Code.INVALID_ARGUMENT, str(e)
            ) from None
        except BaseException:
            if sent:
                calls.cancel(call, Code.CANCELED)
                self.stir()
            else:
                calls.unsent(call)
            raise
        if reply is not None:
            reply.header, reply.trailer = call.header or Metadata(), call.trailer or Metadata()
        if call.error is not None:
            raise call.error.again()
        try:
            return decode(codec, call.value, returns, convert, call.buffers, "out")
        except ValueError as e:
            release_all(call.buffers)
            raise Error(Code.INTERNAL, f"the {codec.name} result of {method!r} can't be decoded: {e}") from None

    async def begin(self, n: int, stream: bool, deadline: float | None) -> Call | StreamEnd:
        """Calls.begin, where the other side runs as many calls as it takes at once."""
        while (call := self.calls.begin(n, stream)) is None:
            waker = Waker()
            self.calls.await_room(waker)
            try:
                if not await waker.wait(deadline):
                    raise Error(
                        Code.DEADLINE_EXCEEDED,
                        "the other side runs as many calls as it takes at once, and the time was up",
                    )
            finally:
                self.calls.leave_room(waker)
        return call

    def open(
        self,
        method: str,
        value: Any = NOTHING,
        *,
        returns: Any = Any,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        codec: Codec | None = None,
    ) -> Stream[Any, Any]:
        """Opens a stream: ``async for token in peer.open("generate", prompt)``. It is standpipe.Peer.open, in asyncio.
        What is wrong shows when the stream is used.
        """
        meta = Metadata(metadata).pack() if metadata else b""
        return Stream.open(self, method_bytes(method), value, codec or self._codec, returns, timeout, meta)

    async def new_buffer(self, size: int, timeout: float | None = None) -> Buffer:
        """Memory of size bytes, to be sent to this peer, in a value: standpipe.Peer.new_buffer, in asyncio."""
        deadline = None if timeout is None else monotonic() + timeout
        pause = 0.0005
        while True:
            if self._error is not None:
                raise self.unavailable()
            try:
                return self.session.new_buffer(size)
            except BlockingIOError:
                pass
            if deadline is not None and monotonic() >= deadline:
                raise self.session.exhausted(size)
            pause = min(2 * pause, 0.02)
            await asyncio.sleep(pause)

    async def describe(self, timeout: float | None = None) -> list[dict[str, Any]]:
        """The methods of the other side: for each a map with name, kind ("unary" or "stream"), the JSON Schemas in and
        out, and doc.
        """
        return understand(await self.call("standpipe.describe", timeout=timeout, returns=Mapping[str, Any]))

    @property
    def identity(self) -> Identity:
        """Who is at the other end, as the kernel vouches."""
        identity: Identity = self._conn.identity
        return identity

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

    async def join(self) -> None:
        """Waits for the end of the connection."""
        await self._over.wait()

    async def close(self) -> None:
        """Ends the connection, and everybody who waits. What was sent is still written, if the other side takes it
        within a second. It does not wait for handlers. Further calls do nothing.
        """
        self._tasks[0].cancel()
        await self._over.wait()

    async def __aenter__(self) -> Peer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def encode(codec: Codec, value: Any, buffers: list[Buffer], what: str) -> Data:
    try:
        return codec.encode(value, buffers)
    except (TypeError, ValueError, RecursionError) as e:
        raise Error(Code.INVALID_ARGUMENT, f"{what} can't be encoded by {codec.name}: {e}") from None
