"""What a server tells of itself."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import standpipe
from standpipe import Code, Error, Policy
from standpipe.rpc.stats import quantile, step_end, step_of

from ..room.conftest import command, eventually
from .conftest import Connect

__all__ = ["command"]

SCHEMA = json.loads((Path(__file__).parents[3] / "spec" / "stats.schema.json").read_text())


def as_the_schema_says(v: Any, schema: dict[str, Any]) -> None:
    """As much of JSON Schema as the page has."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
    }
    if "type" in schema:
        assert isinstance(v, kinds[schema["type"]]), (v, schema)
        assert schema["type"] == "boolean" or not isinstance(v, bool), (v, schema)
    assert "enum" not in schema or v in schema["enum"]
    assert "minimum" not in schema or v >= schema["minimum"]
    if isinstance(v, dict):
        assert set(schema.get("required", ())) <= set(v), schema
        for key, one in v.items():
            rule = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            assert isinstance(rule, dict), f"{key} is not in the schema"
            as_the_schema_says(one, rule)
    elif isinstance(v, list):
        for one in v:
            as_the_schema_says(one, schema["items"])


def serve(server: standpipe.Server) -> threading.Event:
    go = threading.Event()

    @server.method
    def upper(text: str) -> str:
        if text == "fail":
            raise Error(Code.NOT_FOUND, "no")
        return text.upper()

    @server.method
    def wait() -> None:
        go.wait(60)

    @server.method
    def size(data: standpipe.Buffer) -> int:
        return len(data)

    @server.method
    def numbers(n: int) -> Any:
        yield from range(n)

    return go


def ask(peer: standpipe.Peer) -> dict[str, Any]:
    stats: dict[str, Any] = peer.call("standpipe.stats")
    as_the_schema_says(stats, SCHEMA)
    return stats


def method(stats: dict[str, Any], name: str) -> dict[str, Any]:
    [found] = [m for m in stats["methods"] if m["name"] == name]
    return dict(found)


def test_counts(server: standpipe.Server, connect: Connect) -> None:
    """Nothing is counted twice or not at all, however many call at once."""
    go = serve(server)
    peers = [connect() for _ in range(3)]
    threads, each = 4, 50

    def call(peer: standpipe.Peer) -> None:
        for i in range(each):
            try:
                peer.call("upper", "fail" if i == 7 else "a")
            except Error:
                pass

    for t in (running := [threading.Thread(target=call, args=(p,)) for p in peers for _ in range(threads)]):
        t.start()
    for t in running:
        t.join()
    with pytest.raises(Error):
        peers[0].call("nothing")
    waiting = threading.Thread(target=lambda: peers[1].call("wait"))
    waiting.start()
    assert list(peers[2].open("numbers", 3)) == [0, 1, 2]
    eventually(lambda: method(server.stats(), "wait")["open"] == 1, "a call waits", server.stats)

    stats = ask(peers[2])
    assert (stats["pid"], stats["connected"], stats["accepted"]) == (os.getpid(), 3, 3)
    assert stats["refused"] == {"Unimplemented": 1}
    upper = method(stats, "upper")
    assert (upper["calls"], upper["open"], upper["errors"]) == (3 * threads * each, 0, {"NotFound": 3 * threads})
    assert 0 < upper["p50"] <= upper["p90"] <= upper["p99"] < 60
    assert 0.8 < sum(t["count"] for t in upper["times"]) / upper["calls"] < 1.2
    assert [m["name"] for m in stats["methods"]] == ["numbers", "size", "upper", "wait"]
    numbers = method(stats, "numbers")
    assert (numbers["kind"], numbers["calls"], numbers["open"]) == ("stream", 1, 0)
    assert [c["self"] for c in stats["connections"]] == [False, False, True]
    assert [c["id"] for c in stats["connections"]] == [1, 2, 3]
    assert [c["open"] for c in stats["connections"]] == [0, 1, 1]  # the last one is this call
    assert [c["failed"] for c in stats["connections"]] == [threads] * 3
    assert all(not c["dialed"] and c["pid"] == os.getpid() and c["user"] for c in stats["connections"])

    go.set()
    waiting.join()
    before = server.stats()
    for peer in peers:
        peer.close()
    eventually(lambda: server.stats()["connected"] == 0, "nobody is connected", server.stats)
    after = server.stats()
    assert (after["accepted"], after["refused"]) == (3, {"Unimplemented": 1})
    assert (method(after, "upper"), method(after, "wait")["calls"]) == (method(before, "upper"), 1)
    assert after["sent"] >= before["sent"] and after["received"] >= before["received"]


