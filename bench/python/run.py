"""Measures standpipe for Python beside its peers, and prints tables.

Server and client are two processes, started anew in each round; a round goes over all contenders, so that a noisy
minute of the machine hits all alike. What counts are the ratios to standpipe within a round: the median is shown.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from contender import CONTENDERS, Call

SMALL = 64  # bytes of a call
CALLERS = 64
ARRAY = 64 << 20  # bytes
HERE = Path(__file__).parent

Rounds = dict[str, list[float]]


@contextmanager
def running(*command: str) -> Iterator[None]:
    """A server, which ends with its standard input."""
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin is not None and server.stdout is not None
    try:
        line = server.stdout.readline()
        if line != "ready\n":
            raise RuntimeError(f"{' '.join(command)} said {line!r} instead of being ready")
        yield
    finally:
        server.stdin.close()
        server.wait()
        server.stdout.close()


def latency(call: Callable[[], Any], seconds: float) -> float:
    """The median time of calls, one after the other, in seconds."""
    took: list[float] = []
    end = perf_counter() + 1.25 * seconds
    while (start := perf_counter()) < end or len(took) < 3:
        call()
        took.append(perf_counter() - start)
    return median(took[len(took) // 5 :])  # the first ones warm up


def rate(make: Callable[[], Call], seconds: float) -> float:
    """Calls a second of many threads at once."""
    done = [0] * CALLERS
    start, stop = threading.Barrier(CALLERS + 1), threading.Event()

    def work(i: int) -> None:
        call = make()
        call(bytes(SMALL))
        start.wait()
        while not stop.is_set():
            call(bytes(SMALL))
            done[i] += 1

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(CALLERS)]
    for thread in threads:
        thread.start()
    start.wait()
    began, before = perf_counter(), sum(done)
    stop.wait(seconds)
    result = (sum(done) - before) / (perf_counter() - began)
    stop.set()
    for thread in threads:
        thread.join()
    return result


def python_to_python(name: str, seconds: float) -> tuple[float, float]:
    """The latency and the rate of a contender."""
    contender = CONTENDERS[name]
    with (
        place() as address,
        running(sys.executable, str(HERE / "contender.py"), name, address),
    ):
        call = contender.connect(address)
        message = bytes(SMALL)
        if call(message) != message:
            raise RuntimeError(f"{name} answered with something else")
        return latency(lambda: call(message), seconds), rate(contender.per_thread(address, call), seconds)


@contextmanager
def place() -> Iterator[str]:
    """A fresh address, which is a path."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder + "/s"


def to_go(peer: str, kind: str, seconds: float) -> tuple[float, float]:
    """The latency of a small call of a server in Go, and the time of an array of NumPy's."""
    with place() as address, running(peer, "serve", kind, address):
        call, take = (_standpipe if kind == "standpipe" else _grpc)(address)
        return latency(partial(call, bytes(SMALL)), seconds), latency(take, seconds)


def _standpipe(address: str) -> tuple[Call, Callable[[], Any]]:
    import numpy as np

    import standpipe

    peer = standpipe.dial(address)
    array = np.arange(ARRAY // 4, dtype=np.float32)

    def take() -> None:
        buffer = peer.new_buffer(array.nbytes)
        np.copyto(buffer.numpy("float32"), array)
        peer.call("take", {"data": buffer})

    return lambda message: peer.call("echo", message), take


def _grpc(address: str) -> tuple[Call, Callable[[], Any]]:
    import grpc
    import numpy as np
    from google.protobuf.wrappers_pb2 import BytesValue

    channel = grpc.insecure_channel("unix:" + address, options=[("grpc.max_send_message_length", -1)])
    pack = BytesValue.SerializeToString
    echo = channel.unary_unary(
        "/Bench/Echo",
        request_serializer=pack,
        response_deserializer=BytesValue.FromString,
    )
    sink = channel.unary_unary("/Bench/Take", request_serializer=pack)
    array = np.arange(ARRAY // 4, dtype=np.float32)
    return lambda message: echo(BytesValue(value=message)), lambda: sink(BytesValue(value=array.tobytes()))


def go_to_python(peer: str, seconds: float) -> float:
    """The latency of a small call from Go."""
    with (
        place() as address,
        running(sys.executable, str(HERE / "contender.py"), "standpipe", address),
    ):
        command = [peer, "call", address, str(seconds), str(SMALL)]
        return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def table(title: str, unit: str, rounds: Rounds, scale: float, notes: dict[str, str]) -> None:
    """Prints medians, and the medians of the ratios to the first row."""
    base = next(iter(rounds.values()))
    print(f"\n### {title}\n\n| | {unit} | times standpipe | rounds' times | |\n|---|--:|--:|--:|---|")
    for name, values in rounds.items():
        ratios = [v / b for v, b in zip(values, base, strict=True)]
        cells = [
            f"{median(values) * scale:.4g}",
            f"{median(ratios):.3g}",
            f"{min(ratios):.3g} to {max(ratios):.3g}",
        ]
        print(f"| {name} | {' | '.join(cells)} | {notes.get(name, '')} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", required=True, help="the program of bench/python/peer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measure")
    parser.add_argument(
        "--pin", action="store_true", help="all on one CPU, so that nobody wakes another one: what is left is work"
    )
    s = parser.parse_args()
    if s.pin:
        os.sched_setaffinity(0, {0})
    calls: Rounds = {}
    rates: Rounds = {}
    small: Rounds = {}
    arrays: Rounds = {}
    for number in range(s.rounds):
        for name in CONTENDERS:
            took, many = python_to_python(name, s.seconds)
            calls.setdefault(name, []).append(took)
            rates.setdefault(name, []).append(many)
        for kind, label in (("standpipe", "standpipe"), ("grpc", "grpcio to grpc-go")):
            took, array = to_go(s.peer, kind, s.seconds)
            small.setdefault(label, []).append(took)
            arrays.setdefault(label, []).append(array)
        small.setdefault("standpipe, Go calls Python", []).append(go_to_python(s.peer, s.seconds))
        print(f"round {number + 1} of {s.rounds} is over", file=sys.stderr)
    notes = {name: c.note for name, c in CONTENDERS.items()}
    where = ", all on one CPU" if s.pin else ""
    print(f"{s.rounds} rounds, {s.seconds:g} s for each measure, Python {sys.version.split()[0]}{where}. Medians.")
    table(f"Python to Python, a call of {SMALL} bytes", "µs", calls, 1e6, notes)
    table(
        f"{CALLERS} threads (more is better)",
        "calls/s",
        rates,
        1,
        {n: c.shared for n, c in CONTENDERS.items()},
    )
    table(f"Python to Go, a call of {SMALL} bytes", "µs", small, 1e6, {})
    how = "a copy into the Buffer included"
    table(
        f"Python to Go, a NumPy array of {ARRAY >> 20} MiB",
        "ms",
        arrays,
        1e3,
        {"standpipe": how},
    )


if __name__ == "__main__":
    main()
