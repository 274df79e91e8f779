"""The cases of spec/interop.md, as a client."""

import _thread
import itertools
import os
import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import standpipe
from methods import Blob, filled, pattern
from standpipe import Code, Peer, Stream

PATIENCE = 60.0  # seconds for a case
HUGE = 300_000_000
ABOVE_LIMIT = 17_000_000

Case = Callable[[Peer], None]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    def add(function: Case) -> Case:
        CASES[name] = function
        return function

    return add


def same(what: str, got: object, want: object) -> None:
    if got != want or type(got) is not type(want):
        raise AssertionError(f"{what}: got {got!r:.200}, want {want!r:.200}")


@contextmanager
def fails(code: Code, message: str | None = None) -> Iterator[list[standpipe.Error]]:
    """What is done in it must fail with the code."""
    caught: list[standpipe.Error] = []
    try:
        yield caught
    except standpipe.Error as e:
        if e.code is not code or message not in (None, e.message):
            raise AssertionError(f"it failed with {e!r}, not {code!r} {message!r}") from e
        caught.append(e)
    else:
        raise AssertionError(f"it did not fail with {code!r}")


def call(peer: Peer, method: str, value: Any = None, **how: Any) -> Any:
    return peer.call(method, value, timeout=PATIENCE, **how)


def echo(peer: Peer, value: Any, **how: Any) -> None:
    same("echo", call(peer, "echo", value, **how), value)


def lives(peer: Peer) -> None:
    """The connection works as before."""
    echo(peer, "alive")


def await_state(peer: Peer, what: str, wanted: Callable[[int, int], bool]) -> None:
    until = time.monotonic() + PATIENCE / 2
    while True:
        state = call(peer, "state")
        if wanted(state["hanging"], state["cancelled"]):
            return
        if time.monotonic() > until:
            raise AssertionError(f"the server's state is {state} for ever, which is not: {what}")
        time.sleep(0.01)


@case("idle")
def idle(peer: Peer) -> None:
    await_state(peer, "nothing hangs", lambda hanging, cancelled: hanging == 0)


@case("values")
def values(peer: Peer) -> None:
    given: list[Any] = [
        None,
        True,
        False,
        -(1 << 63),
        (1 << 63) - 1,
        1.5,
        "",
        "a\0b",
        "é漢😀",
    ]
    for value in (*given, b"\0\xff", [1, -1], {"k": ["v"]}):
        echo(peer, value)


@case("typed")
def typed(peer: Peer) -> None:
    same("sum", call(peer, "add", {"a": 2, "b": 40}, returns=dict[str, int]), {"sum": 42})
    same(
        "sum",
        call(peer, "add", {"a": -(1 << 62), "b": -(1 << 62)}),
        {"sum": -(1 << 63)},
    )


@case("wrong-type")
def wrong_type(peer: Peer) -> None:
    with fails(Code.INVALID_ARGUMENT):
        call(peer, "add", {"a": "x", "b": 1})
    lives(peer)


@case("unknown-method")
def unknown_method(peer: Peer) -> None:
    with fails(Code.UNIMPLEMENTED):
        call(peer, "nobody.has.it")
    lives(peer)


@case("wrong-kind")
def wrong_kind(peer: Peer) -> None:
    with fails(Code.UNIMPLEMENTED):
        call(peer, "each")
    with fails(Code.UNIMPLEMENTED), peer.open("echo", timeout=PATIENCE) as stream:
        stream.recv()
    lives(peer)


@case("codes")
def codes(peer: Peer) -> None:
    for code in list(Code)[1:]:
        with fails(code, "because é"):
            call(peer, "fail", {"code": code, "message": "because é", "details": []})


@case("details")
def details(peer: Peer) -> None:
    sent = [("type/a", b"\1\2\0"), ("type/é", b""), ("type/a", b"x")]
    with fails(Code.ABORTED) as caught:
        call(
            peer,
            "fail",
            {
                "code": 10,
                "message": "",
                "details": [{"type": t, "data": d} for t, d in sent],
            },
        )
    same("details", [tuple(d) for d in caught[0].details], sent)


@case("crash")
def crash(peer: Peer) -> None:
    with fails(Code.INTERNAL) as caught:
        call(peer, "crash")
    same("what the handler said was sent", "secret" in str(caught[0]), False)
    lives(peer)


