"""Unary calls between a Peer and a Server of threads."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import logging
import signal
import sys
import threading
import time
from typing import Any, Literal, NamedTuple, TypedDict

import pytest

import standpipe
from standpipe import Code, Error, Server, current

from .conftest import Connect, eventually


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(NamedTuple):
    x: float
    y: float = 0.0


class Extra(TypedDict, total=False):
    note: str


@dataclasses.dataclass
class Item:
    name: str
    size: int = 0
    color: Color = Color.RED
    at: Point | None = None
    parts: list[Item] = dataclasses.field(default_factory=list)
    when: datetime.datetime | None = None
    blob: bytes = b""
    extra: Extra = dataclasses.field(default_factory=lambda: Extra())
    either: int | str | None = None
    mode: Literal["a", "b"] = "a"
    many: dict[str, list[int]] = dataclasses.field(default_factory=dict)


@pytest.fixture(autouse=True)
def methods(server: Server) -> None:
    @server.method
    def echo(v: Any) -> Any:
        return v

    @server.method
    def item(v: Item) -> Item:
        assert type(v) is Item
        return v

    @server.method
    def add(a: int, b: int = 1) -> int:
        return a + b

    @server.method("sleep")
    def nap(seconds: float) -> bool:
        return current().wait(seconds)

    @server.method
    def fail(v: int) -> None:
        if v == 0:
            raise KeyError("what nobody may read")
        raise Error(Code(v), "on purpose", [("type.example/x", b"12")])


@pytest.mark.parametrize(
    "v",
    [None, True, 0, -1, 1 << 63, 1.5, "é" * 1000, b"\0" * 70000, [1, [2]], {"a": {"b": None}}, {1: 2}],
    ids=lambda v: repr(v)[:40],
)
def test_values(connect: Connect, v: Any) -> None:
    assert connect().call("echo", v) == v


@pytest.mark.parametrize("codec", [standpipe.MESSAGE_PACK, standpipe.JSON], ids=lambda c: c.name)
def test_typed(connect: Connect, codec: standpipe.Codec) -> None:
    full = Item(
        "x",
        3,
        Color.BLUE,
        Point(1, 2),
        [Item("y")],
        datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.timezone.utc),
        b"\xff\0",
        {"note": "n"},
        "s",
        "b",
        {"k": [1]},
    )
    peer = connect()
    for sent in (full, Item("only a name")):
        assert peer.call("item", sent, returns=Item, codec=codec) == sent


@pytest.mark.parametrize(
    ("v", "path"),
    [
        ({"name": 1}, "in.name: expected str, got int"),
        ({}, "in.name: missing"),
        ([], "in: expected Item, got a list"),
        ({"name": "", "parts": [{"name": ""}, {"name": "", "size": "3"}]}, "in.parts[1].size: expected int, got str"),
        ({"name": "", "size": True}, "in.size: expected int, got bool"),
        ({"name": "", "color": "green"}, "in.color: expected one of Color, got str"),
        ({"name": "", "at": {"x": "1"}}, "in.at.x: expected float, got str"),
        ({"name": "", "mode": "c"}, "in.mode: expected one of 'a', 'b', got str"),
        ({"name": "", "many": {"k": [0, None]}}, "in.many['k'][1]: expected int, got nothing"),
        ({"name": "", "either": 1.5}, "in.either: expected int or str, got float"),
    ],
    ids=str,
)
def test_mismatch(connect: Connect, v: Any, path: str) -> None:
    with pytest.raises(Error) as e:
        connect().call("item", v)
    assert e.value.code is Code.INVALID_ARGUMENT
    assert e.value.message.endswith(path)


def test_mismatch_of_a_result(connect: Connect) -> None:
    with pytest.raises(Error) as e:
        connect().call("echo", ["x"], returns=list[int])
    assert e.value.code is Code.INTERNAL
    assert "out[0]: expected int, got str" in e.value.message


def test_several_parameters(connect: Connect) -> None:
    assert connect().call("add", {"a": 1, "b": 2}) == 3
    assert connect().call("add", {"a": 1}) == 2
    with pytest.raises(Error, match=r"in\.a: missing"):
        connect().call("add", {"b": 1})


def test_errors(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    peer = connect()
    for code in list(Code)[1:]:
        with pytest.raises(Error) as e:
            peer.call("fail", code)
        assert (e.value.code, e.value.message, e.value.details) == (code, "on purpose", (("type.example/x", b"12"),))
        assert isinstance(e.value, TimeoutError) == (code is Code.DEADLINE_EXCEEDED)
        assert isinstance(e.value, ConnectionError) == (code is Code.UNAVAILABLE)
    with caplog.at_level(logging.ERROR), pytest.raises(Error) as e:
        peer.call("fail", 0)
    assert e.value.code is Code.INTERNAL
    assert "nobody" not in str(e.value)
    assert "nobody may read" in caplog.text
    for method, value, wanted in (("nothing", None, Code.UNIMPLEMENTED), ("echo", object(), Code.INVALID_ARGUMENT)):
        with pytest.raises(Error) as e:
            peer.call(method, value)
        assert e.value.code is wanted


def test_timeout(connect: Connect) -> None:
    peer = connect()
    start = time.monotonic()
    with pytest.raises(standpipe.DeadlineError):
        peer.call("sleep", 30.0, timeout=0.05)
    assert time.monotonic() - start < 10
    assert peer.call("echo", 1) == 1
    assert peer.call("sleep", 0.01, timeout=30) is False


def test_a_blocked_handler_holds_up_nobody(server: Server, connect: Connect) -> None:
    release = threading.Event()
    calls = 0

    @server.method
    def turns(v: int) -> int:
        nonlocal calls
        calls += 1
        if v:
            assert release.wait(20)
        return calls

    peer = connect()
    for _ in range(20):  # so it is thought to be quick
        peer.call("turns", 0)
    thread = threading.Thread(target=peer.call, args=("turns", 1))
    thread.start()
    eventually(lambda: calls == 21, "it runs", lambda: calls)
    assert peer.call("echo", "meanwhile", timeout=20) == "meanwhile"
    release.set()
    thread.join()


def test_many_threads(connect: Connect) -> None:
    peer = connect()
    wrong: list[Any] = []

    def body(n: int) -> None:
        for i in range(50):
            v = [n, i, "x" * (n * 10)]
            if peer.call("echo", v, timeout=60 if i % 2 else None) != v:
                wrong.append(v)

    threads = [threading.Thread(target=body, args=(n,)) for n in range(32)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_more_calls_than_run_at_once(name: str, leaks: None) -> None:
    gate = threading.Event()
    with Server(max_calls=16) as s:

        @s.method
        def wait(v: int) -> int:
            assert gate.wait(20)
            return v

        a, b = standpipe.pipe()
        s.attach(b)
        with standpipe.attach(a) as peer:
            got: list[int] = []
            threads = [threading.Thread(target=lambda i=i: got.append(peer.call("wait", i))) for i in range(40)]
            for t in threads:
                t.start()
            eventually(lambda: peer.calls.roomy is False, "the table is full", lambda: peer.calls.roomy)
            with pytest.raises(standpipe.DeadlineError):
                peer.call("wait", 0, timeout=0.05)
            gate.set()
            for t in threads:
                t.join()
            assert sorted(got) == list(range(40))


def test_callbacks(server: Server, connect: Connect) -> None:
    @server.method
    def there_and_back(n: int) -> int:
        return int(current().peer.call("back", n, timeout=20)) + 1

    with Server() as back:

        @back.method("back")
        def _(n: int) -> int:
            return int(current().peer.call("there_and_back", n - 1)) if n else 0

        peer = connect(back)
        for _round in range(10):
            assert peer.call("there_and_back", 5, timeout=60) == 6


def test_metadata(server: Server, connect: Connect) -> None:
    @server.method
    def meta(v: int) -> str:
        current().set_header({"h": ["1", b"\xff"]})
        current().set_trailer({"t": "2"})
        if v:
            raise Error(Code.ABORTED, "no")
        return current().metadata.text("traceparent")

    peer = connect()
    reply = standpipe.Reply()
    assert peer.call("meta", 0, metadata={"traceparent": "00-ab"}, reply=reply) == "00-ab"
    assert (reply.header, reply.trailer) == ({"h": [b"1", b"\xff"]}, {"t": [b"2"]})
    reply = standpipe.Reply()
    with pytest.raises(Error):
        peer.call("meta", 1, reply=reply)
    assert reply.trailer.text("t") == "2"
    for bad in ({"UPPER": "x"}, {"k": "x" * 20000}, {f"k{i}": "" for i in range(65)}):
        with pytest.raises(ValueError):
            peer.call("meta", 0, metadata=bad)


def test_limits(connect: Connect) -> None:
    peer = connect()
    with pytest.raises(Error) as e:
        peer.call("echo", b"x" * (17 << 20))
    assert e.value.code is Code.RESOURCE_EXHAUSTED
    assert len(peer.call("echo", b"x" * (15 << 20))) == 15 << 20
    with pytest.raises(ValueError):
        standpipe.Server(max_calls=3)


def test_policy_of_a_method(server: Server, connect: Connect) -> None:
    @server.method("others", policy=standpipe.Policy.parse("user:nobody"))
    def others() -> int:
        return 1

    with pytest.raises(Error) as e:
        connect().call("others")
    assert e.value.code is Code.PERMISSION_DENIED


def test_drain(server: Server, connect: Connect) -> None:
    begun = threading.Event()

    @server.method
    def work() -> str:
        begun.set()
        time.sleep(0.2)
        return "done"

    peer = connect()
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.append(peer.call("work")))
    thread.start()
    assert begun.wait(20)
    closing = threading.Thread(target=server.close, args=(20,))
    closing.start()
    eventually(lambda: peer.draining, "it is told", lambda: peer.draining)
    with pytest.raises(standpipe.UnavailableError):
        peer.call("echo")
    thread.join()
    closing.join()
    assert got == ["done"]
    assert peer.join(20)


def test_close_ends_who_waits(server: Server, connect: Connect) -> None:
    cancelled = threading.Event()

    @server.method
    def hang() -> None:
        current().wait()
        cancelled.set()

    peer = connect()
    failed: list[BaseException] = []

    def body() -> None:
        try:
            peer.call("hang")
        except Error as e:
            failed.append(e)

    threads = [threading.Thread(target=body) for _ in range(3)]
    for t in threads:
        t.start()
    time.sleep(0.05)
    peer.close()
    for t in threads:
        t.join()
    assert [e.code for e in failed if isinstance(e, Error)] == [Code.UNAVAILABLE] * 3
    assert cancelled.wait(20)
    with pytest.raises(standpipe.UnavailableError):
        peer.call("echo")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise")
def test_interrupt(connect: Connect) -> None:
    peer = connect()
    timer = threading.Timer(0.2, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        peer.call("sleep", 30.0)
    timer.join()
    assert peer.call("echo", "as good as before", timeout=20) == "as good as before"


def test_dial(server: Server, name: str) -> None:
    serving = server.start(name)
    with standpipe.dial(name) as peer:
        assert peer.call("echo", 1) == 1
        assert peer.identity.pid > 0
        assert {m["name"] for m in peer.describe()} >= {"echo", "item", "add"}
        by_name = {m["name"]: m for m in peer.describe()}
        assert by_name["add"]["in"]["required"] == ["a"]
        assert by_name["item"]["in"]["properties"]["parts"]["items"] == {"$ref": "#"}
    serving.stop()
    with pytest.raises(standpipe.NoServerError):
        standpipe.dial(name)


def test_serve_until_closed(name: str, leaks: None) -> None:
    s = Server()
    thread = threading.Thread(target=s.serve, args=(name,))
    thread.start()
    with standpipe.dial(name, wait=True, timeout=20) as peer:
        assert peer.call("standpipe.describe") == {"methods": []}
        s.close()
        thread.join()
        assert peer.join(20)


def test_no_standpipe(leaks: None) -> None:
    a, b = standpipe.pipe()
    b.send([b"HTTP/1.1 400 Bad Request\r\n\r\n"])
    with pytest.raises(standpipe.ProtocolError):
        standpipe.attach(a)
    b.close()
    a, b = standpipe.pipe()
    b.close()
    with pytest.raises(standpipe.UnavailableError):
        standpipe.attach(a)


def test_protobuf(server: Server, connect: Connect) -> None:
    wrappers = pytest.importorskip("google.protobuf.wrappers_pb2")

    @server.method
    def proto(v: wrappers.StringValue) -> wrappers.StringValue:  # type: ignore[name-defined]
        return wrappers.StringValue(value=v.value.upper())

    peer = connect()
    sent = wrappers.StringValue(value="abc")
    assert peer.call("proto", sent, returns=wrappers.StringValue, codec=standpipe.PROTOBUF).value == "ABC"
    with pytest.raises(Error) as e:
        peer.call("proto", "abc")
    assert e.value.code is Code.INVALID_ARGUMENT


def test_whoever_reads(server: Server) -> None:
    """A quick method that suddenly blocks, or calls back, in the middle of others, holds up nobody."""
    gate = threading.Event()

    @server.method
    def brisk(v: Any) -> Any:
        if v == "block":
            gate.wait(20)
        return current().peer.call("back", 1) if v == "back" else v

    wrong: list[Any] = []
    with Server() as back:

        @back.method("back")
        def _(v: int) -> int:
            return v + 1

        a, b = standpipe.pipe()
        server.attach(b)
        with standpipe.attach(a, server=back) as peer:
            for i in range(100):
                peer.call("brisk", i)

            def body(n: int) -> None:
                for i in range(40):
                    try:
                        if i % 10 == n % 10:
                            wrong.append(peer.call("brisk", "block", timeout=0.01))
                        elif i % 10 == n % 7:
                            wrong.extend(x for x in [peer.call("brisk", "back", timeout=10)] if x != 2)
                        else:
                            wrong.extend(x for x in [peer.call("brisk", i, timeout=10)] if x != i)
                    except standpipe.DeadlineError:
                        if i % 10 != n % 10:
                            wrong.append(i)

            threads = [threading.Thread(target=body, args=(n,)) for n in range(20)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            gate.set()
    assert not wrong
