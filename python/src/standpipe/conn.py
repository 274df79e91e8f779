"""Connections."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from types import TracebackType

from . import mem
from .addr import Addr
from .identity import Identity

if sys.platform == "win32":
    from . import _windows as _system
else:
    from . import _unix as _system

Part = bytes | bytearray | memoryview


class Conn:
    """One end of a connection: a stream of bytes both ways, and who is at the other end.

    One thread at a time may send, and one receive; wake() and close() may be called by anyone at any time.
    dial(), pipe() and Listener.accept() make one. It is a context manager, which closes it.
    """

    def __init__(
        self, end: _system.Endpoint, identity: Identity, addr: Addr | None, release: Callable[[], None] | None = None
    ) -> None:
        self._end = end
        self._release = release
        self.identity = identity
        """Who is at the other end, as the kernel vouches.

        It was held against the policy before the Conn was handed out.
        """
        self.addr = addr
        """The endpoint, the same at both ends; None for a pipe()."""
        self.can_share = bool(mem.KIND)
        """Whether memory may be handed over this connection.

        On Windows it is seen at the first try whether the peer's process lets it.
        """

    def send(self, parts: Sequence[Part], handles: Sequence[int] = ()) -> None:
        """Send all the parts, one behind the other; with their first byte go the descriptors, which stay the
        caller's to close.

        It waits while the peer does not take it. At most 64 descriptors go at once, with at least one byte; on
        Windows none go (see export_handle). Raises BrokenPipeError where the peer has gone, ClosedError where
        close() was or is called. An exception that is not about the connection, such as KeyboardInterrupt,
        closes it, since what was sent is not known.
        """
        self._end.send(parts, handles)

    def recv_into(self, buffer: memoryview, timeout: float | None = None) -> int:
        """Receive what has come, at least a byte and at most the buffer; 0 at the end of the stream.

        Waits for timeout seconds, 0 being not at all and None for ever, and then raises TimeoutError. On Unix
        it looks for up to 0.1 ms, while that has paid lately, before it sleeps. Raises Interrupted for a wake(),
        ClosedError where close() was or is called, and HandlesError where more descriptors came than may wait.
        Descriptors that came are kept for take_handles(). KeyboardInterrupt while it waits does no harm; in the
        moment in which bytes are taken, it closes the connection, since they may be lost.
        """
        return self._end.recv_into(buffer, timeout)

    def take_handles(self) -> list[int]:
        """The descriptors that were received and not taken yet, in order.

        They are the caller's to close, and not inherited by children. It is for the thread that receives.
        """
        return self._end.take_handles()

    def wake(self) -> None:
        """Make the recv_into that waits, or else the next one, raise Interrupted.

        Several calls before that count as one.
        """
        self._end.wake()

    def close(self) -> None:
        """End the connection.

        Who waits in send or recv_into gets ClosedError; what was sent before is still delivered. It waits for
        nobody: where another thread is in a call, that one closes the descriptors as it leaves. Descriptors
        that were not taken are closed. To close again does nothing.
        """
        self._end.close()
        release, self._release = self._release, None
        if release is not None:
            release()

    @property
    def closed(self) -> bool:
        """Whether close() was called, or an interrupted call has closed the connection."""
        return self._end.closed

    if sys.platform == "win32":

        def export_handle(self, handle: int) -> int:
            """Hand a kernel handle over to the peer: the value by which the peer's import_handle takes a
            duplicate.

            The handle must stay open until it has. Raises PermissionError where the server may not put it into
            the client's process (spec/handles-windows.md); then bytes must be copied.
            """
            return self._end.export_handle(handle)

        def import_handle(self, value: int) -> int:
            """Take what the peer's export_handle has handed over, once; it is the caller's to close.

            The value is the peer's word. Raises PermissionError where the peer may not hand anything over.
            """
            return self._end.import_handle(value)

        def revoke_handle(self, value: int, handle: int) -> None:
            """Undo an export_handle of handle, which gave that value, where the peer has not imported it and
            will not.
            """
            self._end.revoke_handle(value, handle)

    else:

        def fileno(self) -> int:
            """The socket, for select and the like; it must not be read or written."""
            return self._end.fileno()

    def __del__(self) -> None:
        if not self.closed:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
        self.close()

    def __enter__(self) -> Conn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Conn {self.addr or 'pipe'} with {self.identity}{', closed' if self.closed else ''}>"


def pipe() -> tuple[Conn, Conn]:
    """Two ends of a connection that has no name, within this process. Each is closed like any other."""
    a, b = _system.pair()
    try:
        return Conn(a, _system.own_identity(), None), Conn(b, _system.own_identity(), None)
    except BaseException:
        a.close()
        b.close()
        raise