@case("deadline")
def deadline(peer: Peer) -> None:
    with fails(Code.DEADLINE_EXCEEDED):
        peer.call("hang", timeout=0.2)
    left = peer.call("left", timeout=20, returns=int)
    same(f"between 0 and 20000: {left}", 0 <= left <= 20000, True)
    same("left without a limit", peer.call("left"), -1)
    idle(peer)


@case("cancel")
def cancel(peer: Peer) -> None:
    """A call is cancelled by an exception in the thread that waits, such as by Ctrl-C."""
    before = call(peer, "state")["cancelled"]
    watch = threading.Thread(target=_interrupt_when_it_hangs, args=(peer,))
    watch.start()
    try:
        call(peer, "hang")
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("the call was not cancelled")
    watch.join()
    await_state(
        peer,
        "one more was cancelled",
        lambda hanging, cancelled: hanging == 0 and cancelled == before + 1,
    )


def _interrupt_when_it_hangs(peer: Peer) -> None:
    await_state(peer, "it hangs", lambda hanging, cancelled: hanging > 0)
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:  # the other one ends no system call
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@case("metadata")
def metadata(peer: Peer) -> None:
    sent = {"who": ["me", "two words"], "trace-id": ["é"]}
    reply = standpipe.Reply()
    same("metadata", call(peer, "meta", metadata=sent, reply=reply), sent)
    same("header", dict(reply.header), {"place": [b"header"]})
    same("trailer", dict(reply.trailer), {"place": [b"trailer"]})


@case("who")
def who(peer: Peer) -> None:
    # The server runs as the same user: so both see the same name.
    same("who", call(peer, "who"), {"pid": os.getpid(), "user": peer.identity.user})


@case("back")
def back(peer: Peer) -> None:
    same("back", call(peer, "back"), "hello case")


