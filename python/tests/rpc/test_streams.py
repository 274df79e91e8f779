"""Streams between a Peer and a Server of threads."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import standpipe
from standpipe import Code, Error, Server, Stream, current

from .conftest import Connect, eventually

ended: list[str] = []


@pytest.fixture(autouse=True)
def methods(server: Server) -> None:
    ended.clear()

    @server.method
    def count(n: int) -> Iterator[int]:
        try:
            yield from range(n)
        finally:
            ended.append("count")

    @server.method
    def add(values: Iterator[int]) -> int:
        return sum(values)

    @server.method
    def double(values: Iterator[int]) -> Iterator[int]:
        for v in values:
            yield 2 * v

    @server.method
    def chat(stream: Stream[str, str]) -> None:
        current().set_header({"h": "1"})
        current().set_trailer({"t": "2"})
        for word in stream:
            if word == "fail":
                raise Error(Code.ABORTED, "as asked")
            if word == "bye":
                return
            stream.send(word.upper())

    @server.method
    def forever(size: int) -> Iterator[bytes]:
        try:
            while True:
                yield bytes(size)
        finally:
            ended.append("forever")


def test_shapes(connect: Connect) -> None:
    peer = connect()
    assert list(peer.open("count", 1000, returns=int)) == list(range(1000))
    stream = peer.open("add")
    for i in range(100):
        stream.send(i)
    stream.close_send()
    assert list(stream) == [4950]
    stream = peer.open("double")
    for i in range(100):
        stream.send(i)
        assert stream.recv() == 2 * i
    stream.close_send()
    assert list(stream) == []
    with pytest.raises(EOFError):
        stream.recv()


def test_header_and_trailer(connect: Connect) -> None:
    with connect().open("chat") as stream:
        stream.send("a")
        assert stream.header().text("h") == "1"
        assert stream.recv() == "A"
        assert not stream.trailer
        stream.close_send()
        assert list(stream) == []
        assert stream.trailer.text("t") == "2"
        with pytest.raises(Error) as e:
            stream.send("late")
        assert e.value.code is Code.FAILED_PRECONDITION
    with connect().open("chat") as stream:
        stream.send("bye")
        assert list(stream) == []
        with pytest.raises(EOFError):
            stream.send("late")


def test_errors(connect: Connect) -> None:
    peer = connect()
    stream = peer.open("chat")
    stream.send("fail")
    with pytest.raises(Error) as e:
        stream.recv()
    assert e.value.code is Code.ABORTED
    with pytest.raises(Error) as e:
        list(peer.open("count", "many"))
    assert (e.value.code, "in: expected int" in e.value.message) == (Code.INVALID_ARGUMENT, True)
    with pytest.raises(Error) as e:
        list(peer.open("standpipe.describe", None))
    assert e.value.code is Code.UNIMPLEMENTED
    with pytest.raises(Error) as e:
        peer.call("count", 1)
    assert e.value.code is Code.UNIMPLEMENTED
    stream = peer.open("chat")
    with pytest.raises(Error) as e:
        stream.send(object())
    assert e.value.code is Code.INVALID_ARGUMENT
    stream.send("goes on")
    assert stream.recv() == "GOES ON"
    stream.close_send()
    with pytest.raises(Error) as e:
        stream.send("x")
    assert e.value.code is Code.FAILED_PRECONDITION


def test_leaving_the_loop_cancels(connect: Connect) -> None:
    peer = connect()
    for v in peer.open("forever", 10):
        assert v == bytes(10)
        break
    gc.collect()
    eventually(lambda: ended == ["forever"], "the generator was closed", lambda: ended)
    stream = peer.open("forever", 10)
    stream.recv()
    stream.close()
    stream.close()
    eventually(lambda: ended == ["forever"] * 2, "the generator was closed", lambda: ended)
    with pytest.raises(Error) as e:
        stream.recv()
    assert e.value.code is Code.CANCELED


def test_close_ends_a_recv(server: Server, connect: Connect) -> None:
    @server.method
    def silent(stream: Stream[Any, Any]) -> None:
        current().wait()

    stream = connect().open("silent")
    failed: list[Code] = []

    def body() -> None:
        try:
            stream.recv()
        except Error as e:
            failed.append(e.code)

    thread = threading.Thread(target=body)
    thread.start()
    time.sleep(0.05)
    stream.close()
    thread.join(20)
    assert failed == [Code.CANCELED]


def test_a_slow_reader_holds_up_its_stream_alone(connect: Connect) -> None:
    peer = connect()
    slow = peer.open("forever", 1000)
    time.sleep(0.1)
    assert list(peer.open("count", 10)) == list(range(10))
    for _ in range(1000):
        assert len(slow.recv()) == 1000
    slow.close()


def test_large_values(connect: Connect) -> None:
    peer = connect()
    stream = peer.open("forever", 1 << 20)
    for _ in range(20):
        assert len(stream.recv()) == 1 << 20
    stream.close()


def test_timeouts(server: Server, connect: Connect) -> None:
    @server.method
    def silent(stream: Stream[Any, Any]) -> None:
        current().wait()
        ended.append("silent")

    peer = connect()
    stream = peer.open("silent")
    with pytest.raises(TimeoutError):
        stream.recv(timeout=0.02)
    stream.close()
    stream = peer.open("silent", timeout=0.05)
    with pytest.raises(standpipe.DeadlineError):
        stream.recv()
    eventually(lambda: ended == ["silent"] * 2, "both handlers have ended", lambda: ended)


def test_many_streams(connect: Connect) -> None:
    peer = connect()
    wrong: list[Any] = []

    def body() -> None:
        for _ in range(5):
            got = list(peer.open("count", 200))
            if got != list(range(200)):
                wrong.append(got)

    threads = [threading.Thread(target=body) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_end_of_the_connection(connect: Connect) -> None:
    peer = connect()
    stream = peer.open("forever", 10)
    stream.recv()
    threading.Timer(0.05, peer.close).start()
    with pytest.raises(standpipe.UnavailableError):
        for _ in stream:
            pass
    eventually(lambda: ended == ["forever"], "the handler has ended", lambda: ended)


def test_hoard(leaks: None) -> None:
    with Server(max_queued=1 << 20) as s:

        @s.method
        def mute(stream: Stream[Any, Any]) -> None:
            current().wait()

        a, b = standpipe.pipe()
        s.attach(b)
        with standpipe.attach(a) as peer:
            streams = [peer.open("mute") for _ in range(3)]
            for stream in streams:
                stream.send(bytes(700_000))
            with pytest.raises(Error) as e:
                streams[1].recv(timeout=20)
            assert e.value.code is Code.RESOURCE_EXHAUSTED
            for stream in streams:
                stream.close()
