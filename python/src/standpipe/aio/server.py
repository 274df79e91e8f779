"""Methods, and those who call them, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Iterator
from contextvars import copy_context
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..msg.buffer import Buffer
from ..msg.error import TooLargeError
from ..rpc.call import Served
from ..rpc.context import context
from ..rpc.error import Code, Error
from ..rpc.flow import release_all
from ..rpc.method import Method
from ..rpc.options import Options
from ..rpc.server import SCARCE_PAUSE, Methods, admit, in_time, scarce, to_error
from .peer import Peer
from .stream import Stream

if TYPE_CHECKING:
    from ..policy import Policy

_DRAIN = 5.0  # seconds
_LOOK = 0.01  # seconds from one look to the next whether handlers have ended


class Server(Methods):
    """Methods, served to many peers at once by one event loop: standpipe.Server, in asyncio.

        server = standpipe.aio.Server()

        @server.method
        async def generate(prompt: str) -> AsyncIterator[str]:
            async for token in model(prompt):
                yield token

        await server.serve("engine")

    Handlers are coroutine functions and asynchronous generator functions, each run in a task of its own, which is
    cancelled when the caller cancels, its time is up, or it is gone. Ordinary functions and generator functions run in
    threads.
    """

    def __init__(self, **options: Any) -> None:
        """The options are those of Options: max_message, max_shared, max_calls, max_queued, codec."""
        super().__init__()
        self.options = Options(**options)
        self._peers: set[Peer] = set()
        self._listeners: list[Any] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def serve(self, name: str, *, policy: Policy | None = None, drain: float = _DRAIN, **listen: Any) -> None:
        """Serves on a name until close() is called, or the task is cancelled: then it closes, with drain. Errors are
        listen's.
        """
        accepting = await self.start(name, policy=policy, **listen)
        try:
            await asyncio.wait([accepting])
        finally:
            await self.close(drain)

    async def start(self, name: str, *, policy: Policy | None = None, **listen: Any) -> asyncio.Task[None]:
        """serve, but that it returns at once, with the task that accepts."""
        from ._listen import listen as make

        return self.start_on(await make(name, policy=policy, **listen))

    def start_on(self, listener: Any) -> asyncio.Task[None]:
        """Serves on a listener that is there already, which is the server's from then on."""
        self._listeners.append(listener)
        task = asyncio.get_running_loop().create_task(self._accept(listener))
        self._accepting.append(task)
        return task

    async def _accept(self, listener: Any) -> None:
        try:
            while True:
                try:
                    conn = await listener.accept()
                except OSError as e:
                    if not scarce(e):
                        raise
                    await asyncio.sleep(SCARCE_PAUSE)
                else:
                    self.attach(conn)
        except OSError:
            if not self._closed:
                raise
        finally:
            listener.close()

    def attach(self, conn: Any) -> Peer:
        """Serves on one connection, which is the server's from then on."""
        peer = Peer(conn, self.options, dialer=False, server=self)
        self._peers.add(peer)
        return peer

    def gone(self, peer: Peer) -> None:
        """The connection of a peer has ended."""
        self._peers.discard(peer)

    async def close(self, drain: float = 0.0) -> None:
        """Ends serving: standpipe.Server.close, in asyncio."""
        self._closed = True
        for listener in self._listeners:
            listener.close()
        for task in self._accepting:
            task.cancel()
        if self._accepting:
            await asyncio.wait(self._accepting)
        peers = list(self._peers)
        for peer in peers:
            peer.calls.drain()
            peer.stir()
        until = monotonic() + drain
        while any(peer.calls.busy for peer in peers) and monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK)
        for peer in list(self._peers):
            await peer.close()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Handlers.

    def begin(self, peer: Peer, served: Served) -> None:
        """Runs a handler in a task of its own."""
        task = asyncio.get_running_loop().create_task(self._run(peer, served))
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled():  # before it began
                _cancelled(peer, served)
                peer.stir()

        task.add_done_callback(ended)
        served.waiter = _Canceller(task)
        if served.deadline is not None:
            timer = asyncio.get_running_loop().call_later(served.deadline - monotonic(), _expire, served, task)
            task.add_done_callback(lambda _: timer.cancel())

    async def _run(self, peer: Peer, served: Served) -> None:
        method: Method = served.route
        context.set((peer, served))
        try:
            if method.policy is not None:
                admit(method, peer.identity)
            if served.stream is None:
                await self._unary(peer, served, method)
            else:
                await self._stream(peer, served, method)
        except asyncio.CancelledError:
            _cancelled(peer, served)
        except BaseException as e:
            peer.calls.fail(served, to_error(e, method.name))
        finally:
            release_all([b for b in served.buffers if not b.kept])
            peer.stir()

    async def _unary(self, peer: Peer, served: Served, method: Method) -> None:
        value = method.argument(served.codec, served.value, served.buffers)
        value = await _result(method, lambda: method.invoke(value))
        buffers: list[Buffer] = []
        data = method.result(served.codec, value, buffers)
        in_time(served)
        if not buffers:
            peer.calls.answer(served, data)
            return
        head = peer.calls.answer_head(served)
        try:
            peer.session.check(len(head) + len(data), buffers)
        except TooLargeError as e:
            raise Error(Code.RESOURCE_EXHAUSTED, f"the result of {served.method!r} can't be sent: {e}") from None
        await peer.send_buffers(buffers, (head, data), lambda: False)
        peer.calls.forget(served)

    async def _stream(self, peer: Peer, served: Served, method: Method) -> None:
        assert served.stream is not None
        stream: Stream[Any, Any] = Stream(
            peer, served.stream, served.codec, method.takes_hint, served.deadline, served, method.convert
        )
        if method.duplex:
            await _result(method, lambda: method.function(stream))
        elif method.generates:
            values = method.function(stream) if method.iterates else method.invoke(await _only(stream, method))
            if inspect.isgenerator(values):
                values = _threaded(values)
            async with contextlib.aclosing(values) as closing:
                async for value in closing:
                    await stream.send(value)
        else:
            await stream.send(await _result(method, lambda: method.function(stream)))
        in_time(served)
        peer.calls.finish(served)


