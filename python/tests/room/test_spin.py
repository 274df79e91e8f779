"""Looking before sleeping: when it is done, and that it ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

import standpipe
from standpipe import _spin
from standpipe._spin import Spinner


@pytest.fixture
def spinner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spinner]:
    monkeypatch.setattr(_spin, "cpus", lambda: 2)
    monkeypatch.setattr(_spin, "_until", 0.0)
    yield Spinner()


class Looks:
    """Something to be looked for, that comes at a look; None: never."""

    def __init__(self, comes: int | None) -> None:
        self.comes = comes
        self.n = 0

    def __call__(self, timeout: int) -> bool:
        assert timeout == 0
        self.n += 1
        return self.comes is not None and self.n >= self.comes


def test_it_sees_what_comes_soon(spinner: Spinner) -> None:
    look = Looks(3)
    assert spinner.saw(look)
    assert look.n == 3


def test_it_gives_up(spinner: Spinner) -> None:
    look = Looks(None)
    start = time.perf_counter()
    assert not spinner.saw(look)
    assert look.n > 0
    assert time.perf_counter() - start >= _spin.LONGEST


def test_it_looks_the_less_the_less_it_sees(spinner: Spinner) -> None:
    waits = []
    for _ in range(300):
        look = Looks(None)
        assert not spinner.saw(look)
        waits.append(look.n > 0)
    looked = [i for i, did in enumerate(waits) if did]
    assert looked == [0, 2, 6, 14, 30, 62, 126, 190, 254]
    # What it sees once is a reason to look the next time, too.
    while not spinner.saw(Looks(1)):
        pass
    assert spinner.saw(Looks(1))


def test_one_wait_in_nine_sleeps(spinner: Spinner) -> None:
    seen = [spinner.saw(Looks(1)) for _ in range(27)]
    assert seen == 3 * ([True] * 8 + [False])


def test_one_at_a_time(spinner: Spinner, monkeypatch: pytest.MonkeyPatch) -> None:
    look = Looks(1)
    monkeypatch.setattr(_spin, "_until", time.perf_counter() + 60)
    assert not spinner.saw(look)
    assert look.n == 0
    monkeypatch.setattr(_spin, "_until", time.perf_counter())  # of one who was interrupted: it is over by itself
    assert spinner.saw(look)


def test_it_does_not_look_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_spin, "cpus", lambda: 1)
    look = Looks(1)
    assert not Spinner().saw(look)
    assert look.n == 0


def test_cpus() -> None:
    assert _spin.cpus() >= 1


@pytest.mark.skipif(sys.platform == "win32", reason="there nobody looks")
def test_who_waits_burns_nothing() -> None:
    a, b = standpipe.pipe()
    with a, b:
        buffer = memoryview(bytearray(16))
        for _ in range(100):  # it pays
            a.send([b"x"])
            b.recv_into(buffer)
        start = time.thread_time()
        with pytest.raises(TimeoutError):
            b.recv_into(buffer, 0.3)
        assert time.thread_time() - start < 0.05
