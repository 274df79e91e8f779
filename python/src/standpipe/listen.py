"""How a server gets its clients."""

from __future__ import annotations

import errno
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType

from .addr import SHARED, Addr, parse_addr
from .conn import Conn
from .error import BadNameError, ClosedError, Fault
from .identity import Identity
from .policy import Guard, Policy

if sys.platform == "win32":
    from . import _windows as _system
    from ._windows_identity import current_user
    from ._windows_listen import Listener as _Listener
else:
    from . import _unix as _system
    from ._unix_identity import current_user
    from ._unix_listen import Listener as _Listener


def listen(
    name: str, *, policy: Policy | None = None, max_conns: int = 0, buffer: int = 0, backlog: int = 0
) -> Listener:
    """Make an endpoint and listen on it; clients can connect when it returns. See parse_addr for names.

    policy says who may connect: by default the current user. max_conns is how many accepted connections may be
    open at once, 0 being no limit; above it, clients wait. buffer is the size of the kernel's buffer in bytes,
    0 being 64 KiB or the system's default where that is more. backlog is how many instances of a Windows pipe
    are posted ahead, 0 being the number of processors, at most 16; elsewhere it has no meaning.

    A name that was left behind by a dead server is taken over. A name that somebody serves is an InUseError. A
    file that is no endpoint is never removed (NotSocketError). A name of this user's own can't be opened to
    others: that is a BadNameError, and a "shared:" name or a path is the answer. Other errors: BadNameError,
    NameTooLongError, DeniedError where this process may not make the endpoint, and LookupError for a policy
    with a name that nobody has.
    """
    addr, guard = prepare(name, policy, max_conns, buffer, backlog)
    return Listener(addr, guard, make(addr, guard, buffer, backlog), max_conns)


def prepare(name: str, policy: Policy | None, max_conns: int, buffer: int, backlog: int) -> tuple[Addr, Guard]:
    """What is wrong with the arguments of listen is seen here."""
    for what, n, most in (
        ("max_conns", max_conns, 1 << 30),
        ("buffer", buffer, 1 << 30),
        ("backlog", backlog, 1 << 10),
    ):
        if not 0 <= n <= most:
            raise ValueError(f"{what} is {n}; it must be between 0 and {most}")
    addr = parse_addr(name)
    guard = (policy or Policy()).compile(Policy.myself())
    if addr.personal and not guard.only_user(current_user()):
        raise BadNameError(
            f"{addr.name!r} is this user's own name, which nobody else can reach, but the policy {guard.text!r} admits"
            f" others; use {SHARED + addr.name!r} or a path"
        )
    return addr, guard


def make(addr: Addr, guard: Guard, buffer: int, backlog: int) -> _Listener:
    """Make the endpoint."""
    try:
        return _Listener(addr, guard, buffer, backlog)
    except Fault as e:
        e.name = addr.path
        raise


class Listener:
    """It hands out connections from clients that its policy admits.

    Its methods may be called by several threads at once. It is a context manager, which closes it, and an
    iterator over the connections that ends when it is closed.
    """

    def __init__(self, addr: Addr, guard: Guard, listener: _Listener, max_conns: int) -> None:
        self.addr = addr
        """Where it listens."""
        self.refused = 0
        """How many clients were turned away since the policy does not admit them.

        Whom the kernel kept out is not seen here.
        """
        self.released: Callable[[], None] = lambda: None  # is called when a connection was closed
        self._guard = guard
        self.inner = listener  # without policy and limit
        self._limit = max_conns
        self._state = threading.Condition()  # guards the rest
        self._closed = False
        self._inside = 0  # threads that use the listener
        self._open = 0
        self._parked: deque[tuple[_system.Endpoint, Identity]] = deque()  # admitted, until there is room

    def accept(self, timeout: float | None = None) -> Conn:
        """Wait for the next client that the policy admits. Others see their connection end before a byte.

        Waits for timeout seconds, None being for ever, and then raises TimeoutError. Raises ClosedError after
        close(), also where it waits.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._state:
                if not self._state.wait_for(self._may_go_on, _left(deadline)):
                    raise TimeoutError(errno.ETIMEDOUT, "max_conns connections are open, and none was closed in time")
                conn = self.take()
                if conn is not None:
                    return conn
                self._inside += 1
            try:
                self.park(self.inner.accept(_left(deadline)))
            finally:
                self._leave()

    def take(self) -> Conn | None:
        """A client that is admitted, and that there is room for; None: there is none."""
        with self._state:
            if self._closed:
                raise ClosedError()
            if not self._parked or self.crowded:
                return None
            self._open += 1
            return Conn(*self._parked.popleft(), self.addr, self._release)

    @property
    def crowded(self) -> bool:
        """Whether a client waits until a connection is closed: max_conns are open."""
        return bool(self._parked) and 0 < self._limit <= self._open

    def _may_go_on(self) -> bool:
        return self._closed or not self.crowded

    def park(self, end: _system.Endpoint) -> None:
        """Keep a client that is admitted for accept, and turn away one that is not."""
        try:
            identity = end.identity()
            end.admit(self._guard, identity)
        except BaseException as e:
            end.close()
            if not isinstance(e, OSError):
                raise
            with self._state:
                self.refused += 1
            return
        with self._state:
            if not self._closed:
                self._parked.append((end, identity))
                self._state.notify_all()
                return
        end.close()

    def _leave(self) -> None:
        with self._state:
            self._inside -= 1
            self._finish()

    def _finish(self) -> None:
        if self._closed and self._inside == 0:
            self.inner.give_up()

    def _release(self) -> None:
        with self._state:
            self._open -= 1
            self._state.notify_all()
        self.released()

    def close(self) -> None:
        """Stop listening and free the name, before it returns. Those who wait in accept get ClosedError.

        Connections that were accepted stay; clients that were not see their connection end. On Windows a pipe's
        name is taken until the last of its accepted connections is closed, too. To close again does nothing.
        """
        with self._state:
            if self._closed:
                return
            self._closed = True
            for end, _ in self._parked:
                end.close()
            self._parked.clear()
            self.inner.stop()
            self._finish()
            self._state.notify_all()

    def __del__(self) -> None:
        if not self._closed:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __iter__(self) -> Iterator[Conn]:
        try:
            while True:
                yield self.accept()
        except ClosedError:
            return

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Listener {self.addr}{', closed' if self._closed else ''}>"


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
