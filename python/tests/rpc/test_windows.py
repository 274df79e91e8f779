"""What is Windows' alone."""

from __future__ import annotations

import sys

import pytest

if sys.platform != "win32":
    pytest.skip("handles that are handed over by value", allow_module_level=True)
assert sys.platform == "win32"

import asyncio

import standpipe
from standpipe import Server, aio
from standpipe.aio._conn import pipe

from ..room.conftest import eventually, open_handles

HELLO = b"standpipe 1\nmax-message: 65536\nmax-buffers: 10000000\ncodecs: msgpack\nshare: section\n\n"
BUFFERS = 20


def test_client_that_has_not_received(server: Server) -> None:
    """What a server has put into its client's process does not stay there when the client has gone."""
    client, end = standpipe.pipe()
    with client, server.attach(end) as peer:
        before = open_handles()
        client.send([HELLO])
        buffers = [peer.new_buffer(100_000, timeout=10) for _ in range(BUFFERS)]
        assert all(b.shared for b in buffers)
        for b in buffers:
            b.release()
        assert open_handles() >= before + BUFFERS
        client.close()
        assert peer.join(10)
    eventually(lambda: open_handles() < before + BUFFERS / 2, f"about {before}", open_handles)


def test_client_of_asyncio_that_has_not_received() -> None:
    async def main() -> None:
        async with aio.Server() as server:
            client, end = await pipe()
            peer = server.attach(end)
            before = open_handles()
            await client.send([HELLO])
            buffers = [await peer.new_buffer(100_000, timeout=10) for _ in range(BUFFERS)]
            assert all(b.shared for b in buffers)
            for b in buffers:
                b.release()
            assert open_handles() >= before + BUFFERS
            client.close()
            while open_handles() >= before + BUFFERS / 2:
                await asyncio.sleep(0.05)

    asyncio.run(asyncio.wait_for(main(), 60))
