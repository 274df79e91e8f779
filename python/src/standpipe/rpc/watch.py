"""Who reads for a server while its reader runs a handler that takes long."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from .pool import Pool

if TYPE_CHECKING:
    from .peer import Peer

_TICK = 0.001  # seconds from one look at handlers that the reader runs to the next, at least,
_MOST_TICK = 0.008  # and at most: while all goes well
_IDLE_TICKS = 50  # looks without anything to see, until there are no more


class Watch:
    """Sees to it that somebody reads where the reader runs a handler that takes long. It looks only while there is
    something to see.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._peers: dict[Peer, int] = {}
        self._asleep = True
        self._wake = threading.Event()
        self._closed = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def look(self, peer: Peer) -> None:
        """The reader of a peer is about to run a handler."""
        if peer not in self._peers:
            with self._lock:
                self._peers[peer] = 0
        if self._asleep:
            with self._lock:
                self._asleep = False
                if self._thread is None and not self._closed:
                    self._thread = threading.Thread(target=self._work, name="standpipe-watch", daemon=True)
                    self._thread.start()
            self._wake.set()

    def _work(self) -> None:
        pause, idle = _TICK, 0
        while not self._closed:
            self._wake.wait(pause if not self._asleep else None)
            self._wake.clear()
            stuck, moved = self._round()
            for peer in stuck:
                self._help(peer)
            pause = min(2 * pause, _MOST_TICK) if moved and not stuck else _TICK
            idle = 0 if moved or stuck else idle + 1
            if idle > _IDLE_TICKS:
                idle = 0
                self._asleep = True
                if any(peer.aside for peer in list(self._peers)):  # it came before it could see that
                    self._asleep = False

    def _help(self, peer: Peer) -> None:
        """A handler takes long: what waits behind it goes elsewhere, what was answered before it is written, and
        another thread reads.
        """
        assert peer.server is not None
        try:
            while True:
                peer.server.run_elsewhere(peer, peer.inline.popleft())
        except IndexError:
            pass
        peer.channel.post()
        try:
            self._pool.submit(partial(peer.server.read_on, peer))
        except (
            RuntimeError
        ):  # no thread can be started: the reader goes on when it comes back, or the next look tries again
            peer.aside.append(None)

    def _round(self) -> tuple[list[Peer], bool]:
        stuck, moved = [], False
        with self._lock:
            for peer, seen in list(self._peers.items()):
                if peer.error is not None:
                    del self._peers[peer]
                elif peer.ran != seen:
                    self._peers[peer] = peer.ran
                    moved = True
                elif peer.aside:
                    try:
                        peer.aside.pop()
                    except IndexError:
                        continue  # its reader has just come back
                    stuck.append(peer)
        return stuck, moved

    def close(self) -> None:
        self._closed = True
        self._asleep = False
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
