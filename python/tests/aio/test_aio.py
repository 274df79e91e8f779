"""Peers and servers of asyncio, with each other and with those of threads."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import standpipe
from standpipe import Buffer, Code, Error, aio, current
from standpipe.aio._conn import AsyncConn, pipe

ended: list[str] = []


def make_server(**options: Any) -> aio.Server:
    ended.clear()
    server = aio.Server(**options)

    @server.method
    async def echo(v: Any) -> Any:
        return v

    @server.method
    def blocking(v: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        return v + len(current().method)

    @server.method
    async def hang() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("hang")
            raise

    @server.method
    async def count(n: int) -> AsyncIterator[int]:
        try:
            for i in range(n):
                yield i
        finally:
            ended.append("count")

    @server.method
    def count_in_a_thread(n: int) -> Iterator[int]:
        yield from range(n)

    @server.method
    async def add(values: AsyncIterator[int]) -> int:
        return sum([v async for v in values])

    @server.method
    async def chat(stream: aio.Stream[str, str]) -> None:
        current().set_header({"h": "1"})
        current().set_trailer({"t": "2"})
        async for word in stream:
            if word == "fail":
                raise Error(Code.ABORTED, "as asked")
            await stream.send(word.upper())

    @server.method
    async def double(v: Buffer) -> Buffer:
        out: Buffer = await current().peer.new_buffer(len(v))
        out.view[:] = bytes(2 * x % 256 for x in v.view)
        return out

    @server.method
    async def there_and_back(n: int) -> int:
        return int(await current().peer.call("back", n)) + 1

    @server.method
    async def fail() -> None:
        raise KeyError("secret")

    return server


@asynccontextmanager
async def pair(back: aio.Server | None = None, **options: Any) -> AsyncIterator[aio.Peer]:
    a, b = standpipe.pipe()
    async with make_server(**options) as server:
        server.attach(AsyncConn(b))
        async with await aio.attach(AsyncConn(a), server=back) as peer:
            yield peer


Body = Callable[[aio.Peer], Awaitable[None]]


async def until(ready: Callable[[], bool]) -> None:
    for _ in range(2000):
        if ready():
            return
        gc.collect()
        await asyncio.sleep(0.005)
    raise AssertionError(f"it does not come: {ended}")


async def test_calls() -> None:
    async with pair() as peer:
        for v in (None, 1, "é", b"\0" * 100_000, {"a": [1, {"b": 2.5}]}):
            assert await peer.call("echo", v) == v
        assert await peer.call("blocking", 1, returns=int) == 9
        assert await asyncio.gather(*(peer.call("echo", i) for i in range(500))) == list(range(500))
        with pytest.raises(Error) as e:
            await peer.call("nothing")
        assert e.value.code is Code.UNIMPLEMENTED
        with pytest.raises(Error) as e:
            await peer.call("fail")
        assert (e.value.code, "secret" in str(e.value)) == (Code.INTERNAL, False)
        assert {
            "name": "add",
            "kind": "stream",
            "in": {"type": "integer"},
            "out": {"type": "integer"},
        } in await peer.describe()


async def test_streams() -> None:
    async with pair() as peer:
        assert [v async for v in peer.open("count", 1000)] == list(range(1000))
        assert [v async for v in peer.open("count_in_a_thread", 10)] == list(range(10))
        async with peer.open("add") as stream:
            for i in range(100):
                await stream.send(i)
            await stream.close_send()
            assert [v async for v in stream] == [4950]
        async with peer.open("chat") as stream:
            await stream.send("a")
            assert (await stream.header()).text("h") == "1"
            assert await stream.recv() == "A"
            await stream.close_send()
            with pytest.raises(EOFError):
                await stream.recv()
            assert stream.trailer.text("t") == "2"
        async with peer.open("chat") as stream:
            with pytest.raises(TimeoutError):
                await stream.recv(timeout=0.01)
            await stream.send("fail")
            with pytest.raises(Error) as e:
                await stream.recv()
            assert e.value.code is Code.ABORTED


async def test_cancel() -> None:
    async with pair() as peer:
        task = asyncio.create_task(peer.call("hang"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: ended == ["hang"])
        with pytest.raises(standpipe.DeadlineError):
            await peer.call("hang", timeout=0.05)
        await until(lambda: ended == ["hang", "hang"])
        async for v in peer.open("count", 1 << 30):
            assert v == 0
            break
        await until(lambda: ended == ["hang", "hang", "count"])
        stream = peer.open("count", 1 << 30)
        await stream.recv()
        await stream.close()
        await until(lambda: ended == ["hang", "hang", "count", "count"])


async def test_more_calls_than_run_at_once() -> None:
    async with pair(max_calls=16) as peer:
        hanging = [asyncio.create_task(peer.call("hang")) for _ in range(16)]
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(peer.call("echo", 1))
        stream = peer.open("count", 3)
        with pytest.raises(standpipe.DeadlineError):
            await peer.call("echo", 2, timeout=0.02)
        for task in hanging:
            task.cancel()
        await asyncio.wait(hanging)
        assert await waiting == 1
        assert [v async for v in stream] == [0, 1, 2]


async def test_buffers() -> None:
    async with pair() as peer:
        for size in (0, 100, 100_000, 1 << 20):
            for _ in range(3):
                b = await peer.new_buffer(size)
                b.view[:] = bytes(i % 128 for i in range(size))
                with await peer.call("double", b, returns=Buffer) as got:
                    assert got.copy() == bytes(2 * (i % 128) for i in range(size))
                assert not b.valid


async def test_buffers_in_pieces() -> None:
    a, b = standpipe.pipe()
    a.can_share = b.can_share = False
    async with make_server() as server:
        server.attach(AsyncConn(b))
        async with await aio.attach(AsyncConn(a)) as peer:
            sent = await peer.new_buffer(3 << 20)
            got, one = await asyncio.gather(peer.call("double", sent, returns=Buffer), peer.call("echo", 1))
            assert (len(got), one) == (3 << 20, 1)


async def test_callbacks() -> None:
    back = aio.Server()

    @back.method("back")
    async def _(n: int) -> int:
        return int(await current().peer.call("there_and_back", n - 1)) if n else 0

    async with pair(back) as peer:
        assert await peer.call("there_and_back", 5) == 6


async def test_end_of_the_connection() -> None:
    async with pair() as peer:
        task = asyncio.create_task(peer.call("hang"))
        await asyncio.sleep(0.05)
        await peer.close()
        with pytest.raises(standpipe.UnavailableError):
            await task
        await until(lambda: ended == ["hang"])
        with pytest.raises(standpipe.UnavailableError):
            await peer.call("echo")


async def test_with_threads() -> None:
    """A peer of threads at a server of asyncio, and the other way round."""
    a, b = standpipe.pipe()
    async with make_server() as server:
        server.attach(AsyncConn(b))

        def client() -> Any:
            with standpipe.attach(a) as peer:
                return peer.call("echo", 1), list(peer.open("count", 10))

        assert await asyncio.to_thread(client) == (1, list(range(10)))
    a, b = standpipe.pipe()
    with standpipe.Server() as threads:

        @threads.method
        def echo(v: Any) -> Any:
            return v

        threads.attach(b)
        async with await aio.attach(AsyncConn(a)) as peer:
            assert await asyncio.gather(*(peer.call("echo", i) for i in range(100))) == list(range(100))
        await asyncio.to_thread(threads.close)


async def test_serve(name: str) -> None:
    server = make_server()
    serving = asyncio.create_task(server.serve(name))
    async with aio.dial(name, wait=True, timeout=20) as peer:
        assert await peer.call("echo", 1) == 1
        assert peer.identity.pid > 0
    peer = await aio.dial(name)
    task = asyncio.create_task(peer.call("hang"))
    await asyncio.sleep(0.05)
    await server.close()
    await serving
    with pytest.raises(Error):
        await task
    await peer.join()
    await peer.close()
    with pytest.raises(standpipe.NoServerError):
        await aio.dial(name)


def test_new_buffer_before_the_hello() -> None:
    async def main() -> None:
        async with aio.Server() as server:
            a, b = await pipe()
            peer = server.attach(b)
            with pytest.raises(TimeoutError, match="hello"):
                await peer.new_buffer(100, timeout=0.05)
            await a.send([b"standpipe 1\nmax-message: 65536\nmax-buffers: 1000\ncodecs: msgpack\n\n"])
            assert len(await peer.new_buffer(100, timeout=10)) == 100
            a.close()

    asyncio.run(main())
