"""How a server gets its clients on an event loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType

from ..error import ClosedError
from ..listen import Listener
from ..listen import listen as _listen
from ..policy import Policy
from ._conn import AsyncConn

if sys.platform == "win32":
    from .._windows_aio import Acceptor
else:
    from .._unix_aio import Acceptor


async def listen(
    name: str, *, policy: Policy | None = None, max_conns: int = 0, buffer: int = 0, backlog: int = 0
) -> AsyncListener:
    """As standpipe.listen."""
    return AsyncListener(_listen(name, policy=policy, max_conns=max_conns, buffer=buffer, backlog=backlog))


class AsyncListener:
    """It hands out connections from clients that its policy admits.

    It belongs to the event loop that runs when it is made, and all is called there; several tasks may wait in
    accept. It is an async context manager, which closes it, and an async iterator over the connections that
    ends when it is closed.
    """

    def __init__(self, listener: Listener) -> None:
        """Take over a listener that nobody is using."""
        self._listener = listener
        self._acceptor = Acceptor(listener.inner)
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()  # somebody has closed a connection, or this was closed
        loop = asyncio.get_running_loop()

        def released() -> None:
            with suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(self._room.set)

        listener.released = released
        self.addr = listener.addr
        """Where it listens."""

    @property
    def refused(self) -> int:
        """How many clients were turned away since the policy does not admit them."""
        return self._listener.refused

    async def accept(self) -> AsyncConn:
        """Wait for the next client that the policy admits. Others see their connection end before a byte.

        Raises ClosedError after close(), also where it waits. A task that is cancelled loses no client.
        """
        async with self._turn:
            while True:
                self._room.clear()
                conn = self._listener.take()
                if conn is not None:
                    return AsyncConn(conn)
                if self._listener.crowded:
                    await self._room.wait()
                    continue
                end = await self._acceptor.accept()
                if end is not None:
                    self._listener.park(end)

    def close(self) -> None:
        """As Listener.close."""
        self._acceptor.close()
        self._listener.close()
        self._room.set()

    async def __aiter__(self) -> AsyncIterator[AsyncConn]:
        try:
            while True:
                yield await self.accept()
        except ClosedError:
            return

    async def __aenter__(self) -> AsyncListener:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Async{repr(self._listener)[1:]}"
