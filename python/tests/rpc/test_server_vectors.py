"""The vectors against a Server of threads: all of spec/vectors/wire, and of spec/vectors/memory those that are for this
system.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import standpipe
from standpipe import Buffer, Stream, mem
from standpipe.msg import frame
from standpipe.rpc.frame import CLOSE, DATA, PONG, Frame, parse_error

from ..vectors import Vector, read_vectors
from .dialer import Dialer, filler

WIRE = read_vectors("wire")
MEMORY = read_vectors("memory")

THE_RING = "Python has no ring: its hello has no ring key"
OTHER_SYSTEM = "the vector is for another kind of segment"


def skipped(v: Vector) -> str | None:
    """Why a vector of memory is not run."""
    if v.head["what"] == "area" or "share: KIND | ring: 1" in v.head.get("hello", ""):
        return THE_RING
    if "share" in v.head and mem.KIND not in v.head["share"].split():
        return OTHER_SYSTEM
    return None


@dataclass
class Pair:
    a: Buffer | None = None
    b: Buffer | None = None


@pytest.fixture
def server() -> Iterator[standpipe.Server]:
    logging.getLogger("standpipe").setLevel(logging.CRITICAL)
    s = standpipe.Server()

    @s.method
    def echo(v: Any) -> Any:
        return v

    @s.method
    def hang(v: Any) -> None:
        standpipe.current().wait()
        standpipe.current().check()

    @s.method
    def known(v: dict[str, Any]) -> str:
        return str(v.get("a", ""))

    @s.method
    def meta(v: Any) -> str:
        md = {"k": standpipe.current().metadata.get("k", [])}
        standpipe.current().set_header(md)
        standpipe.current().set_trailer(md)
        return b",".join(md["k"]).decode()

    @s.method
    def each(values: Iterator[Any]) -> Iterator[Any]:
        yield from values

    @s.method
    def mute(stream: Stream[Any, Any]) -> None:
        standpipe.current().wait()
        standpipe.current().check()

    @s.method
    def copy(v: Pair) -> Pair:
        return v

    with s:
        yield s
    logging.getLogger("standpipe").setLevel(logging.NOTSET)


@pytest.fixture
def dialer(request: pytest.FixtureRequest, server: standpipe.Server, tmp_path: Path) -> Iterator[Dialer]:
    a, b = standpipe.pipe()
    server.attach(b)
    d = Dialer(a, request.param, tmp_path)
    yield d
    d.close()


def play(d: Dialer) -> None:
    try:
        d.play()
    except OSError:
        assert d.v.head["expect"] == "dies"
    if d.v.head.get("then") == "close":
        d.conn.close()


def ends(d: Dialer) -> None:
    d.until(lambda: False)
    if "then" not in d.v.head:
        aborted = any(e.what == "abort" for e in d.events)
        assert (
            aborted == (d.v.head["expect"] == "dies" and not d.v.name.startswith("message-abort"))
            or "abort" in d.v.name
        )


@pytest.mark.parametrize("dialer", WIRE, ids=lambda v: v.name, indirect=True)
def test_wire(dialer: Dialer) -> None:
    d = dialer
    play(d)
    expect = d.v.head["expect"]
    if expect in ("dies", "ends"):
        return ends(d)

    def frames() -> list[Frame]:
        return [Frame(memoryview(e.data)) for e in d.events if e.what == "message"]

    def about(stream: int) -> list[Frame]:
        return [f for f in frames() if f.stream == stream and f.type in (DATA, CLOSE, PONG)]

    if expect == "pongs":
        assert d.until(lambda: about(0))
        assert about(0)[0].type == PONG
    elif expect == "streams":
        assert d.until(lambda: len(about(1)) == 2)
        data, close = about(1)
        assert (data.type, bytes(data.value), close.type, close.code) == (DATA, b"\xa2hi", CLOSE, 0)
    elif expect != "lives":
        assert d.until(lambda: about(1))
        f = about(1)[0]
        if expect == "answers":
            assert f.code == 0
            assert bytes(f.value) in (b"\xa2hi", b'"hi"')
        else:
            assert f"fails {standpipe.Code(f.code).text}" == expect
            assert parse_error(f.code, f.value).message
    if b"codecs: " in d.v.body and b"codecs: \n" not in d.v.body:
        call = b"\xff\x0f\x00\x00\x01\x01\x00\x04echo\xa2ok"
        d.conn.send([len(call).to_bytes(4, "little") + b"\x01\0\0\0" + call])
        assert d.answer(4095).data[6:] == b"\0\0\xa2ok"
    return None


RUN = [v for v in MEMORY if skipped(v) is None]


@pytest.mark.parametrize(
    "dialer",
    [v for v in RUN if v.head["what"] == "session" and "from" not in v.head],
    ids=lambda v: v.name,
    indirect=True,
)
def test_memory(dialer: Dialer) -> None:
    d = dialer
    play(d)
    expect, _, rest = d.v.head["expect"].partition(" ")
    if expect in ("dies", "ends"):
        return ends(d)
    if expect != "lives":
        event = d.answer(int(d.v.head.get("stream", 1)))
        f = Frame(memoryview(event.data))
        if expect == "answers":
            assert f.code == 0
            assert event.buffers == [filler(int(n)) for n in rest.split()]
        else:
            assert standpipe.Code(f.code).text == rest
    call = b"\xff\x0f\x00\x00\x01\x01\x00\x04copy\x80"
    d.conn.send([len(call).to_bytes(4, "little") + b"\x01\0\0\0" + call])
    event = d.answer(4095)
    assert (event.data[6], event.buffers) == (0, [])
    return None


@pytest.mark.parametrize("v", [v for v in RUN if v.head.get("from") == "listener"], ids=lambda v: v.name)
def test_result(v: Vector) -> None:
    """The bytes are what a listener answers."""
    a, b = standpipe.pipe()
    assert v.head["waits"] == "0 message"
    at = v.body.index(b"\x01\x00\x00\x00\x03\x01", 8)

    def listen() -> None:
        hello = "\n".join(("standpipe 1", *v.head["hello"].replace("KIND", mem.KIND).split(" | "))) + "\n\n"
        b.send([hello.encode()])
        room, data = memoryview(bytearray(65536)), bytearray()
        answered = 0
        while answered < 2 and (n := b.recv_into(room)):
            data += room[:n]
            if (end := data.find(b"\n\n")) >= 0:
                del data[: end + 2]
            while (
                len(data) >= 8
                and data[:9] != b"standpipe"
                and len(data) >= (size := 8 + int.from_bytes(data[:4], "little"))
            ):
                answer = bytearray(v.body)
                answer[at : at + 4] = data[8:12]
                b.send([answer])
                del data[:size]
                answered += 1

    import threading

    thread = threading.Thread(target=listen)
    thread.start()
    with standpipe.attach(a) as peer:
        for _ in range(2):  # and another one behind it
            try:
                out = peer.call("copy", {}, returns=Pair)
                got = "answers" + "".join(f" {len(x)}" for x in (out.a, out.b) if x is not None)
                for x in (out.a, out.b):
                    assert x is None or x.copy() == filler(len(x))
            except standpipe.Error as e:
                got = f"fails {e.code.text}"
            assert got == v.head["expect"]
    thread.join()
    b.close()


@pytest.mark.parametrize("v", [v for v in MEMORY if v.head["what"] == "frame"], ids=lambda v: v.name)
def test_frame(v: Vector) -> None:
    """What a frame says is what was put into it, both ways."""
    kind = v.head["kind"]
    number, size = int(v.head.get("number", 0)), int(v.head.get("size", 0))
    if kind == "reference":
        _, (r,) = frame.parse_refs(memoryview(v.body), len(v.body) + 5, frame.Limits(65536, 1 << 20, True))
        assert (r.segment, r.size) == (number, size)
        made = frame.REF.pack(size, number, 0)
    elif kind == "segment":
        f = frame.parse_segment(v.body[8:])
        assert f == (number, int(v.head["use"]), size, int(v.head["handle"]))
        made = frame.segment_frame(f)
    elif kind in ("release", "retire"):
        numbers = frame.parse_numbers(v.body[8:])
        assert numbers == [int(n) for n in v.head["numbers"].split()]
        made = frame.numbers_frame(frame.RELEASE if kind == "release" else frame.RETIRE, numbers)
    else:
        made = frame.HEADER.pack(0, frame.RING if kind == "ring" else frame.BELL, 0, 0)
    assert made == v.body


def test_what_is_skipped() -> None:
    """docs/platforms.md lists what is left out, and all else is run where the system's segments are the vectors'."""
    text = (Path(__file__).parents[3] / "docs" / "platforms.md").read_text("utf-8")
    section = text.partition("## Vectors that Python leaves out")[2].partition("\n## ")[0]
    listed = " ".join(re.findall("^  .*", section, re.MULTILINE)).split()
    assert sorted(v.name for v in MEMORY if skipped(v) == THE_RING) == sorted(listed)
    assert sum(skipped(v) is None for v in MEMORY) > 100 or mem.KIND != "memfd"
