"""What a server of asyncio tells of itself: as one of threads does."""

from __future__ import annotations

import asyncio

import standpipe

from ..rpc.test_stats import SCHEMA, as_the_schema_says, method
from .test_aio import pair, until


async def test_stats() -> None:
    async with pair() as peer:
        for i in range(20):
            assert await peer.call("echo", i) == i
        assert [n async for n in peer.open("count", 3)] == [0, 1, 2]
        hanging = asyncio.create_task(peer.call("hang"))
        stats = await peer.call("standpipe.stats")
        as_the_schema_says(stats, SCHEMA)
        echo, count, hang = (method(stats, name) for name in ("echo", "count", "hang"))
        assert (echo["kind"], echo["calls"], echo["open"], echo["errors"]) == ("unary", 20, 0, {})
        assert (count["kind"], count["calls"]) == ("stream", 1)
        assert (hang["calls"], hang["open"]) == (1, 1)
        [connection] = stats["connections"]
        assert connection["self"] and connection["open"] == 2 and connection["calls"] == 23
        assert 0 < stats["sent"] == connection["sent"] and 0 < stats["received"] == connection["received"]
        hanging.cancel()
        found: list[dict[str, int]] = []

        async def look() -> None:
            found[:] = [method(await peer.call("standpipe.stats"), "hang")["errors"]]

        for _ in range(500):
            await look()
            if found[0]:
                break
            await asyncio.sleep(0.01)
        assert found == [{"Canceled": 1}]


async def test_who_has_gone_is_counted() -> None:
    server = standpipe.aio.Server()

    @server.method
    async def echo(v: int) -> int:
        return v

    async with server:
        for i in range(3):
            a, b = standpipe.pipe()
            server.attach(standpipe.aio._conn.AsyncConn(b))
            async with await standpipe.aio.attach(standpipe.aio._conn.AsyncConn(a)) as peer:
                assert await peer.call("echo", i) == i
        await until(lambda: server.stats()["connected"] == 0)
        stats = server.stats()
        assert (stats["accepted"], method(stats, "echo")["calls"]) == (3, 3)
        assert stats["connections"] == []
