"""Connections and listeners on an event loop; on Windows the Proactor loop and the other one."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

import standpipe
from standpipe import ClosedError, InUseError, NoServerError, Policy, WrongServerError
from standpipe.aio._conn import AsyncConn, pipe
from standpipe.aio._dial import dial
from standpipe.aio._listen import AsyncListener, listen

Run = Callable[[Callable[[], Awaitable[None]]], None]

LOOPS = ["default"] if sys.platform != "win32" else ["default", "selector"]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    def run(body: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.SelectorEventLoop() if request.param == "selector" else asyncio.new_event_loop()
        try:
            loop.run_until_complete(asyncio.wait_for(body(), 600))
            assert not asyncio.all_tasks(loop)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    return run


async def receive(conn: AsyncConn, n: int) -> bytes:
    data = bytearray(n)
    view = memoryview(data)
    while view:
        got = await conn.recv_into(view)
        if not got:
            break
        view = view[got:]
    return bytes(data[: n - len(view)])


async def connect(listener: AsyncListener) -> tuple[AsyncConn, AsyncConn]:
    return await asyncio.gather(dial(listener.addr.name, timeout=300), listener.accept())


def test_pipe(run: Run) -> None:
    async def body() -> None:
        a, b = await pipe()
        async with a, b:
            await a.send([b"hello", b"", b" there"])
            assert await receive(b, 11) == b"hello there"
            await b.send([b"back"])
            assert await receive(a, 4) == b"back"
            assert a.identity == b.identity

    run(body)


def test_end(run: Run) -> None:
    async def body() -> None:
        a, b = await pipe()
        async with b:
            await a.send([b"last"])
            a.close()
            assert await receive(b, 100) == b"last"
            with pytest.raises(BrokenPipeError):
                for _ in range(100):
                    await b.send([bytes(1000)])
        with pytest.raises(ClosedError):
            await b.recv_into(memoryview(bytearray(1)))
        with pytest.raises(ClosedError):
            await b.send([b"x"])

    run(body)


def test_many_bytes_both_ways(run: Run) -> None:
    async def body() -> None:
        a, b = await pipe()
        data = bytes(range(256)) * 8192
        async with a, b:
            got = await asyncio.gather(
                a.send([data[:7], data[7:]]), b.send([data]), receive(a, len(data)), receive(b, len(data))
            )
            assert got[2] == got[3] == data

    run(body)


def test_many_parts(run: Run) -> None:
    async def body() -> None:
        a, b = await pipe()
        parts = [bytes([i % 251]) * (i % 300) for i in range(3000)]
        async with a, b:
            _, got = await asyncio.gather(a.send(parts), receive(b, sum(map(len, parts))))
            assert got == b"".join(parts)

    run(body)


def test_nothing_is_lost_by_cancelling(run: Run) -> None:
    async def body() -> None:
        a, b = await pipe()
        async with a, b:

            async def feed() -> None:
                for i in range(100):
                    await a.send([bytes([i])])
                    if i % 7 == 0:
                        await asyncio.sleep(0)
                    if i % 20 == 0:
                        await asyncio.sleep(0.005)

            feeder = asyncio.ensure_future(feed())
            got = bytearray()
            while len(got) < 100:
                room = bytearray(3)
                task = asyncio.ensure_future(b.recv_into(memoryview(room)))
                await asyncio.wait([task], timeout=0.001)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    got += room[: await task]
            await feeder
            assert got == bytes(range(100))

    run(body)


def test_a_send_that_is_cancelled_closes(run: Run) -> None:
    async def body() -> None:
        a, b = await pipe()
        async with a, b:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(a.send([bytes(10 << 20)]), 0.05)
            assert a.closed
            assert len(await receive(b, 10 << 20)) < 10 << 20

    run(body)


def test_close_ends_what_waits(run: Run) -> None:
    async def body() -> None:
        a, b = await pipe()
        tasks = [
            asyncio.ensure_future(a.recv_into(memoryview(bytearray(1)))),
            asyncio.ensure_future(a.send([bytes(10 << 20)])),
        ]
        await asyncio.sleep(0.05)
        a.close()
        a.close()
        for task in tasks:
            with pytest.raises(ClosedError):
                await task
        b.close()

    run(body)


def test_round_trip(run: Run, name: str) -> None:
    async def body() -> None:
        async with await listen(name) as listener:
            client, server = await connect(listener)
            async with client, server:
                await client.send([b"ping"])
                assert await receive(server, 4) == b"ping"
                assert client.addr == server.addr == listener.addr
                assert Policy().admits(client.identity) and Policy().admits(server.identity)
            with pytest.raises(InUseError):
                await listen(name)
        with pytest.raises(NoServerError):
            await dial(name)

    run(body)


def test_wait_and_serve(run: Run, name: str) -> None:
    async def body() -> None:
        async def serve() -> None:
            await asyncio.sleep(0.05)
            async with await listen(name) as listener:
                async for conn in listener:
                    async with conn:
                        await conn.send([b"x"])
                        assert await receive(conn, 1) == b""
                    listener.close()

        server = asyncio.ensure_future(serve())
        async with await dial(name, wait=True, timeout=300) as conn:
            assert await receive(conn, 1) == b"x"
        await server
        with pytest.raises(NoServerError):
            await dial(name, wait=True, timeout=0.03)

    run(body)


def test_close_ends_accept(run: Run, name: str) -> None:
    async def body() -> None:
        listener = await listen(name)
        waiting = [asyncio.ensure_future(listener.accept()) for _ in range(3)]
        await asyncio.sleep(0.05)
        listener.close()
        for task in waiting:
            with pytest.raises(ClosedError):
                await task
        with pytest.raises(ClosedError):
            await listener.accept()

    run(body)


def test_an_accept_that_is_cancelled_loses_nobody(run: Run, name: str) -> None:
    async def body() -> None:
        async with await listen(name) as listener:
            for _ in range(3):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(listener.accept(), 0.02)
            client, server = await connect(listener)
            client.close()
            server.close()

    run(body)


def test_max_conns(run: Run, name: str) -> None:
    async def body() -> None:
        async with await listen(name, max_conns=1) as listener:
            client, server = await connect(listener)
            second = asyncio.ensure_future(connect(listener))
            await asyncio.sleep(0.1)
            assert not second.done()
            server.close()
            client2, server2 = await second
            for conn in (client, client2, server2):
                conn.close()

    run(body)


def test_server_that_is_not_admitted(run: Run, name: str) -> None:
    async def body() -> None:
        async with await listen(name) as listener:
            coming = asyncio.ensure_future(listener.accept())
            stranger = "S-1-5-21-1-2-3-4" if listener.addr.network == "pipe" else "54321"
            with pytest.raises(WrongServerError):
                await dial(name, policy=Policy.user(stranger), timeout=300)
            async with await coming as conn:
                assert await receive(conn, 1) == b""

    run(body)


def test_a_crowd(run: Run, name: str) -> None:
    async def body() -> None:
        async with await listen(name) as listener:

            async def answer(conn: AsyncConn) -> None:
                async with conn:
                    await conn.send([await receive(conn, 3)])
                    await receive(conn, 1)

            answers = []

            async def serve() -> None:
                async for conn in listener:
                    answers.append(asyncio.ensure_future(answer(conn)))

            async def use(n: int) -> None:
                async with await dial(name, timeout=300) as conn:
                    await conn.send([f"{n:03}".encode()])
                    assert await receive(conn, 3) == f"{n:03}".encode()

            serving = asyncio.ensure_future(serve())
            await asyncio.gather(*(use(n) for n in range(20)))
            await asyncio.gather(*answers)
            listener.close()
            await serving

    run(body)


def test_threads_at_the_other_end(run: Run, name: str) -> None:
    async def body() -> None:
        async with await listen(name) as listener:

            def client() -> None:
                with standpipe.connect(name, timeout=300) as conn:
                    conn.send([b"from a thread"])
                    conn.recv_into(memoryview(bytearray(1)))

            thread = threading.Thread(target=client)
            thread.start()
            async with await listener.accept() as conn:
                assert await receive(conn, 13) == b"from a thread"
            await asyncio.get_running_loop().run_in_executor(None, thread.join)
            await asyncio.get_running_loop().shutdown_default_executor()

    run(body)


@pytest.mark.skipif(sys.platform == "win32", reason="on Windows handles travel as values")
def test_descriptors(run: Run) -> None:
    async def body() -> None:
        a, b = await pipe()
        async with a, b:
            r, w = os.pipe()
            await a.send([b"x"], [w])
            os.close(w)
            assert await receive(b, 1) == b"x"
            (w,) = b.take_handles()
            os.write(w, b"y")
            assert os.read(r, 1) == b"y"
            os.close(r)
            os.close(w)

    run(body)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_loop_that_is_closed_first(name: str) -> None:
    """What is left open then is closed by the collector."""

    async def body() -> AsyncConn:
        a, b = await pipe()
        b.close()
        waiting = asyncio.ensure_future(a.recv_into(memoryview(bytearray(1))))
        await asyncio.sleep(0.01)
        await waiting
        return a

    conn = asyncio.run(body())
    conn.close()