def at_once(n: int, function: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(n) as pool:
        for _ in pool.map(function, range(n)):
            pass


@case("concurrent")
def concurrent(peer: Peer) -> None:
    def some(i: int) -> None:
        for k in range(20):
            echo(peer, f"{k} of {i}")

    at_once(64, some)


@case("max-calls")
def max_calls(peer: Peer) -> None:
    at_once(100, lambda i: same("slow", call(peer, "slow", {"ms": 50}), 50))


@case("large")
def large(peer: Peer) -> None:
    echo(peer, pattern(8_000_000))


@case("too-large")
def too_large(peer: Peer) -> None:
    with fails(Code.RESOURCE_EXHAUSTED):
        echo(peer, bytes(ABOVE_LIMIT))
    lives(peer)


@case("large-answer")
def large_answer(peer: Peer) -> None:
    with fails(Code.RESOURCE_EXHAUSTED):
        call(peer, "bytes", {"size": ABOVE_LIMIT})
    lives(peer)


@case("json")
def json(peer: Peer) -> None:
    given: list[Any] = ['é\0"', [1, -1], {"k": ["v"]}]
    for value in given:
        echo(peer, value, codec=standpipe.JSON)


@case("describe")
def describe(peer: Peer) -> None:
    kinds = {m["name"]: m["kind"] for m in peer.describe(PATIENCE)}
    for kind, names in (
        (
            "unary",
            "echo add fail crash hang slow state left meta who back bytes make check copy drain",
        ),
        ("stream", "count sum each speak broken flood swap"),
    ):
        for name in names.split():
            same(f"the kind of {name}", kinds.get(name), kind)


def counts(peer: Peer, n: int) -> None:
    same(
        "values",
        list(peer.open("count", {"to": n}, timeout=PATIENCE, returns=int)),
        list(range(n)),
    )


CASES["count"] = lambda peer: counts(peer, 10000)
CASES["count-none"] = lambda peer: counts(peer, 0)


@case("sum")
def add_up(peer: Peer) -> None:
    with peer.open("sum", timeout=PATIENCE) as stream:
        for n in range(1, 1001):
            stream.send(n)
        stream.close_send()
        same("values", list(stream), [500500])


@case("each")
def each(peer: Peer) -> None:
    with peer.open("each", timeout=PATIENCE) as stream:
        for i in range(100):
            stream.send("x" * i)
            same("value", stream.recv(), "x" * i)
        stream.close_send()
        same("the rest", list(stream), [])


@case("speak")
def speak(peer: Peer) -> None:
    with peer.open("speak", timeout=PATIENCE) as stream:
        same("value", stream.recv(), "first")


@case("broken")
def broken(peer: Peer) -> None:
    got = []
    with fails(Code.DATA_LOSS, "broken off"):
        for n in peer.open("broken", {"after": 3}, timeout=PATIENCE):
            got.append(n)
    same("values", got, [0, 1, 2])
    lives(peer)


def flood(stream: Stream[Any, Any], n: int) -> None:
    """Receives the first n values."""
    for i, value in enumerate(itertools.islice(stream, n)):
        same(f"value {i}", value, str(i).ljust(1000))


@case("close")
def close_early(peer: Peer) -> None:
    before = call(peer, "state")["cancelled"]
    with peer.open("flood", timeout=PATIENCE) as stream:
        flood(stream, 5)
    await_state(
        peer,
        "one more was cancelled",
        lambda hanging, cancelled: hanging == 0 and cancelled == before + 1,
    )


@case("slow-reader")
def slow_reader(peer: Peer) -> None:
    with peer.open("flood", timeout=PATIENCE) as stream:
        time.sleep(0.3)  # it is full, or would fill memory
        for _ in range(20):
            lives(peer)
        flood(stream, 5000)


def patterned(buffer: standpipe.Buffer | None, n: int) -> None:
    if buffer is None or buffer.view != pattern(n):
        raise AssertionError(f"{buffer!r} does not have the {n} bytes that it should")


def copies(peer: Peer, n: int) -> None:
    answer = call(peer, "copy", filled(peer, n), returns=Blob)
    patterned(answer.a, n)
    answer.a.release()


@case("buffer")
def buffer(peer: Peer) -> None:
    copies(peer, 5)
    copies(peer, 0)
    same("no buffer", call(peer, "copy", Blob(), returns=Blob), Blob())


@case("buffer-reuse")
def buffer_reuse(peer: Peer) -> None:
    for _ in range(20):
        copies(peer, 8_000_000)


@case("buffer-huge")
def buffer_huge(peer: Peer) -> None:
    made = call(peer, "make", {"size": HUGE}, returns=Blob)
    patterned(made.a, HUGE)
    crc = zlib.crc32(made.a.view)
    made.a.release()
    same("check", call(peer, "check", filled(peer, HUGE)), {"size": HUGE, "crc": crc})


@case("buffer-stream")
def buffer_stream(peer: Peer) -> None:
    with peer.open("swap", timeout=PATIENCE, returns=Blob) as stream:
        for n in range(100000, 100010):
            stream.send(filled(peer, n))
            answer = stream.recv()
            patterned(answer.a, n)
            answer.a.release()
        stream.close_send()
        same("the rest", list(stream), [])


def until(what: str, ready: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE / 2
    while not ready():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: it never is")
        time.sleep(0.01)


@case("drain")
def drain(peer: Peer) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(call, peer, "slow", {"ms": 1000})
        time.sleep(0.2)  # it has begun, or what follows shows that it had not
        call(peer, "drain")
        until("draining", lambda: peer.draining)
        with fails(Code.UNAVAILABLE):
            lives(peer)
        same("slow", slow.result(), 1000)
    until("closed", lambda: peer.closed)


def hold(peer: Peer) -> list[Future[Any]]:
    """Starts hang and flood, and tells the test when they run."""
    pool = ThreadPoolExecutor(2)
    stream = peer.open("flood")
    ended = [
        pool.submit(lambda: [None for _ in stream]),
        pool.submit(call, peer, "hang"),
    ]
    await_state(peer, "both run", lambda hanging, cancelled: hanging >= 2)
    print("holding", flush=True)
    return ended


@case("killed-server")
def killed_server(peer: Peer) -> None:
    for ended in hold(peer):
        with fails(Code.UNAVAILABLE):
            ended.result(PATIENCE)


@case("killed-client")
def killed_client(peer: Peer) -> None:
    half = peer.new_buffer(HUGE)
    half.view[: HUGE // 2] = pattern(HUGE // 2)
    hold(peer)
    time.sleep(PATIENCE)
    raise AssertionError("nobody has killed this client")
