"""Faults that the asyncio side once had."""

from __future__ import annotations

import asyncio
import struct
import sys
import threading
import time

import pytest

from standpipe import aio
from standpipe.aio._conn import pipe

if sys.platform == "win32":
    pytest.skip("it is of Unix sockets", allow_module_level=True)

HELLO = b"standpipe 1\nmax-message: 65536\nmax-buffers: 0\ncodecs: msgpack\n\n"


def frame(body: bytes) -> bytes:
    return struct.pack("<IBBH", len(body), 1, 0, 0) + body


def opened(number: int, method: bytes, value: bytes) -> bytes:
    return frame(struct.pack("<IBBBB", number, 1, 1, 0, len(method)) + method + value)


def cancel(number: int) -> bytes:
    return frame(struct.pack("<IBBBB", number, 3, 0, 1, 0))


def test_open_and_cancel_at_once() -> None:
    async def main() -> None:
        async with aio.Server() as server:

            @server.method
            async def one() -> int:
                return 1

            a, b = await pipe()
            peer = server.attach(b)
            await a.send([HELLO + b"".join(opened(n, b"one", b"\xc0") + cancel(n) for n in range(1, 101, 2))])
            await asyncio.sleep(0.3)
            busy = peer.calls.busy
            a.close()
            assert busy == 0

    asyncio.run(main())


def test_a_flood_does_not_hold_up_the_loop() -> None:
    async def main() -> None:
        async with aio.Server() as server:
            a, b = await pipe()
            server.attach(b)
            sock = a._conn._end.sock.dup()
            sock.setblocking(True)
            until = time.monotonic() + 4

            def flood() -> None:
                small = struct.pack("<IBBH", 0, 200, 0, 0) * 8192  # frames that are ignored
                sock.sendall(HELLO)
                try:
                    while time.monotonic() < until:
                        sock.sendall(small)
                except OSError:
                    pass

            t = threading.Thread(target=flood, daemon=True)
            t.start()
            worst, last = 0.0, time.monotonic()
            while last < until - 1:
                await asyncio.sleep(0.01)
                now = time.monotonic()
                worst, last = max(worst, now - last), now
            a.close()
            sock.close()
            await asyncio.get_running_loop().run_in_executor(None, t.join)
            assert worst < 1.0

    asyncio.run(main())


def test_a_slow_hello(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("standpipe.aio.peer._HELLO", 0.5)

    async def main() -> None:
        async with aio.Server() as server:
            a, b = await pipe()
            peer = server.attach(b)
            try:
                for i in range(8):
                    await a.send([HELLO[i : i + 1]])
                    await asyncio.sleep(0.2)
            except OSError:
                pass
            closed = peer.closed
            a.close()
            assert closed

    asyncio.run(main())


def test_the_time_of_a_call_with_buffers_is_kept() -> None:
    async def main() -> None:
        a, b = await pipe()
        await b.send([b"standpipe 1\nmax-message: 65536\nmax-buffers: 100000000\ncodecs: msgpack\n\n"])
        peer = await aio.attach(a)
        big = await peer.new_buffer(8 << 20)
        call = asyncio.ensure_future(peer.call("x", big, timeout=0.5))
        done, pending = await asyncio.wait([call], timeout=4)
        for c in pending:
            c.cancel()
        for c in done:
            c.exception()
        b.close()
        await peer.close()
        assert not pending

    asyncio.run(main())


def test_flush_of_what_has_ended() -> None:
    """Who sends pieces when the connection has ended is not left waiting."""

    async def main() -> None:
        async with aio.Server() as server:
            a, b = await pipe()
            peer = server.attach(b)
            await a.send([HELLO])
            await peer.close()
            await asyncio.wait_for(peer.flush(), 5)
            a.close()

    asyncio.run(main())


def test_pings_of_one_who_does_not_read() -> None:
    async def main() -> None:
        async with aio.Server() as server:
            a, b = await pipe()
            peer = server.attach(b)
            pings = frame(struct.pack("<IBBBB", 0, 6, 0, 0, 0)) * 4096
            await a.send([HELLO])
            try:
                for _ in range(40):
                    await asyncio.wait_for(a.send([pings]), 2)
                    await asyncio.sleep(0)
            except (OSError, asyncio.TimeoutError):
                pass
            waiting = len(peer.session.outbox)
            a.close()
            assert waiting < 20_000

    asyncio.run(main())
