"""Connections on an event loop."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from types import TracebackType

from ..conn import Conn, Part
from ..conn import pipe as _pipe

if sys.platform == "win32":
    from .._windows_aio import Stream
else:
    from .._unix_aio import Stream


class AsyncConn:
    """One end of a connection: a stream of bytes both ways, and who is at the other end.

    It belongs to the event loop that runs when it is made, and all is called there. One task at a time may
    send, and one receive. dial(), pipe() and AsyncListener.accept() make one. It is an async context manager,
    which closes it.
    """

    def __init__(self, conn: Conn) -> None:
        """Take over a connection that nobody is using."""
        self._conn = conn
        self._stream = Stream(conn._end)
        self.identity = conn.identity
        """Who is at the other end, as the kernel vouches. It was held against the policy before."""
        self.addr = conn.addr
        """The endpoint, the same at both ends; None for a pipe()."""
        self.can_share = conn.can_share
        """Whether memory may be handed over this connection."""

    async def send(self, parts: Sequence[Part], handles: Sequence[int] = ()) -> None:
        """As Conn.send.

        A task that is cancelled when a part was sent, or on Windows may have been, closes the connection.
        """
        await self._stream.send(parts, handles)

    async def recv_into(self, buffer: memoryview) -> int:
        """As Conn.recv_into, without its timeout and wake: cancel the task, which loses nothing."""
        return await self._stream.recv_into(buffer)

    def take_handles(self) -> list[int]:
        """As Conn.take_handles."""
        return self._conn.take_handles()

    def close(self) -> None:
        """End the connection, at once.

        Tasks that wait in send or recv_into get ClosedError; what was sent before is still delivered.
        """
        self._stream.close()
        self._conn.close()

    @property
    def closed(self) -> bool:
        """Whether close() was called, or a send that was cancelled has closed the connection."""
        return self._conn.closed

    if sys.platform == "win32":

        def export_handle(self, handle: int) -> int:
            """As Conn.export_handle."""
            return self._conn.export_handle(handle)

        def import_handle(self, value: int) -> int:
            """As Conn.import_handle."""
            return self._conn.import_handle(value)

        def revoke_handle(self, value: int, handle: int) -> None:
            """As Conn.revoke_handle."""
            self._conn.revoke_handle(value, handle)

    def __del__(self) -> None:
        conn = getattr(self, "_conn", None)
        if conn is not None and not conn.closed:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    async def __aenter__(self) -> AsyncConn:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<AsyncConn {self.addr or 'pipe'} with {self.identity}{', closed' if self.closed else ''}>"


async def pipe() -> tuple[AsyncConn, AsyncConn]:
    """Two ends of a connection that has no name, within this process. Each is closed like any other."""
    a, b = _pipe()
    return AsyncConn(a), AsyncConn(b)
