"""Whatever comes, a session takes it, or ends by a ProtocolError: nothing else, and not more memory than its limits."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standpipe.msg.error import EndOfStream, ProtocolError
from standpipe.msg.frame import HEADER, REF, Limits, check_header, parse_refs
from standpipe.msg.hello import Hello, parse_hello
from standpipe.msg.session import Message, Session
from standpipe.rpc.calls import Calls
from standpipe.rpc.codec import CODECS
from standpipe.rpc.error import Error
from standpipe.rpc.frame import Frame, error_frame, parse_error
from standpipe.rpc.metadata import Metadata, cut

from ..vectors import read_vectors

LIMITS = Limits(65536, 65536, True)
GREETING = Hello(65536, 65536, "", {"codecs": "msgpack json", "max-calls": "16"}).pack()
SEEDS = [v.body for v in read_vectors("wire") if len(v.body) < 2000]


def new_session() -> tuple[Session, Calls]:
    session = Session(Hello(65536, 65536, "", {"codecs": "msgpack json", "max-calls": "16", "window": "65536"}))
    return session, Calls(session, dialer=False, lookup=lambda _: None, max_calls=16)


def feed(session: Session, calls: Calls, data: bytes, steps: int) -> None:
    try:
        step = max(len(data) // steps, 1)
        for at in range(0, len(data), step):
            for m in session.feed(data[at : at + step]):
                calls.receive(m)
        session.eof()
    except (ProtocolError, EndOfStream):
        pass


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 20))
def test_bytes_behind_a_hello(data: bytes, steps: int) -> None:
    feed(*new_session(), GREETING + data, steps)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SEEDS), st.data(), st.integers(1, 20))
def test_vectors_that_were_changed(seed: bytes, data: st.DataObject, steps: int) -> None:
    changed = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 5))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    feed(*new_session(), bytes(changed), steps)


frames = st.builds(
    lambda kind, flags, buffers, body: HEADER.pack(len(body), kind, flags, buffers) + body,
    st.sampled_from([1, 1, 1, 2, 8, 9, 4, 200]),
    st.sampled_from([0, 0, 0, 0, 1]),
    st.sampled_from([0, 0, 0, 1, 2, 65]),
    st.binary(max_size=64),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(frames, max_size=20), st.integers(1, 50))
def test_frames(list_of: list[bytes], steps: int) -> None:
    feed(*new_session(), GREETING + b"".join(list_of), steps)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=70000), max_size=5), st.integers(1, 100))
def test_what_is_sent_arrives(values: list[bytes], steps: int) -> None:
    """However the bytes are cut."""
    sender, receiver = Session(Hello(1 << 20, 0)), Session(Hello(1 << 20, 0))
    sender.feed(receiver.own.pack())
    for v in values:
        sender.send(v[:3], v[3:])
    data = b"".join(bytes(p) for parts, _ in sender.outbox for p in parts)
    step = max(len(data) // steps, 1)
    got: list[Message] = []
    for at in range(0, len(data), step):
        got += receiver.feed(data[at : at + step])
    assert [bytes(m.data) for m in got] == values
    with pytest.raises(EndOfStream):
        receiver.eof()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, (1 << 32) - 1), st.integers(0, 255), st.integers(0, 255), st.integers(0, 65535))
def test_header(length: int, kind: int, flags: int, buffers: int) -> None:
    """What passes does not need more memory than the limits."""
    try:
        check_header(length, kind, flags, buffers, LIMITS)
    except ProtocolError:
        return
    assert flags == 0
    assert buffers <= 64 or kind >= 128
    assert length <= LIMITS.message + LIMITS.buffers + 16 * buffers or kind == 8


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1 << 17), st.integers(0, 2), st.integers(0, 2)), max_size=64),
    st.integers(0, 1 << 18),
)
def test_references(refs: list[tuple[int, int, int]], rest: int) -> None:
    b = b"".join(REF.pack(*r) for r in refs)
    try:
        data, found = parse_refs(memoryview(b), len(b) + rest, LIMITS)
    except ProtocolError:
        return
    assert 0 <= data <= LIMITS.message
    assert sum(r.size for r in found) <= LIMITS.buffers
    assert data + sum(r.size for r in found if not r.segment and not r.pieces) == rest


@pytest.mark.parametrize(
    "parse",
    [lambda b: Frame(memoryview(b)), lambda b: parse_error(13, memoryview(b)), parse_hello],
    ids=["frame", "error", "hello"],
)
@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=100))
def test_parsers(parse: Callable[[bytes], Any], data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        parse(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100))
def test_metadata_of_bytes(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        cut(memoryview(data), 0)


keys = st.text(st.sampled_from("abcz09._-"), min_size=1, max_size=64)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(keys, st.lists(st.binary(max_size=50), min_size=1, max_size=3), max_size=8))
def test_metadata(given_: dict[str, list[bytes]]) -> None:
    block = Metadata(given_).pack()
    assert cut(memoryview(block + b"rest"), 0) == (given_, len(block))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 16), st.text(), st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=50)), max_size=70))
def test_errors(code: int, message: str, details: list[tuple[str, bytes]]) -> None:
    f = Frame(memoryview(error_frame(1, Error(code, message, details), b"", b"", 65536)))
    e = parse_error(f.code, f.value)
    assert e.code == code
    assert message.encode("utf-8", "replace").decode().startswith(e.message)
    assert len(e.details) == min(len(details), 64)


@pytest.mark.parametrize("codec", CODECS, ids=lambda c: c.name)
@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=100))
def test_codecs(codec: Any, data: bytes) -> None:
    with contextlib.suppress(ValueError):
        codec.decode(data, ())
