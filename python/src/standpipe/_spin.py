"""To look for a while before sleeping.

Waking a thread that sleeps takes longer than most answers, and the CPU that it slept on has forgotten its program
meanwhile, so that looking costs less than it saves: docs/adr/0023-python-looks-before-it-sleeps.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter

LONGEST = 0.0001  # seconds of looking; each look lets other threads have the interpreter's lock
_ROW = 8  # after so many, one wait sleeps all the same: another thread that wants the lock is to get it
_MOST_MISSED = 6  # after so many looks in vain, one wait in 2^6 begins with one

_until = 0.0  # when whoever looks now, in this process, gives up: one at a time


class Spinner:
    """What one who waits, again and again, knows of whether it pays to look."""

    __slots__ = ("_missed", "_pays", "_row", "_skip")

    def __init__(self) -> None:
        self._pays = cpus() > 1  # or nobody comes while this side looks
        self._missed = self._skip = self._row = 0

    def saw(self, look: Callable[[int], object]) -> bool:
        """Looks, if that pays, and says whether there is something. look must not wait."""
        global _until
        if self._skip:
            self._skip -= 1
            return False
        if self._row == _ROW or not self._pays:
            self._row = 0
            return False
        now = perf_counter()
        if now < _until:
            return False
        end = _until = now + LONGEST
        while not look(0):
            if perf_counter() > end:
                self._missed = min(self._missed + 1, _MOST_MISSED)
                self._skip = (1 << self._missed) - 1
                return False
        _until = 0.0
        self._missed = 0
        self._row += 1
        return True


def cpus() -> int:
    """How many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
