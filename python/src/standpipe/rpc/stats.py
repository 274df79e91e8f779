"""What a server has done: standpipe.stats, spec/stats.schema.json."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any

from .error import Code

_FIRST = 8  # 2^8 ns: what takes less is in the first step
_STEPS = 1 + 4 * 30
SAMPLE = 8  # one call in so many is timed, and the first ones
MOST_CONNECTIONS = 4096  # that one answer names


class Tally:
    """What is counted of a method, on one connection or many. Who counts has a lock."""

    __slots__ = ("begun", "failed", "times")

    def __init__(self) -> None:
        self.begun = 0
        self.failed: Counter[int] = Counter()  # by code
        self.times: Counter[int] = Counter()  # by step

    def took(self, seconds: float) -> None:
        """Counts the time of a call that is timed: for all those that are not, too."""
        self.times[step_of(int(seconds * 1e9))] += 1 if self.begun < SAMPLE else SAMPLE

    def add(self, other: Tally) -> None:
        self.begun += other.begun
        self.failed += other.failed
        self.times += other.times


def step_of(nanoseconds: int) -> int:
    """The step of a time: 0 below 256 ns, and four for each power of two above."""
    power = max(nanoseconds, 0).bit_length() - 1
    if power < _FIRST:
        return 0
    return min(1 + 4 * (power - _FIRST) + (nanoseconds >> (power - 2) & 3), _STEPS - 1)


def step_end(step: int) -> float:
    """Where a step ends, in seconds."""
    power, quarter = divmod(step - 1, 4)
    return 2**_FIRST * 1e-9 if step == 0 else (5 + quarter) * 2.0 ** (power + _FIRST - 2) * 1e-9


def quantile(times: Mapping[int, int], share: float) -> float:
    """The time within which this share of the calls was done, in seconds; 0: none was."""
    most = share * sum(times.values())
    n = 0
    for step in sorted(times):
        n += times[step]
        if n >= most:
            return step_end(step)
    return 0.0


@dataclass
class _Member:
    number: int
    since: float


@dataclass
class _Sums:
    """What is counted of connections that have gone."""

    sent: int = 0
    received: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    tallies: dict[str, Tally] = field(default_factory=dict)

    def add(self, peer: Any) -> None:
        calls = peer.calls
        with calls.lock:
            self.sent += peer.session.sent + peer.session.carried
            self.received += peer.session.received
            self.refused += calls.refusals
            for name, tally in calls.tallies.items():
                self.tallies.setdefault(name, Tally()).add(tally)


class Census:
    """Who is connected to a server, and what those have done who have gone. Any thread may call its methods."""

    def __init__(self) -> None:
        self._began = monotonic()
        self._lock = Lock()
        self._members: dict[Any, _Member] = {}
        self._leaving: list[Any] = []  # they have gone, but their handlers still run
        self._last = 0
        self._gone = _Sums()

    def join(self, peer: Any) -> None:
        with self._lock:
            self._last += 1
            self._members[peer] = _Member(self._last, monotonic())

    def leave(self, peer: Any) -> None:
        """To leave again does nothing."""
        with self._lock:
            if self._members.pop(peer, None) is not None:
                self._leaving.append(peer)
            self._settle()

    def _settle(self) -> None:
        leaving, self._leaving = self._leaving, []
        for peer in leaving:
            if peer.calls.busy:
                self._leaving.append(peer)
            else:
                self._gone.add(peer)

    def stats(self, methods: Iterable[tuple[str, bool]], asker: Any) -> dict[str, Any]:
        """The answer. methods are names, and whether they are streams."""
        now = monotonic()
        opened: Counter[str] = Counter()
        with self._lock:
            self._settle()
            sums = deepcopy(self._gone)
            for peer in (*self._members, *self._leaving):
                sums.add(peer)
            connections = [
                {"id": m.number, "self": peer is asker, "age": now - m.since, **_connection(peer, opened)}
                for peer, m in self._members.items()
            ]
            accepted = self._last
        return {
            "pid": os.getpid(),
            "program": sys.executable or "",
            "uptime": now - self._began,
            "connected": len(connections),
            "accepted": accepted,
            "sent": sums.sent,
            "received": sums.received,
            "refused": _named(sums.refused),
            "connections": connections[:MOST_CONNECTIONS],
            "methods": [
                _method(name, streams, sums.tallies.get(name) or Tally(), opened[name])
                for name, streams in sorted(methods)
            ],
        }


def _connection(peer: Any, opened: Counter[str]) -> dict[str, Any]:
    identity, session = peer.identity, peer.session
    made, lent = session.maker.sums() if session.maker is not None else (0, 0)
    return {
        "user": identity.user,
        "pid": identity.pid,
        "who": str(identity),
        "program": _program(identity.pid),
        **peer.calls.counts(opened),
        "sent": session.sent + session.carried,
        "received": session.received,
        "made": made,
        "lent": lent,
        "taken": session.taker.sum if session.taker is not None else 0,
        "ring": 0,
    }


def _program(pid: int) -> str:
    """The path of a process's program, for people; empty where that is not known."""
    try:
        return os.readlink(f"/proc/{pid}/exe") if pid and sys.platform == "linux" else ""
    except OSError:
        return ""


def _method(name: str, streams: bool, tally: Tally, opened: int) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "stream" if streams else "unary",
        "calls": tally.begun,
        "open": opened,
        "errors": _named(tally.failed),
        **{f"p{q}": quantile(tally.times, q / 100) for q in (50, 90, 99)},
        "times": [{"up_to": step_end(step), "count": tally.times[step]} for step in sorted(tally.times)],
    }


def _named(codes: Mapping[int, int]) -> dict[str, int]:
    return {Code(code).text: n for code, n in codes.items()}
