"""A connection for tests of asyncio, on top of one for threads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from standpipe import ClosedError, Conn


class AsyncConn:
    def __init__(self, conn: Conn) -> None:
        self._conn = conn
        self.can_share = conn.can_share
        self.identity = conn.identity
        self._waiting: asyncio.Future[None] | None = None

    async def send(self, parts: Sequence[Any], handles: Sequence[int] = ()) -> None:
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self._conn.send, parts, handles))

    async def recv_into(self, buffer: memoryview) -> int:
        loop = asyncio.get_running_loop()
        while True:
            try:
                return self._conn.recv_into(buffer, 0)
            except TimeoutError:
                pass
            self._waiting = loop.create_future()
            fd = self._conn.fileno()
            loop.add_reader(fd, self._readable)
            try:
                await self._waiting
            finally:
                loop.remove_reader(fd)

    def _readable(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def take_handles(self) -> list[int]:
        return self._conn.take_handles()

    def close(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ClosedError())
        self._conn.close()
