"""A pipe that listens."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

assert sys.platform == "win32"

from . import _windows_api as api
from ._access import sddl
from ._windows import Instances, name_error
from ._windows_api import kernel32
from ._windows_identity import current_user
from ._windows_pipe import Endpoint, wait
from .addr import Addr
from .error import ClosedError, DeniedError, InUseError
from .policy import Guard

MOST_INSTANCES = 16  # that wait for a client
MOST_MUTE = (
    40  # clients that are waited for at once until they say their first word; all that is waited for is below 64
)
MUTE_LIMIT = 10.0  # seconds; a tenth of it where more than half of MOST_MUTE are waited for
_FIRST = 4096  # bytes of a first word that are taken before its sender is known


class Listener:
    """How a client comes in. There is no thread: who is in accept does the work.

    waiting ── came ── pending ── met ── successor ── arrived ── accept ^        │                  └─ (token
    only after the first bytes) ── mute ── arrived └────────┴── the client has gone: the same instance again

    An instance's successor exists before the instance is handed out, so that the name never goes. Others find
    the pipe busy.
    """

    def __init__(self, addr: Addr, guard: Guard, buffer: int, backlog: int) -> None:
        self._instances = Instances(addr.path, sddl(guard, current_user()), buffer)
        self._turn = threading.RLock()  # of who is in accept; the rest is guarded by it
        self._closed = False
        self._waiting: list[Endpoint] = []
        self._pending: deque[Endpoint] = deque()  # a client is there, and no successor
        self._mute: dict[Endpoint, tuple[float, bytearray]] = {}  # until when, and where its first word goes
        self._arrived: deque[Endpoint] = deque()
        self.meet: Callable[[Endpoint], None] = Endpoint.meet
        self.mute_limit = MUTE_LIMIT
        self._stop = api.new_event()
        try:
            self._add(first=True)
            for _ in range(1, min(backlog or min(os.cpu_count() or 1, 16), MOST_INSTANCES)):
                self._add(first=False)
        except BaseException as e:
            self.stop()
            self.give_up()
            if isinstance(e, OSError):
                raise self._error(e) from e
            raise

    def _add(self, first: bool) -> None:
        """Make an instance. A name that was taken and is free a moment later is tried again."""
        for last in [False] * 9 + [True]:
            try:
                end = self._instances.make(first)
                break
            except OSError as e:
                if not first or last or e.winerror not in _TAKEN or self._exists():
                    raise
        self._waiting.append(end)
        end.await_client()

    def _exists(self) -> bool:
        """Ask without taking an instance: wait a moment for a free one, and look only at why there is none."""
        if kernel32.WaitNamedPipeW(self._instances.path, 1):
            return True
        return api.last_error("WaitNamedPipe").winerror not in (api.ERROR_FILE_NOT_FOUND, api.ERROR_PATH_NOT_FOUND)

    def _error(self, e: OSError) -> OSError:
        """FILE_CREATE answers ERROR_ACCESS_DENIED where the name is taken, and also where it is forbidden."""
        path = self._instances.path
        if e.winerror in _TAKEN and self._exists():
            return InUseError(
                f"there is a pipe {path} already: it has a server, or connections of a server that has ended", e
            )
        if e.winerror in (*_TAKEN, api.ERROR_INVALID_OWNER, api.ERROR_PRIVILEGE_NOT_HELD):
            return DeniedError(
                f"this process may not make the pipe {path}; below ProtectedPrefix\\Administrators only administrators"
                " may, and a pipe's owner must be its maker",
                e,
            )
        return name_error(path, e)

    def accept(self, timeout: float | None) -> Endpoint:
        """The next client, whoever it is. Several threads may wait; they do so in turns."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._turn.acquire(timeout=-1 if timeout is None else timeout):
            raise TimeoutError(errno.ETIMEDOUT, "nobody has come in time")
        try:
            while True:
                if self._closed:
                    raise ClosedError()
                self._go_on()
                if self._arrived:
                    return self._arrived.popleft()
                ends = [*self._waiting, *self._mute]
                until = min((t for t, _ in self._mute.values()), default=None)
                if deadline is not None and (until is None or deadline < until):
                    until = deadline
                left = None if until is None else max(0.0, until - time.monotonic())
                found = wait([self._stop, *(end.reading.event for end in ends)], left)
                if found:
                    self._signalled(ends[found - 1])
                elif found is None and deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(errno.ETIMEDOUT, "nobody has come in time")
        except OSError:
            if self._closed:  # stop was called by a finalizer in between
                raise ClosedError() from None
            raise
        finally:
            self._turn.release()

    def _signalled(self, end: Endpoint) -> None:
        if end in self._mute:
            self._heard(end)
        elif end.came():
            self._waiting.remove(end)
            self._pending.append(end)

    def _go_on(self) -> None:
        """Find out who those are that have come, and see to their successors."""
        for end in [end for end, (until, _) in self._mute.items() if time.monotonic() >= until]:
            self._heard(end)
        while self._pending:
            end = self._pending[0]
            mute = self._meet(end)
            if mute and len(self._mute) >= MOST_MUTE:
                return
            self._add(first=False)
            self._pending.popleft()
            if not mute:
                self._arrived.append(end)
                continue
            limit = self.mute_limit if len(self._mute) < MOST_MUTE // 2 else self.mute_limit / 10
            room = bytearray(_FIRST)
            self._mute[end] = time.monotonic() + limit, room
            end.start_read(memoryview(room))

    def _meet(self, end: Endpoint) -> bool:
        """Whether the client must say something before it is known. Who can't be known is for the policy to judge."""
        try:
            self.meet(end)
        except OSError as e:
            return e.winerror == api.ERROR_CANNOT_IMPERSONATE
        return False

    def _heard(self, end: Endpoint) -> None:
        """A mute client has said something, has gone, or its time is up; then nobody knows who it is."""
        until, room = self._mute.pop(end)
        try:
            n = end.reading.cancel(end.pipe)
            if not n and time.monotonic() < until:  # the thread that began to wait has ended
                end.start_read(memoryview(room))
                self._mute[end] = until, room
                return
        except OSError:  # it has gone
            end.close()
            return
        end.first = bytes(room[:n])
        self._meet(end)
        self._arrived.append(end)

    def stop(self) -> None:
        """Free the name, and end those who wait in accept."""
        self._closed = True
        kernel32.SetEvent(self._stop)
        with self._turn:
            for end in [*self._waiting, *self._pending, *self._mute, *self._arrived]:
                end.close()
            for some in (self._waiting, self._pending, self._mute, self._arrived):
                some.clear()

    def give_up(self) -> None:
        """Close what is left. Nobody is in accept any more."""
        api.close_handle(self._stop)


_TAKEN = (api.ERROR_ACCESS_DENIED, api.ERROR_ALREADY_EXISTS, api.ERROR_PIPE_BUSY)
