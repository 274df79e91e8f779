"""The methods of spec/interop.md."""

import logging
import os
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import standpipe
from standpipe import Buffer, Stream, current

MOST_CALLS = 32
DRAIN = 10.0  # seconds

server = standpipe.Server(max_calls=MOST_CALLS)


@dataclass
class Detail:
    type: str
    data: bytes


@dataclass
class Failure:
    code: int
    message: str
    details: list[Detail] = field(default_factory=list)


@dataclass
class Pause:
    ms: int


@dataclass
class Size:
    size: int


@dataclass
class Blob:
    a: Buffer | None = None


@dataclass
class UpTo:
    to: int


@dataclass
class After:
    after: int


class Counts:
    """How many of `hang` and `flood` run, and how many were cancelled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.hanging = self.cancelled = 0

    def __enter__(self) -> None:
        with self._lock:
            self.hanging += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.hanging -= 1
            self.cancelled += 1


counts = Counts()


@server.method
def echo(value: Any) -> Any:
    return value


@server.method
def add(a: int, b: int) -> dict[str, int]:
    return {"sum": a + b}


@server.method
def fail(failure: Failure) -> None:
    raise standpipe.Error(failure.code, failure.message, [(d.type, d.data) for d in failure.details])


@server.method
def crash() -> None:
    raise RuntimeError("secret")


@server.method
def hang() -> None:
    with counts:
        current().wait()
        current().check()


@server.method
def slow(pause: Pause) -> int:
    time.sleep(pause.ms / 1000)
    return pause.ms


@server.method
def state() -> dict[str, int]:
    return {"hanging": counts.hanging, "cancelled": counts.cancelled}


@server.method
def left() -> int:
    seconds = current().time_left
    return -1 if seconds is None else int(1000 * seconds)


@server.method
def meta() -> dict[str, list[str]]:
    current().set_header({"place": "header"})
    current().set_trailer({"place": "trailer"})
    return {key: [v.decode() for v in values] for key, values in current().metadata.items()}


@server.method
def who() -> dict[str, Any]:
    return {"pid": current().identity.pid, "user": current().identity.user}


@server.method
def back() -> str:
    name: str = current().peer.call("name")
    return "hello " + name


@server.method("bytes")
def zeros(size: Size) -> bytes:
    return bytes(size.size)


@server.method("make")
def make_pattern(size: Size) -> Blob:
    return filled(current().peer, size.size)


@server.method
def check(blob: Blob) -> dict[str, int]:
    assert blob.a is not None
    return {"size": len(blob.a), "crc": zlib.crc32(blob.a.view)}


@server.method
def copy(blob: Blob) -> Blob:
    if blob.a is None:
        return blob
    other = current().peer.new_buffer(len(blob.a))
    other.view[:] = blob.a.view
    return Blob(other)


@server.method
def drain() -> None:
    threading.Timer(0.05, server.close, [DRAIN]).start()  # the answer first


@server.method
def count(to: UpTo) -> Iterator[int]:
    yield from range(to.to)


@server.method("sum")
def add_up(values: Iterator[int]) -> Iterator[int]:
    yield sum(values)


@server.method
def each(stream: Stream[Any, Any]) -> None:
    for value in stream:
        stream.send(value)


@server.method
def speak(stream: Stream[Any, Any]) -> None:
    stream.send("first")
    each(stream)


@server.method
def broken(after: After) -> Iterator[int]:
    yield from range(after.after)
    raise standpipe.Error(standpipe.Code.DATA_LOSS, "broken off")


@server.method
def flood() -> Iterator[str]:
    with counts:
        n = 0
        while True:
            yield str(n).ljust(1000)
            n += 1


@server.method
def swap(blobs: Iterator[Blob]) -> Iterator[Blob]:
    for blob in blobs:
        yield copy(blob)


def pattern(n: int) -> bytes:
    """Byte number i is i mod 251."""
    period = bytes(range(251))
    return (period * (n // len(period) + 1))[:n]


def filled(peer: Any, n: int) -> Blob:
    """A new buffer with the pattern."""
    buffer = peer.new_buffer(n)
    buffer.view[:] = pattern(n)
    return Blob(buffer)


def _close_at_end() -> None:
    while os.read(0, 4096):  # not by sys.stdin, whose lock a thread that reads would have at the interpreter's end
        pass
    server.close()


def serve(name: str) -> None:
    """Serves until standard input ends, or `drain` was called."""
    logging.getLogger("standpipe").setLevel(logging.CRITICAL)  # what crashes here crashes on purpose
    serving = server.start(name)
    print("ready", flush=True)
    threading.Thread(target=_close_at_end, daemon=True).start()
    while not serving.wait(0.5):
        pass
    server.close(DRAIN)
