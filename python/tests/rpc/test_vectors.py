"""Every file of spec/vectors/wire against the state machines alone: no socket, no thread. spec/wire.md says what the
fates are.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from standpipe.msg.error import EndOfStream, ProtocolError
from standpipe.msg.hello import Hello
from standpipe.msg.session import Session
from standpipe.rpc.call import Served
from standpipe.rpc.calls import Calls, codec_names
from standpipe.rpc.codec import CODECS
from standpipe.rpc.error import Code, Error
from standpipe.rpc.flow import Ended
from standpipe.rpc.frame import CLOSE, DATA, PONG, VALUE, Frame, parse_error
from standpipe.rpc.metadata import Metadata

from ..vectors import Vector, read_vectors

VECTORS = read_vectors("wire")
UNARY = ("echo", "hang", "known", "meta")
STREAMS = ("each", "mute")


class Listener:
    """The listener of the vectors."""

    def __init__(self) -> None:
        self.session = Session(
            Hello(16 << 20, 1 << 30, "", {"codecs": codec_names(CODECS), "max-calls": "1024", "window": "65536"})
        )
        kinds = {name: SimpleNamespace(streams=name in STREAMS) for name in UNARY + STREAMS}
        self.calls = Calls(self.session, dialer=False, lookup=kinds.get)
        self.served: list[Served] = []
        self.error: Exception | None = None

    def feed(self, data: bytes, at_once: bool) -> None:
        step = len(data) if at_once else 1
        try:
            for at in range(0, len(data), step or 1):
                messages = self.session.feed(data[at : at + step])
                if self.session.peer is not None:
                    self.calls.greet()
                for m in messages:
                    served = self.calls.receive(m)
                    if served is not None:
                        self.served.append(served)
                    self.run()
        except ProtocolError as e:
            self.die(e)

    def close(self) -> None:
        try:
            if self.error is None:
                self.session.eof()
        except (ProtocolError, EndOfStream) as e:
            self.error = e

    def die(self, e: ProtocolError) -> None:
        self.error = e
        if not e.remote:
            self.session.abort(e.text)

    def run(self) -> None:
        for served in list(self.served):
            try:
                done = getattr(self, served.method)(served)
            except Error as e:
                self.calls.fail(served, e)
                done = True
            if done:
                self.served.remove(served)

    def value(self, served: Served) -> Any:
        try:
            return served.codec.decode(served.value, served.buffers)
        except ValueError as e:
            raise Error(Code.INVALID_ARGUMENT, str(e)) from None

    def answer(self, served: Served, value: Any) -> bool:
        self.calls.answer(served, served.codec.encode(value, []))
        return True

    def echo(self, served: Served) -> bool:
        return self.answer(served, self.value(served))

    def known(self, served: Served) -> bool:
        return self.answer(served, self.value(served).get("a", ""))

    def meta(self, served: Served) -> bool:
        values = (served.meta or Metadata()).get("k", [])
        served.header = served.trailer = Metadata({"k": values})
        return self.answer(served, b",".join(values).decode())

    def hang(self, served: Served) -> bool:
        if served.cancelled is not None:
            raise Error(served.cancelled, "it was cancelled")
        if served.deadline is not None and served.deadline <= time.monotonic() + 1:  # the vectors have no time to wait
            raise Error(Code.DEADLINE_EXCEEDED, "its time is up")
        return False

    mute = hang

    def each(self, served: Served) -> bool:
        assert served.stream is not None
        with self.calls.lock:
            try:
                while (got := served.stream.pop()) is not None:
                    value = self.copy(served, *got)
                    self.calls.send_data(
                        served.stream, bytes([*served.number.to_bytes(4, "little"), DATA, VALUE, 0, 0]), value
                    )
                return False
            except Ended:
                pass
        self.calls.finish(served)
        return True

    def copy(self, served: Served, data: Any, buffers: Any) -> Any:
        try:
            return served.codec.encode(served.codec.decode(data, buffers), [])
        except ValueError as e:
            raise Error(Code.INVALID_ARGUMENT, str(e)) from None

    def sent(self) -> tuple[list[Frame], str | None]:
        """The rpc frames that were sent since the last time, and the text of the abort frame."""
        data = b"".join(bytes(p) for parts, _ in self.session.outbox for p in parts)
        self.session.outbox.clear()
        if data.startswith(b"standpipe 1\n"):
            data = data[data.index(b"\n\n") + 2 :]
        frames, abort = [], None
        while data:
            n, kind = int.from_bytes(data[:4], "little"), data[4]
            body, data = data[8 : 8 + n], data[8 + n :]
            if kind == 2:
                abort = body.decode()
            else:
                frames.append(Frame(memoryview(body)))
        return frames, abort


@pytest.mark.parametrize("at_once", [True, False], ids=["whole", "bytes"])
@pytest.mark.parametrize("v", VECTORS, ids=lambda v: v.name)
def test_vector(v: Vector, at_once: bool) -> None:
    if not at_once and len(v.body) > 100_000:
        pytest.skip("too long for one byte at a time")
    listener = Listener()
    listener.feed(v.body, at_once)
    if v.head.get("then") == "close":
        listener.close()
    frames, abort = listener.sent()
    expect = v.head["expect"]
    if expect == "dies":
        assert isinstance(listener.error, ProtocolError)
        if "then" not in v.head and not listener.error.remote:
            assert abort == listener.error.text[:1024]
        return
    if expect == "ends":
        assert isinstance(listener.error, EndOfStream)
        return
    assert listener.error is None
    if expect == "lives":
        assert not frames
    elif expect == "pongs":
        assert [f.type for f in frames] == [PONG]
    elif expect == "answers":
        assert [(f.type, f.stream, f.code) for f in frames] == [(CLOSE, 1, 0)]
        assert bytes(frames[0].value) in (b"\xa2hi", b'"hi"')
    elif expect == "streams":
        data, close = [f for f in frames if f.type in (DATA, CLOSE)]
        assert (data.stream, bytes(data.value), close.stream, close.code) == (1, b"\xa2hi", 1, 0)
    else:
        (f,) = frames
        assert (f.type, f.stream) == (CLOSE, 1)
        assert f"fails {Code(f.code).text}" == expect
        assert parse_error(f.code, f.value).message
    # And the connection is as good as before, where the vector's hello lets one call.
    assert listener.session.peer is not None
    if listener.session.peer.keys.get("codecs"):
        call = b"\xff\x0f\x00\x00\x01\x01\x00\x04echo\xa2ok"
        listener.feed(len(call).to_bytes(4, "little") + b"\x01\0\0\0" + call, at_once)
        (f,), _ = listener.sent()
        assert (f.stream, f.code, bytes(f.value)) == (4095, 0, b"\xa2ok")


def test_all_are_here() -> None:
    assert len(VECTORS) >= 150
    assert Path(VECTORS[0].path).parent.name == "wire"
