"""Buffers: memory that goes beside values."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import standpipe
from standpipe import Buffer, Code, Error, Server, current, mem

from .conftest import Connect, eventually

shares = pytest.mark.skipif(not mem.KIND, reason="the system has no memory to share")

TURNED = bytes(range(255, -1, -1))


def pattern(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


SIZES = [0, 1, 100, 16 << 10, 100_000, 1 << 20, (3 << 20) + 1]


@dataclasses.dataclass
class Image:
    name: str
    pixels: Buffer
    mask: Buffer | None = None


kept: list[Buffer] = []


@pytest.fixture(autouse=True)
def methods(server: Server) -> Iterator[None]:
    @server.method
    def invert(image: Image) -> Image:
        out = current().peer.new_buffer(len(image.pixels))
        out.view[:] = bytes(image.pixels.view).translate(TURNED)
        return Image(image.name + "!", out)

    @server.method
    def same(v: Any) -> Any:
        return v

    @server.method
    def keep(v: Buffer) -> int:
        kept.append(v.keep())
        return len(v)

    @server.method
    def forget(v: Buffer) -> int:
        kept.append(v)
        return sum(v.view)

    yield
    kept.clear()


def filled(peer: standpipe.Peer, size: int) -> Buffer:
    b = peer.new_buffer(size)
    b.view[:] = pattern(size)
    return b


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("codec", [standpipe.MESSAGE_PACK, standpipe.JSON], ids=lambda c: c.name)
def test_there_and_back(connect: Connect, size: int, codec: standpipe.Codec) -> None:
    peer = connect()
    for _ in range(3):
        sent = filled(peer, size)
        got = peer.call("invert", Image("x", sent), returns=Image, codec=codec)
        assert (got.name, len(got.pixels), got.mask) == ("x!", size, None)
        assert got.pixels.copy() == pattern(size).translate(TURNED)
        assert got.pixels.shared == bool(mem.KIND and size >= 16 << 10)
        assert got.pixels.readonly
        got.pixels.release()


@pytest.mark.parametrize("size", SIZES)
def test_what_was_received_is_sent_on(connect: Connect, size: int) -> None:
    peer = connect()
    got = peer.call("same", {"a": filled(peer, size), "b": None})
    assert got["a"].copy() == pattern(size)
    got = peer.call("same", [got["a"]])
    assert got[0].copy() == pattern(size)


def test_one_owner(connect: Connect) -> None:
    peer = connect()
    b = filled(peer, 20000)
    peer.call("keep", b)
    assert (len(b), b.valid) == (20000, False)
    for use in (lambda: b.view, b.copy):
        with pytest.raises(ValueError, match="sent or released"):
            use()
    with pytest.raises(Error) as e:
        peer.call("keep", b)
    assert e.value.code is Code.INVALID_ARGUMENT
    b.release()
    with filled(peer, 20000) as c:
        c.view[0] = 1
    assert not c.valid
    with pytest.raises(Error, match="twice"):
        d = filled(peer, 20000)
        peer.call("same", [d, d])
    assert d.valid


def test_keep(connect: Connect) -> None:
    peer = connect()
    peer.call("keep", filled(peer, 100_000))
    assert kept[0].copy() == pattern(100_000)
    kept[0].release()
    peer.call("forget", filled(peer, 100_000))
    assert not kept[1].valid


@shares
def test_an_array_keeps_the_memory(connect: Connect) -> None:
    """What is looked at is not given back, and does not change."""
    if sys.platform == "win32":
        pytest.importorskip("numpy")  # it is more than Wine has
    import numpy as np

    peer = connect()
    got = peer.call("same", filled(peer, 100_000))
    array = got.numpy()[10:20]
    half = got.view[50_000:]
    got.release()
    for _ in range(10):
        other = peer.call("same", filled(peer, 100_000))
        other.release()
    assert (array == np.arange(10, 20) % 251).all()
    assert half[0] == 50_000 % 251
    with pytest.raises(ValueError):
        array[0] = 1
    del array, half, got, other


@shares
def test_memory_is_used_again(connect: Connect) -> None:
    peer = connect()
    places = set()
    for _ in range(50):
        b = filled(peer, 1 << 20)
        places.add(ctypes.addressof(ctypes.c_char.from_buffer(b.view)))
        peer.call("forget", b)
    assert len(places) <= 4


@shares
def test_garbage_is_released(connect: Connect) -> None:
    peer = connect()
    limit = 1 << 30
    for _ in range(3):  # more than may be shared
        for _ in range(3):
            b = peer.new_buffer(limit // 4)
            assert b.shared
            got = peer.call("same", b)
            del got, b
            gc.collect()


@shares
def test_exhausted(leaks: None) -> None:
    with Server(max_shared=1 << 20) as s:
        held: list[Buffer] = []

        @s.method
        def hold(v: Buffer) -> None:
            held.append(v.keep())

        a, b = standpipe.pipe()
        s.attach(b)
        with standpipe.attach(a) as peer:
            first = peer.new_buffer(1 << 19)
            peer.call("hold", peer.new_buffer(1 << 19))
            with pytest.raises(
                standpipe.TooLargeError, match=r"524288 in 1 buffers are with the peer.*524288 in 1 buffers are here"
            ):
                peer.new_buffer(1 << 19, timeout=0.05)
            with pytest.raises(standpipe.TooLargeError):
                peer.new_buffer(2 << 20)
            threading.Timer(0.05, lambda: held.pop().release()).start()
            peer.new_buffer(1 << 19, timeout=20).release()
            first.release()


def test_streams_of_buffers(server: Server, connect: Connect) -> None:
    @server.method
    def frames(n: int) -> Iterator[Buffer]:
        peer = current().peer
        for i in range(n):
            b = peer.new_buffer(200_000)
            b.view[:] = bytes([i]) * 200_000
            yield b

    @server.method
    def total(values: Iterator[Buffer]) -> int:
        n = 0
        for v in values:
            with v:
                n += v.view[0]
        return n

    peer = connect()
    for i, b in enumerate(peer.open("frames", 30)):
        with b:
            assert b.view == bytes([i]) * 200_000
    stream = peer.open("total")
    for i in range(30):
        b = peer.new_buffer(200_000)
        b.view[:] = bytes([i]) * 200_000
        stream.send(b)
    stream.close_send()
    assert list(stream) == [sum(range(30))]


def test_without_sharing(leaks: None) -> None:
    """Large ones go in pieces, and others between them."""
    a, b = standpipe.pipe()
    a.can_share = b.can_share = False
    with Server() as s:

        @s.method
        def size(v: Buffer) -> int:
            return len(v)

        @s.method
        def same(v: Any) -> Any:
            return v

        s.attach(b)
        with standpipe.attach(a) as peer:
            for n in SIZES:
                sent = filled(peer, n)
                assert not sent.shared
                got = peer.call("same", {"x": sent, "y": filled(peer, 300_000)})
                assert got["x"].copy() == pattern(n)
                assert len(got["y"]) == 300_000
            threads = [threading.Thread(target=lambda: peer.call("size", filled(peer, 5 << 20))) for _ in range(4)]
            for t in threads:
                t.start()
            for _ in range(50):
                assert peer.call("same", 1) == 1
            for t in threads:
                t.join()
            with pytest.raises(standpipe.DeadlineError):
                peer.call("size", filled(peer, 64 << 20), timeout=0.0001)
            assert peer.call("size", filled(peer, 1 << 20)) == 1 << 20


def test_limit(connect: Connect) -> None:
    peer = connect()
    with pytest.raises(Error) as e:
        peer.call("same", [peer.new_buffer(1) for _ in range(65)])
    assert e.value.code is Code.RESOURCE_EXHAUSTED
    assert peer.call("same", 1) == 1


def test_dlpack(connect: Connect) -> None:
    if sys.platform == "win32":
        pytest.importorskip("numpy")  # it is more than Wine has
    import numpy as np

    peer = connect()
    b = filled(peer, 20000)
    assert (np.from_dlpack(b) == b.numpy()).all()
    assert (np.asarray(b) == b.numpy()).all()
    assert b.numpy("float32", (50, 100)).shape == (50, 100)
    if sys.version_info >= (3, 12):
        assert bytes(memoryview(b)) == b.copy()
        assert np.frombuffer(b, np.uint8).sum() == b.numpy().sum()
    b.release()
    with pytest.raises(ValueError, match="sent or released"):
        b.numpy()


def test_the_peer_closes_first(connect: Connect) -> None:
    """Memory that somebody looks at outlives the connection."""
    peer = connect()
    got = peer.call("same", filled(peer, 100_000))
    mine = filled(peer, 100_000)
    view = mine.view
    peer.close()
    assert got.view == view
    view[:] = bytes([7]) * len(view)
    with pytest.raises(Error):
        peer.call("same", mine)
    eventually(lambda: peer.closed, "it is closed", lambda: peer.error)


def test_before_the_hello(server: Server) -> None:
    """What may be sent is known by the hello: a buffer waits for that, and is not too large because it has not come."""
    a, b = standpipe.pipe()
    with a, server.attach(b) as peer:
        with pytest.raises(TimeoutError, match="hello"):
            peer.new_buffer(100, timeout=0.05)
        a.send([b"standpipe 1\nmax-message: 65536\nmax-buffers: 1000\ncodecs: msgpack\n\n"])
        assert len(peer.new_buffer(100, timeout=10)) == 100
