"""A connection with calls on it, and who reads from it. For threads."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

from ..error import ClosedError, HandlesError, Interrupted
from ..msg.channel import Channel
from ..msg.error import EndOfStream, ProtocolError
from .call import Served
from .calls import Calls
from .error import Code, Error
from .options import Options, new_session
from .turn import Sleeper, Turn

if TYPE_CHECKING:
    from ..identity import Identity
    from .peer import Peer
    from .server import Server

_log = logging.getLogger("standpipe")

_HELLO = 10.0  # seconds for the peer's hello
_TICK = 0.005  # seconds from one look of the reader in the background to the next, at least,
_MOST_TICK = 0.02  # and at most, while others read


class Line:
    """What a Peer is made of: a channel, its calls, and the turn to read."""

    def __init__(self, conn: Any, options: Options, *, dialer: bool, server: Server | None = None) -> None:
        self._conn = conn
        self._options = options
        self.server = server
        self._dialer = dialer
        self.channel = Channel(conn, *new_session(conn, options))
        self.session = self.channel.session
        self.calls = Calls(
            self.session,
            dialer=dialer,
            lookup=server.lookup if server is not None else lambda method: None,
            codecs=options.codecs,
            max_calls=options.max_calls,
            max_queued=options.max_queued,
        )
        self._codec = options.codec
        self.turn = Turn()  #: the right to read
        self._shares = self.session.own.share != ""
        self._runs: list[Served] = []  # of who has the turn: calls to be run
        self._error: BaseException | None = None  # why the connection has ended
        self._over = threading.Event()
        self._parked = Sleeper()
        self._reader: threading.Thread | None = None
        # Of a server: what its reader runs itself, how many that were, and something while it does and nobody reads.
        self.inline: deque[Served] = deque()
        self.ran = 0
        self.aside: list[None] = []
        if server is not None:
            server.census.join(self)

    @property
    def identity(self) -> Identity:
        """Who is at the other end, as the kernel vouches."""
        identity: Identity = self._conn.identity
        return identity

    # Reading. Who has the turn calls these.

    def read(self, timeout: float | None) -> None:
        """Receives once, and gives everything that is whole to whom it belongs. TimeoutError. At the end of the
        connection it returns: nobody will find anything missing.
        """
        self.read_only(timeout)
        if self._runs:
            self._run_elsewhere()

    def read_only(self, timeout: float | None) -> None:
        """read, but that the calls that have come are left to take_runs."""
        if self._error is not None:
            return
        try:
            self._receive(timeout)
        except Interrupted:
            pass
        except HandlesError as e:
            self._end(ProtocolError(str(e)))
        except (EndOfStream, ProtocolError, OSError) as e:
            if isinstance(e, TimeoutError) and timeout is not None:
                raise
            self._end(e)

    def _receive(self, timeout: float | None) -> None:
        session = self.session
        n = self._conn.recv_into(session.room(), timeout)
        session.received += n
        if n == 0:
            session.eof()
        whole = False
        try:
            handles = self._conn.take_handles() if self._shares else ()
            b = None if handles else session.lone(n)
            if b is not None:
                served = self.calls.receive_usual(b)
                if served is not None:
                    self._runs.append(served)
            else:
                session.fed(n, handles)
            receive = self.calls.receive
            while not session.empty and (m := session.next()) is not None:
                if m.buffers and self._shares:
                    self.channel.start()  # which tells of their release
                served = receive(m)
                if served is not None:
                    self._runs.append(served)
            whole = True
        except ProtocolError:
            whole = True
            raise
        finally:
            if not whole:  # such as by Ctrl-C: nobody knows where the stream is
                self._conn.close()
        if session.outbox:
            self.channel.post()

    def _run_elsewhere(self) -> None:
        runs, self._runs = self._runs, []
        assert self.server is not None  # or nothing is looked up
        for served in runs:
            self.server.run_elsewhere(cast("Peer", self), served)

    def take_runs(self) -> list[Served]:
        """The calls that have come, for who has the turn and runs them himself."""
        runs, self._runs = self._runs, []
        return runs

    def _end(self, e: BaseException) -> None:
        """The connection has ended."""
        self.session.over(e)  # before somebody sees the end, and closes
        self._error = e
        if isinstance(e, ProtocolError):
            _log.warning("the connection of %s died: %s", self._who(), e)
            if not e.remote:
                self.session.abort(e.text)
        self.channel.close()
        self.calls.end(self._unavailable())
        if self.server is not None:
            self.server.census.leave(self)
        self.channel.end()
        self._over.set()
        self._parked.wake()

    def _who(self) -> str:
        try:
            return str(self.identity)
        except AttributeError:
            return "a peer"

    def _unavailable(self) -> Error:
        e = self._error
        if isinstance(e, EndOfStream):
            return Error(Code.UNAVAILABLE, "the other side closed the connection")
        if isinstance(e, ClosedError):
            return Error(Code.UNAVAILABLE, "the connection was closed on this side")
        error = Error(Code.UNAVAILABLE, f"the connection has ended: {e}")
        error.__cause__ = e
        return error

    # The reader in the background.

    def greet(self, timeout: float | None) -> None:
        """Exchanges hellos. Then others may use the peer."""
        deadline = monotonic() + _HELLO
        until = deadline if timeout is None else min(deadline, monotonic() + timeout)
        self.channel.flush()
        if not self.turn.wait(
            lambda: self.session.peer is not None or self._error is not None, lambda _: None, self.read, until
        ):
            self.turn.take_soon()
            try:
                self._end(ProtocolError(f"no whole hello came within {_HELLO:.0f} seconds"))
            finally:
                self.turn.give()
            if timeout is not None and until < deadline:
                raise TimeoutError(f"the server's hello has not come within {timeout} seconds")
        if self._error is None:
            try:
                self.calls.greet()
            except ProtocolError as e:
                self.turn.take_soon()
                try:
                    self._end(e)
                finally:
                    self.turn.give()

    def start(self) -> None:
        """Makes the reader in the background, of one who has dialled."""
        self._reader = threading.Thread(target=self._background, name="standpipe-reader", daemon=True)
        self._reader.start()

    def _background(self) -> None:
        turn = self.turn
        pause = _TICK
        while self._error is None:
            seen = turn.changes
            self._parked.sleep(pause)
            if turn.changes != seen:
                if not self.calls.called:  # nothing else comes but what somebody waits for
                    pause = min(2 * pause, _MOST_TICK)
                continue
            pause = _TICK
            if not turn.take():
                continue
            try:
                while self._error is None and turn.changes == seen:
                    self.read(None)
            finally:
                turn.give()

    def stirred(self) -> None:
        """What somebody waits for may have changed, by another thread of this side. It may be the one who reads."""
        self._conn.wake()
        if self.session.outbox:
            self.channel.flush()

    def wait(self, ready: Callable[[], bool], tell: Callable[[Sleeper | None], None], deadline: float | None) -> bool:
        """Waits until something is ready, and reads meanwhile where nobody else does. See Turn."""
        return self.turn.wait(ready, tell, self.read, deadline)
