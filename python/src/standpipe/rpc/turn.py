"""Who reads. A thread that is woken by another costs more than the whole way to the other process, so a lone call
should wake none.

Whoever waits and finds nobody reading reads for all, until what he waits for is here; then one of those who still wait
takes over. A thread in the background reads only while nobody waits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from time import monotonic

# On Windows a wait for a lock does not hear Ctrl-C.
_SLICE = 0.2 if os.name == "nt" else -1.0


class Sleeper:
    """A thread that waits. wake may be called by any, and any number of times."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()

    def wake(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            pass  # it was woken, and has not looked yet

    def sleep(self, timeout: float | None) -> bool:
        """Waits to be woken. False after timeout seconds."""
        if timeout is None:
            while not self._lock.acquire(timeout=_SLICE):
                pass
            return True
        end = monotonic() + timeout
        while True:
            left = max(end - monotonic(), 0)
            if self._lock.acquire(timeout=left if _SLICE < 0 else min(left, _SLICE)):
                return True
            if left <= 0:
                return False


class Turn:
    """The right to read. Only who has it may read."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: dict[Sleeper, None] = {}  # in the order in which they came
        self.changes = 0  # something has changed hands: what has not changed between two looks was left alone

    def take(self) -> bool:
        """Takes the turn, if it is free."""
        return self._lock.acquire(False)

    def take_soon(self) -> None:
        """Takes the turn when it is free: at the end, when who has it leaves."""
        self._lock.acquire()

    def give(self) -> None:
        """Gives it up: to one of those who wait, if there are any."""
        self._lock.release()
        if self._waiting:
            self.offer()

    def offer(self) -> None:
        """Wakes one who waits, where nobody has the turn."""
        while self._waiting and not self._lock.locked():
            try:
                sleeper = next(iter(self._waiting))
            except (StopIteration, RuntimeError):  # somebody has just come or gone
                continue
            sleeper.wake()
            return

    def wait(
        self,
        ready: Callable[[], bool],
        tell: Callable[[Sleeper | None], None],
        read: Callable[[float | None], None],
        deadline: float | None,
    ) -> bool:
        """Waits until something is ready, and reads meanwhile where nobody else does. tell says who is to be woken when
        it may be. False when the deadline, a time of monotonic(), has passed.
        """
        sleeper: Sleeper | None = None
        self.changes += 1
        try:
            while not ready():
                left = None if deadline is None else deadline - monotonic()
                if left is not None and left <= 0:
                    return False
                if self._lock.acquire(False):
                    try:
                        while not ready():
                            if deadline is not None:
                                left = max(deadline - monotonic(), 0)
                            read(left)
                    except TimeoutError:
                        continue
                    finally:
                        self._lock.release()
                    return True
                if sleeper is None:
                    sleeper = Sleeper()
                    tell(sleeper)
                    self._waiting[sleeper] = None
                    continue  # it may have become ready, or the turn free, before that was seen
                sleeper.sleep(left)
            return True
        finally:
            if sleeper is not None:
                tell(None)
                self._waiting.pop(sleeper, None)
            if self._waiting:
                self.offer()
