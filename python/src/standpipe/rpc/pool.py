"""Threads for handlers: as many as run at once, kept for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

_IDLE = 5.0  # seconds that a thread waits for more


class Pool:
    """Runs jobs, each at once in a thread of its own. Several threads may submit."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def submit(self, job: Callable[[], object]) -> None:
        """Runs a job, whose errors are its own affair. RuntimeError where the system starts no further thread."""
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
                self._jobs.put(job)
                return
            thread = threading.Thread(target=self._work, args=(job,), name=self._name, daemon=True)
            self._threads.add(thread)
        try:
            thread.start()
        except BaseException:
            with self._lock:
                self._threads.discard(thread)
            raise

    def _work(self, job: Callable[[], object]) -> None:
        while True:
            job()
            del job  # it holds what it was about
            with self._lock:
                if self._closed:
                    self._threads.discard(threading.current_thread())
                    return
                self._idle += 1
            more = self._next()
            if more is None:
                return
            job = more
            del more

    def _next(self) -> Callable[[], object] | None:
        try:
            return self._jobs.get(timeout=_IDLE)
        except Empty:
            pass
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
                self._threads.discard(threading.current_thread())
                return None
        return self._jobs.get()  # somebody has counted on this thread

    def close(self) -> None:
        """Waits for the jobs that run. No more may be submitted."""
        with self._lock:
            self._closed = True
            for _ in range(self._idle):
                self._jobs.put(None)
            self._idle = 0
            threads = list(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()
