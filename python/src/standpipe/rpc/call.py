"""One call, of either side: what is known of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ..msg.buffer import Buffer
from ..msg.session import Data
from .codec import Codec
from .error import Code, Error
from .flow import StreamEnd, Waiter
from .metadata import Metadata
from .stats import Tally

_LONGEST = 10**9 * 86400 * 36500  # nanoseconds: a longer time limit is none

EMPTY: Sequence[Buffer] = ()


class Call:
    """A unary call of this side."""

    __slots__ = ("buffers", "done", "error", "gone", "header", "mark", "number", "trailer", "value", "waiter")

    def __init__(self, number: int, mark: int) -> None:
        self.number = number
        self.mark = mark
        self.done = False  # the rest is valid then
        self.waiter: Waiter | None = None
        self.value: Data = b""
        self.buffers: Sequence[Buffer] = EMPTY
        self.error: Error | None = None
        self.header: Metadata | None = None
        self.trailer: Metadata | None = None
        self.gone = False  # the caller does not wait any more


class Served:
    """A call of the other side. route is what the lookup of its method has returned."""

    __slots__ = (
        "buffers",
        "cancelled",
        "codec",
        "deadline",
        "header",
        "held",
        "meta",
        "method",
        "number",
        "route",
        "since",
        "state",
        "stream",
        "tally",
        "trailer",
        "value",
        "waiter",
    )

    def __init__(self, number: int, method: str, route: Any, codec: Codec, timeout: int, meta: Metadata | None) -> None:
        self.number = number
        self.method = method
        self.route = route
        self.codec = codec
        self.deadline = time.monotonic() + timeout * 1e-9 if 0 < timeout < _LONGEST else None
        self.meta = meta
        self.value: Data = b""
        self.buffers: Sequence[Buffer] = EMPTY
        self.held = 0
        self.stream: StreamEnd | None = None
        self.cancelled: Code | None = None  # the other side has cancelled it, or the connection has ended
        self.waiter: Waiter | None = None  # to be woken then
        self.header: Metadata | None = None  # of the answer
        self.trailer: Metadata | None = None
        self.state: Any = None  # of who runs it
        self.tally: Tally | None = None  # where its end is counted
        self.since = 0.0  # when it came, of perf_counter; 0: it is not timed
