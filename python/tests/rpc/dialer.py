"""The vectors' side of a connection. It knows nothing of the code that the vectors test, but for standpipe.mem and
standpipe.Conn.
"""

from __future__ import annotations

import os
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from standpipe import Conn, mem

from ..vectors import Vector

PATIENCE = 10.0
SEALS = {"shrink": 2, "grow": 4, "future-write": 16, "seal": 1}


class Event(NamedTuple):
    """A frame of the listener's."""

    what: str  # message, release, retire, abort
    data: bytes
    buffers: list[bytes]


def filler(n: int) -> bytes:
    return bytes(i % 251 for i in range(n))


class Dialer:
    """Sends a vector, and notes what comes."""

    def __init__(self, conn: Conn, v: Vector, folder: Path) -> None:
        self.conn = conn
        self.v = v
        self.folder = folder
        self.events: list[Event] = []
        self.over = False
        self._state = threading.Condition()
        self._handles: list[int] = []
        self._segments: dict[int, mem.Segment] = {}
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def close(self) -> None:
        self.conn.close()
        self._thread.join()
        for handle in self._handles:
            mem.close_handle(handle)
        for segment in self._segments.values():
            segment.close()

    def list(self, key: str) -> list[tuple[int, str]]:
        text = self.v.head.get(key)
        items = [item.partition(" ") for item in text.split(", ")] if text else []
        return [(int(at), rest) for at, _, rest in items]

    def play(self) -> None:
        """Sends the vector. OSError is the connection's end."""
        if "hello" in self.v.head:
            text = "\n".join(("standpipe 1", *self.v.head["hello"].replace("KIND", mem.KIND).split(" | "))) + "\n\n"
            self.conn.send([text.encode()])
        body, files, waits = self.v.body, self.list("files"), dict(self.list("waits"))
        cuts = sorted({0, len(body), *(at for at, _ in files), *waits})
        for at, end in pairwise(cuts):
            if at in waits:
                assert self.until(lambda what=waits[at]: any(e.what == what for e in self.events))
            handles = [self._file(how) for where, how in files if where == at]
            try:
                self.conn.send([body[at:end]], handles)
            finally:
                for handle in handles:
                    mem.close_handle(handle)

    def _file(self, what: str) -> int:
        size, _, how = what.partition(" ")
        if how in ("sealed", "area"):
            segment = mem.Segment.create(int(size))
            n = min(int(size), 65536)
            segment.view[:n] = filler(n)
            handle = segment.take()
            segment.close()
            return handle
        if how == "pipe":
            r, w = os.pipe()
            os.close(w)
            return r
        if how == "file":
            fd = os.open(self.folder / "file", os.O_RDWR | os.O_CREAT)
        else:
            fd = os.memfd_create("test", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        os.truncate(fd, int(size))
        if how not in ("file", "none"):
            import fcntl

            fcntl.fcntl(fd, 1033, sum(SEALS[s] for s in how.split("+")))
        return fd

    def until(self, ready: object) -> bool:
        """Waits for something, or the end; whether it came."""
        assert callable(ready)
        end = time.monotonic() + PATIENCE
        with self._state:
            while not ready():
                if self.over:
                    return bool(ready())
                assert self._state.wait(end - time.monotonic()), (
                    f"{self.v.name}: it does not come; there were {self.events}"
                )
            return True

    def answer(self, stream: int) -> Event:
        """The answer of a call."""
        number = stream.to_bytes(4, "little")

        def found() -> list[Event]:
            return [e for e in self.events if e.what == "message" and e.data[:4] == number]

        assert self.until(found), f"no answer came, but {self.events}"
        return found()[0]

    def _receive(self) -> None:
        data, greeted = bytearray(), False
        room = memoryview(bytearray(65536))
        try:
            while n := self.conn.recv_into(room):
                self._handles += self.conn.take_handles()
                data += room[:n]
                if not greeted and (end := data.find(b"\n\n")) >= 0:
                    del data[: end + 2]
                    greeted = True
                while greeted and len(data) >= 8 and len(data) >= (size := 8 + int.from_bytes(data[:4], "little")):
                    event = self._event(data[4], data[6], bytes(data[8:size]))
                    del data[:size]
                    with self._state:
                        self.events.append(event)
                        self._state.notify_all()
        except OSError:
            pass
        with self._state:
            self.over = True
            self._state.notify_all()

    def _event(self, kind: int, count: int, b: bytes) -> Event:
        if kind == 3:
            segment = mem.Segment.map(self._handles.pop(0), int.from_bytes(b[8:16], "little"))
            self._segments[int.from_bytes(b[:4], "little")] = segment
        if kind != 1:
            return Event({2: "abort", 3: "segment", 4: "release", 5: "retire"}.get(kind, f"kind {kind}"), b, [])
        refs = [
            (int.from_bytes(b[i : i + 8], "little"), int.from_bytes(b[i + 8 : i + 12], "little"))
            for i in range(0, 16 * count, 16)
        ]
        at = len(b) - sum(size for size, segment in refs if not segment)
        data, buffers = b[16 * count : at], []
        for size, number in refs:
            if number:
                buffers.append(bytes(self._segments[number].view[:size]))
            else:
                buffers.append(b[at : at + size])
                at += size
        return Event("message", data, buffers)
