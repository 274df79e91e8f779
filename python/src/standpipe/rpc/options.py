"""What a Server and those who dial have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..msg.hello import LEAST_DATA, MOST, Hello
from ..msg.memory import Memory
from ..msg.session import Session
from .calls import LEAST_CALLS, codec_names
from .codec import CODECS, MESSAGE_PACK, Codec
from .flow import LEAST_WINDOW


@dataclass(frozen=True)
class Options:
    """The limits of one connection. All have a default that is safe.

    max_message: the most bytes of data in a message, both ways; 64 KiB to 4 GiB - 1. max_shared: the most bytes of
    buffers in a message, and of memory that each side shares with the other for them; 0: no buffers are taken.
    max_calls: how many calls of the other side run at once, 16 to 65535. max_queued: the most bytes of values of one
    peer that wait here to be taken, at least 64 KiB. codec: what calls are encoded with.
    """

    max_message: int = 16 << 20
    max_shared: int = 1 << 30
    max_calls: int = 1024
    max_queued: int = 256 << 20
    codec: Codec = MESSAGE_PACK

    def __post_init__(self) -> None:
        for name, least, most in (
            ("max_message", LEAST_DATA, MOST),
            ("max_shared", 0, MOST),
            ("max_calls", LEAST_CALLS, 65535),
            ("max_queued", LEAST_WINDOW, None),
        ):
            value = getattr(self, name)
            if value < least or (most is not None and value > most):
                raise ValueError(f"{name} is {value}; it must be from {least} to {most or 'what the memory has'}")

    @property
    def codecs(self) -> Sequence[Codec]:
        """Those that are spoken here; the first is used for calls."""
        return [self.codec, *(c for c in CODECS if c.name != self.codec.name)]


def new_session(conn: Any, options: Options) -> tuple[Callable[[Callable[[bool], None]], Session], Memory | None]:
    """What makes the session of a connection, and the memory that can be shared over that."""
    keys = {"codecs": codec_names(options.codecs), "max-calls": str(options.max_calls), "window": str(LEAST_WINDOW)}
    hello = Hello(options.max_message, options.max_shared, "", keys)
    memory: Memory | None = None
    if options.max_shared and conn.can_share:
        from ..msg.handover import memory_of

        memory = memory_of(conn)
    return lambda poke: Session(hello, memory, poke), memory


def method_bytes(method: str) -> bytes:
    """The name of a method on the wire. ValueError where it can't be one."""
    name = _names.get(method)
    if name is None:
        name = method.encode()
        if not 1 <= len(name) <= 255:
            raise ValueError(f"the method {method!r} must have 1 to 255 bytes of UTF-8")
        if len(_names) < 4096:
            _names[method] = name
    return name


_names: dict[str, bytes] = {}
