"""A connection, and a listener, on an event loop that can wait for descriptors.

recvmsg is what asyncio's own streams lack.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence

assert sys.platform != "win32"

from ._unix import SEND_FLAGS, Endpoint, Part, batches, rest, rights, send_error
from ._unix_listen import Listener
from .error import ClosedError


class Ready:
    """Waiting for a descriptor. The loop goes on watching it between two waits, until it is ready and nobody waits."""

    def __init__(self, fd: int, to_write: bool = False) -> None:
        self._fd = fd
        self._loop = loop = asyncio.get_running_loop()
        self._watch = loop.add_writer if to_write else loop.add_reader
        self._unwatch = loop.remove_writer if to_write else loop.remove_reader
        self._watched = False
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        self._waiter = self._loop.create_future()
        if not self._watched:
            self._watched = True
            self._watch(self._fd, self._ready)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _ready(self) -> None:
        if self._waiter is None:
            self.close()
        elif not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """Watch no more, and let go of who waits."""
        if self._watched:
            self._watched = False
            if not self._loop.is_closed():
                self._unwatch(self._fd)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Stream:
    """An endpoint on the running loop."""

    def __init__(self, end: Endpoint) -> None:
        self._end = end
        end.sock.setblocking(False)
        self._readable = Ready(end.fileno())
        self._writable = Ready(end.fileno(), to_write=True)

    async def send(self, parts: Sequence[Part], handles: Sequence[int]) -> None:
        control = rights(handles, parts)
        sent = False
        try:
            for left in batches(parts):
                while left:
                    if self._end.closed:
                        raise ClosedError()
                    try:
                        n = self._end.sock.sendmsg(left, control, SEND_FLAGS | socket.MSG_DONTWAIT)
                    except BlockingIOError:
                        await self._writable.wait()
                        continue
                    except OSError as e:
                        raise send_error(e) from None
                    sent, control = True, ()
                    left = rest(left, n)
        except asyncio.CancelledError:
            if sent:  # a part only: nothing can follow
                self.close()
            raise

    async def recv_into(self, buffer: memoryview) -> int:
        while True:
            if self._end.closed:
                raise ClosedError()
            n = self._end.receive_now(buffer)
            if n >= 0:
                return n
            await self._readable.wait()

    def close(self) -> None:
        self._readable.close()
        self._writable.close()
        self._end.close()


class Acceptor:
    """A listener on the running loop."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._readable = Ready(listener.fileno())

    async def accept(self) -> Endpoint | None:
        """A client; None: look whether all was closed, and call again."""
        end = self._listener.accept_now()
        if end is None:
            await self._readable.wait()
        return end

    def close(self) -> None:
        """It comes before the listener's."""
        self._readable.close()
