"""Connections, on every system."""

from __future__ import annotations

import gc
import threading
import time
import warnings
from contextlib import suppress

import pytest

import standpipe
from standpipe import ClosedError, Conn, Interrupted

from .conftest import Background


def receive(conn: Conn, n: int) -> bytes:
    data = bytearray(n)
    view = memoryview(data)
    while view:
        got = conn.recv_into(view, 300)
        if not got:
            break
        view = view[got:]
    return bytes(data[: n - len(view)])


def waits(thread: threading.Thread) -> None:
    """Give a thread time to get to where it waits. A test must pass also where it has not."""
    time.sleep(0.05)
    assert thread.is_alive()


def test_pipe() -> None:
    a, b = standpipe.pipe()
    with a, b:
        a.send([b"hello", b"", bytearray(b", "), memoryview(b"world")])
        assert receive(b, 12) == b"hello, world"
        b.send([b"back"])
        assert receive(a, 4) == b"back"
        assert a.identity.user == b.identity.user != ""
        assert a.addr is None


def test_end() -> None:
    a, b = standpipe.pipe()
    with b:
        a.send([b"last"])
        a.close()
        assert receive(b, 100) == b"last"
        assert b.recv_into(memoryview(bytearray(1))) == 0
        with pytest.raises(BrokenPipeError):
            for _ in range(100):
                b.send([bytes(1000)])


def test_end_with_something_unread() -> None:
    a, b = standpipe.pipe()
    with b:
        b.send([b"never read"])
        a.close()
        assert b.recv_into(memoryview(bytearray(1)), 300) == 0


def test_many_bytes_both_ways(background: Background) -> None:
    a, b = standpipe.pipe()
    data = bytes(range(256)) * 8192
    with a, b:
        background(a.send, [data[:7], data[7:]])
        background(b.send, [data])
        got: list[bytes] = []
        reader = background(lambda: got.append(receive(a, len(data))))
        assert receive(b, len(data)) == data
        reader.join()
        assert got == [data]


def test_many_parts(background: Background) -> None:
    a, b = standpipe.pipe()
    with a, b:
        parts = [bytes([i % 251]) * (i % 300) for i in range(3000)]
        background(a.send, parts)
        want = b"".join(parts)
        assert receive(b, len(want)) == want


def test_parts_of_other_formats() -> None:
    a, b = standpipe.pipe()
    with a, b:
        a.send([memoryview(bytes(8)).cast("Q"), b"x"])
        assert receive(b, 9) == bytes(8) + b"x"


def test_timeout() -> None:
    a, b = standpipe.pipe()
    with a, b:
        one = memoryview(bytearray(1))
        with pytest.raises(TimeoutError):
            b.recv_into(one, 0)
        with pytest.raises(TimeoutError):
            b.recv_into(one, 0.02)
        a.send([b"x"])
        assert b.recv_into(one, 300) == 1
        a.send([b"y"])
        time.sleep(0.05)
        assert b.recv_into(one, 0) == 1


def test_nothing_is_lost_by_timeouts(background: Background) -> None:
    a, b = standpipe.pipe()
    with a, b:

        def slowly() -> None:
            for i in range(200):
                a.send([bytes([i])])
                if i % 20 == 0:
                    time.sleep(0.003)

        background(slowly)
        got = b""
        one = bytearray(1)
        while len(got) < 200:
            try:
                assert b.recv_into(memoryview(one), 0.001) == 1
                got += one
            except TimeoutError:
                pass
        assert got == bytes(range(200))


def test_close_ends_receive(background: Background) -> None:
    a, b = standpipe.pipe()
    with a:
        got: list[BaseException] = []

        def wait() -> None:
            with pytest.raises(ClosedError) as e:
                b.recv_into(memoryview(bytearray(1)))
            got.append(e.value)

        waits(background(wait))
        b.close()
    for use in (lambda: b.recv_into(memoryview(bytearray(1))), lambda: b.send([b"x"])):
        with pytest.raises(ClosedError):
            use()
    b.close()
    assert b.closed


def test_close_ends_send(background: Background) -> None:
    a, b = standpipe.pipe()
    with b:

        def fill() -> None:
            with pytest.raises(ClosedError):
                while True:
                    a.send([bytes(100_000)])

        waits(background(fill))
        a.close()


def test_peer_that_closes_ends_send(background: Background) -> None:
    a, b = standpipe.pipe()
    with a:

        def fill() -> None:
            with pytest.raises(BrokenPipeError):
                while True:
                    a.send([bytes(100_000)])

        thread = background(fill)
        waits(thread)
        b.close()
        thread.join(300)


def test_close_in_a_storm(background: Background) -> None:
    for _ in range(30):
        a, b = standpipe.pipe()

        def use(conn: Conn, send: bool) -> None:
            room = memoryview(bytearray(1000))
            try:
                while True:
                    if send:
                        conn.send([b"some bytes"])
                    elif not conn.recv_into(room):
                        return
            except (ClosedError, BrokenPipeError):
                return

        threads = [background(use, conn, send) for conn in (a, b) for send in (False, True)]
        closers = [background(conn.close) for conn in (a, b, a, b)]
        for t in threads + closers:
            t.join(300)
        a.close()
        b.close()


def test_wake(background: Background) -> None:
    a, b = standpipe.pipe()
    with a, b:

        def wait() -> None:
            with pytest.raises(Interrupted):
                b.recv_into(memoryview(bytearray(1)))

        thread = background(wait)
        waits(thread)
        b.wake()
        thread.join()
        b.wake()
        b.wake()
        with pytest.raises(Interrupted):
            b.recv_into(memoryview(bytearray(1)), 300)
        a.send([b"x"])
        assert receive(b, 1) == b"x"
    b.wake()


def test_wake_before_anybody_ever_waited() -> None:
    a, b = standpipe.pipe()
    with a, b:
        a.send([b"x"])
        b.wake()
        with pytest.raises(Interrupted):
            b.recv_into(memoryview(bytearray(1)))
        assert receive(b, 1) == b"x"


def test_nothing_is_lost_by_wakes(background: Background) -> None:
    a, b = standpipe.pipe()
    with a, b:
        over = threading.Event()

        def wake() -> None:
            while not over.is_set():
                b.wake()
                time.sleep(0.0005)

        background(wake)

        def feed() -> None:
            for i in range(1000):
                a.send([bytes([i % 256])])

        background(feed)
        got = bytearray()
        room = bytearray(7)
        while len(got) < 1000:
            with suppress(Interrupted):
                got += room[: b.recv_into(memoryview(room), 300)]
        over.set()
        assert got == bytes(i % 256 for i in range(1000))


def test_forgotten() -> None:
    a, b = standpipe.pipe()
    with a:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del b
            gc.collect()
        assert [w.category for w in caught] == [ResourceWarning]
        assert a.recv_into(memoryview(bytearray(1)), 300) == 0