def test_bytes_and_memory(server: standpipe.Server, connect: Connect) -> None:
    serve(server)
    peer = connect()
    before = ask(peer)
    peer.call("upper", "a" * 100_000)
    stats = ask(peer)
    assert 200_000 < stats["received"] + stats["sent"] - before["received"] - before["sent"] < 210_000
    buffer = peer.new_buffer(1 << 20)
    shared = buffer.shared
    assert peer.call("size", buffer) == 1 << 20
    last = ask(peer)
    assert 1 << 20 <= last["received"] - stats["received"] < (1 << 20) + 10_000
    assert last["connections"][0]["taken"] == ((1 << 20) if shared else 0)
    assert last["connections"][0]["sent"] == last["sent"]


def test_blocked(server: standpipe.Server, connect: Connect) -> None:
    """A stream whose reader does not read is blocked, and so it is said."""
    serve(server)
    peer = connect()
    stream = peer.open("numbers", 10**9)
    assert next(iter(stream)) == 0
    eventually(lambda: ask(peer)["connections"][0]["blocked"] == 1, "it is blocked", lambda: ask(peer))
    assert ask(peer)["connections"][0]["streams"] == 1
    stream.close()
    eventually(lambda: ask(peer)["connections"][0]["streams"] == 0, "it is over", lambda: ask(peer))
    assert method(ask(peer), "numbers")["errors"] == {"Canceled": 1}


def test_who_may_ask(server: standpipe.Server, connect: Connect) -> None:
    serve(server)
    peer = connect()
    assert peer.call("standpipe.stats")["connected"] == 1
    assert all(not m["name"].startswith("standpipe.") for m in peer.describe())
    server.require("standpipe.stats", Policy.user("4242" if os.name != "nt" else "S-1-5-21-1-2-3-4242"))
    with pytest.raises(Error) as e:
        peer.call("standpipe.stats")
    assert e.value.code == Code.PERMISSION_DENIED
    server.require("upper", Policy.user("4242" if os.name != "nt" else "S-1-5-21-1-2-3-4242"))
    with pytest.raises(Error) as e:
        peer.call("upper", "a")
    assert e.value.code == Code.PERMISSION_DENIED
    assert method(server.stats(), "upper")["errors"] == {"PermissionDenied": 1}
    with pytest.raises(LookupError):
        server.require("uper", Policy.anyone())


def test_top(server: standpipe.Server, command: str, name: str) -> None:
    """The command in Go shows it."""
    serve(server)
    server.start(name)
    with standpipe.dial(name) as peer:
        for _ in range(10):
            peer.call("upper", "a")
        shown = subprocess.run([command, "top", "--once", "--json", name], capture_output=True, text=True, timeout=60)
        assert shown.returncode == 0, shown.stderr
        stats = json.loads(shown.stdout)["stats"]
        assert method(stats, "upper")["calls"] == 10
        assert stats["accepted"] == 2


@given(st.integers(0, 1 << 60))
def test_steps(ns: int) -> None:
    step = step_of(ns)
    if 256 <= ns < 1 << 38:
        assert step_end(step - 1) <= ns * 1e-9 * (1 + 1e-9) and ns * 1e-9 < step_end(step) * (1 + 1e-9)
        assert step_end(step) <= 1.25 * step_end(step - 1) * (1 + 1e-9) or step == 1
    assert 0 <= step <= 120


def test_quantiles() -> None:
    assert quantile({}, 0.5) == 0
    times = Counter({3: 1, 9: 98, 20: 1})
    assert (quantile(times, 0.01), quantile(times, 0.5), quantile(times, 1)) == (step_end(3), step_end(9), step_end(20))
