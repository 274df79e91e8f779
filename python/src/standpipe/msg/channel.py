"""A session on a connection: who writes, and when. For threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Lock, get_ident
from time import sleep
from typing import Protocol

from .buffer import Buffer
from .made import IDLE
from .memory import Memory
from .session import Data, Session

_SOON = 0.001  # seconds that a release waits for something that is sent anyway
_CLOSE = 1.0  # seconds that the peer has to take what was queued, at the end
_MOST_PARTS = 256  # in one write
_HIGH = 256  # messages that wait, above which senders do


class Conn(Protocol):
    """What a channel needs of a connection; see standpipe.conn."""

    def send(self, parts: Sequence[Data], handles: Sequence[int] = ()) -> None: ...
    def recv_into(self, buffer: memoryview, timeout: float | None = None) -> int: ...
    def take_handles(self) -> list[int]: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...


class Channel:
    """Writes what a session has to send. Any thread may flush; whoever finds nobody writing writes for all, with one
    system call for what came together, so that a lone sender has no hand-over.

    What must not wait, such as what the reader has to say, and what is given back in the middle of anything, is left to
    a thread of its own, which is made when it is first needed.
    """

    def __init__(self, conn: Conn, make: Callable[[Callable[[bool], None]], Session], memory: Memory | None) -> None:
        self.conn = conn
        self.session = make(self._poke)
        self.pieces = Lock()  # held by who sends buffers in pieces: so they never are more than the peer takes
        self._memory = memory
        self._writing = Lock()
        self._broken = False
        self._jobs: SimpleQueue[Callable[[], object] | bool | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = Lock()
        self._hushed = 0

    def flush(self, wait: bool = False) -> None:
        """Writes the outbox, or leaves it to who writes now: but where much waits, or wait is set, it waits for that.
        Errors end the connection, as who receives sees.
        """
        session = self.session
        while session.outbox or session.freed:
            if not self._writing.acquire(wait or len(session.outbox) > _HIGH):
                return
            try:
                self._write()
            finally:
                self._writing.release()

    def _write(self) -> None:
        session = self.session
        outbox = session.outbox
        if len(outbox) == 1 and not session.freed:
            parts, handles = outbox.popleft()
        else:
            parts, handles = self._gather()
        try:
            if parts and not self._broken:
                self.conn.send(parts, handles)
                session.sent += sum(map(len, parts))
        except (BrokenPipeError, ConnectionResetError):
            self._broken = True  # who receives sees why
        except BaseException as e:
            self._broken = True
            self.conn.close()
            if not isinstance(e, OSError):
                raise
        finally:
            if handles and self._memory is not None:
                for handle in handles:
                    self._memory.drop(handle)

    def _gather(self) -> tuple[Sequence[Data], tuple[int, ...]]:
        """What goes together."""
        outbox = self.session.outbox
        given = self.session.releases()
        parts: list[Data] = [given] if given else []
        handles: tuple[int, ...] = ()
        while outbox and len(parts) < _MOST_PARTS:
            if outbox[0][1] and parts:
                break  # they go with the first byte
            more, files = outbox.popleft()
            parts += more
            handles = handles or files
        return parts, handles

    def send_buffers(
        self,
        buffers: Sequence[Buffer],
        data: Sequence[Data],
        stop: Callable[[], bool],
        begin: Callable[[], bool] = lambda: True,
        patient: bool = True,
    ) -> bool:
        """Queues a message with buffers, to be flushed; large ones leave in pieces before it. False, and nothing is
        sent, where stop says so in between, or begin, which is asked when the buffers are taken. Who is not patient
        waits for the peer to read no longer than until stop says so. Errors are Session's.
        """
        with self.pieces:
            steps = self.session.send_buffers(buffers, *data)
            try:
                if not begin():
                    return False
                for _ in steps:
                    if patient:
                        self.flush(True)
                    else:
                        self._await_written(stop)
                    if self._broken or stop():
                        return False
            finally:
                steps.close()  # type: ignore[attr-defined]
        return True

    def _await_written(self, stop: Callable[[], bool]) -> None:
        """Waits until somebody else has written the outbox, or stop says so."""
        self.post()
        pause = 0.0001
        while (self.session.outbox or self._writing.locked()) and not self._broken and not stop():
            sleep(pause)
            pause = min(2 * pause, 0.005)

    def hush(self, on: bool) -> None:
        """Between the two calls the thread's own releases wake nobody: it flushes soon itself."""
        self._hushed = get_ident() if on else 0

    def _poke(self, urgent: bool) -> None:
        if self._hushed != get_ident():
            self._jobs.put(urgent)  # which may be called in the middle of anything

    def post(self) -> None:
        """Has the outbox written by somebody else, at once."""
        self._jobs.put(True)
        self.start()

    def later(self, job: Callable[[], object]) -> None:
        """Has a job done by the thread, from the middle of anything."""
        self._jobs.put(job)

    def start(self) -> None:
        """Makes the thread, if it is not there yet."""
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None and not self._broken:
                self._thread = threading.Thread(target=self._work, name="standpipe-writer", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE)
            except Empty:
                if self.session.maker is not None:
                    self.session.maker.trim()
                    self.flush()
                continue
            if job is None:
                return
            if callable(job):
                job()
            elif not job:
                sleep(_SOON)
            self.flush()

    def close(self) -> None:
        """Ends the connection. What was queued is still written, if the peer takes it within a second. Who waits for
        the connection fails.
        """
        if self.session.outbox and not self._broken:
            guard = threading.Timer(_CLOSE, self.conn.close)
            guard.daemon = True
            guard.start()
            self.flush(True)
            guard.cancel()
            guard.join()
        self._broken = True
        self.conn.close()
        self._jobs.put(None)

    def end(self) -> None:
        """Gives up the memory. It was closed, and nobody receives any more."""
        with self._starting:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        with self._writing:
            self.session.end()