class _Canceller:
    """The task of a handler, which is cancelled when nobody waits for it any more."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def wake(self) -> None:
        self._task.cancel()


def _cancelled(peer: Peer, served: Served) -> None:
    peer.calls.fail(served, Error(served.cancelled or Code.CANCELED, "the call was cancelled"))
    release_all([b for b in served.buffers if not b.kept])


def _expire(served: Served, task: asyncio.Task[None]) -> None:
    if served.cancelled is None:
        served.cancelled = Code.DEADLINE_EXCEEDED
        task.cancel()


async def _result(method: Method, invoke: Any) -> Any:
    """Runs a function: a coroutine function here, another one in a thread."""
    if inspect.iscoroutinefunction(method.function):
        return await invoke()
    if method.name.startswith("standpipe."):
        return invoke()
    return await asyncio.get_running_loop().run_in_executor(None, copy_context().run, invoke)


async def _only(stream: Stream[Any, Any], method: Method) -> Any:
    """What a generator function of one value gets."""
    if method.takes == 0:
        return None
    try:
        return await stream.recv()
    except EOFError:
        return {} if method.fields else None


_END = object()


async def _threaded(values: Iterator[Any]) -> AsyncIterator[Any]:
    """An ordinary generator, of which each step runs in a thread."""
    loop, scope = asyncio.get_running_loop(), copy_context()
    step: asyncio.Future[Any] | None = None
    try:
        while True:
            step = loop.run_in_executor(None, scope.run, lambda: next(values, _END))
            value = await asyncio.shield(step)
            if value is _END:
                return
            yield value
    finally:
        if step is not None and not step.done():
            await asyncio.wait([step])
        values.close()  # type: ignore[attr-defined]
