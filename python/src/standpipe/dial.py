"""How a client gets a connection."""

from __future__ import annotations

import errno
import sys
import time

from .addr import parse_addr
from .conn import Conn
from .error import Fault, NoServerError, WrongServerError
from .identity import Identity
from .policy import Policy, superuser

if sys.platform == "win32":
    from . import _windows as _system
else:
    from . import _unix as _system


def dial(name: str, *, policy: Policy | None = None, wait: bool = False, timeout: float | None = None) -> Conn:
    """Connect to the endpoint called name; see parse_addr for names.

    policy says who may be serving: by default the current user or the superuser (root; SYSTEM or the
    Administrators). Before dial returns, the server's Identity was held against it: not a byte has gone to a
    server that is not admitted (WrongServerError). While the server has no room for one more client, dial
    waits; with wait it also waits while nobody is listening: for timeout seconds, and for ever where that is
    None.

    Raises TimeoutError, NoServerError (with wait, after timeout), StaleError, DeniedError, WrongServerError,
    NotSocketError, MessagesError, BadNameError, NameTooLongError, and LookupError for a policy with a name that
    nobody has.
    """
    dialing = Dialing(name, policy, wait, timeout)
    while True:
        found = dialing.attempt()
        if found is not None:
            return Conn(*found, dialing.addr)
        time.sleep(dialing.pause())


class Dialing:
    """A dial, without its waiting."""

    def __init__(self, name: str, policy: Policy | None, wait: bool, timeout: float | None) -> None:
        self.addr = parse_addr(name)
        self._guard = (policy or Policy()).compile(Policy.myself() | superuser())
        self._wait = wait
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._missing: NoServerError | None = None
        self._next = 0.001  # seconds, doubled by each pause

    def attempt(self) -> tuple[_system.Endpoint, Identity] | None:
        """Try once; None: pause, and try again."""
        try:
            try:
                end = _system.connect(self.addr)
                self._missing = None
            except NoServerError as e:
                if not self._wait:
                    raise
                self._missing, end = e, None
            return None if end is None else self._check(end)
        except Fault as e:
            e.name = self.addr.path
            raise

    def _check(self, end: _system.Endpoint) -> tuple[_system.Endpoint, Identity]:
        try:
            identity = end.identity()
            self._guard.check(identity, WrongServerError, "the server")
            return end, identity
        except BaseException:
            end.close()
            raise

    def pause(self) -> float:
        """How many seconds to pause; raises when there is no time left."""
        pause, self._next = self._next, min(2 * self._next, 0.05)
        if self._deadline is None:
            return pause
        left = self._deadline - time.monotonic()
        if left > 0:
            return min(pause, left)
        if self._missing is not None:
            raise self._missing
        raise TimeoutError(
            errno.ETIMEDOUT, f"{self.addr.path}: the server's queue is full, or it has reached its max_conns"
        )
