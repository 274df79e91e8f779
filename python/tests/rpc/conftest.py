"""What the tests of calls share: a server and a peer, and a look at what they leave behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import standpipe

from ..room.conftest import eventually, leaks, name, place

__all__ = ["eventually", "leaks", "name", "place"]


@pytest.fixture
def server(leaks: None) -> Iterator[standpipe.Server]:
    with standpipe.Server() as s:
        yield s


Connect = Callable[..., standpipe.Peer]


@pytest.fixture
def connect(server: standpipe.Server) -> Iterator[Connect]:
    """Makes a peer of the server."""
    peers: list[standpipe.Peer] = []

    def make(back: standpipe.Server | None = None) -> standpipe.Peer:
        a, b = standpipe.pipe()
        server.attach(b)
        peer = standpipe.attach(a, server=back)
        peers.append(peer)
        return peer

    yield make
    for peer in peers:
        peer.close()
