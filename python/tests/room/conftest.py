"""What the tests of connections share: a place of their own for names, and a look at what they leave behind."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import standpipe

TOP = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder of this test's, which names of this user lie in; on Windows they need none."""
    folder = tempfile.mkdtemp(prefix="sp-")  # tmp_path is too long for a socket
    if sys.platform != "win32":
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def name() -> str:
    return "test-" + uuid.uuid4().hex[:12]


def held() -> dict[str, int]:
    """How many threads, descriptors and mapped segments this process has."""
    counts = {"threads": threading.active_count()}
    if sys.platform == "linux":
        counts["descriptors"] = len(os.listdir("/proc/self/fd"))
        with open("/proc/self/maps") as f:
            counts["segments"] = sum("memfd:standpipe" in line for line in f)
    elif sys.platform == "win32":
        counts["handles"] = open_handles()
    return counts


if sys.platform == "win32":
    import ctypes

    class Handle(ctypes.Structure):
        """SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX of winternl.h."""

        _fields_ = (
            ("object", ctypes.c_void_p),
            ("process", ctypes.c_size_t),
            ("value", ctypes.c_size_t),
            ("access", ctypes.c_uint32),
            ("trace", ctypes.c_uint16),
            ("type", ctypes.c_uint16),
            ("attributes", ctypes.c_uint32),
            ("reserved", ctypes.c_uint32),
        )

    def open_handles() -> int:
        """How many handles this process has, from the list of all: Wine does not count them."""
        extended_handle_information, head, size = 64, 16, 1 << 20
        query = ctypes.WinDLL("ntdll").NtQuerySystemInformation
        while True:
            room = ctypes.create_string_buffer(size)
            if query(extended_handle_information, room, size, None) == 0:
                break
            assert size < 1 << 30
            size *= 2
        count = ctypes.c_size_t.from_buffer(room).value
        return sum(handle.process == os.getpid() for handle in (Handle * count).from_buffer(room, head))


@pytest.fixture(autouse=True)
def leaks(place: str) -> Iterator[None]:
    """Fail a test that leaves threads, descriptors or segments behind."""
    before = held()
    yield

    def clean() -> bool:
        return all(n <= before[what] + SLACK.get(what, 0) for what, n in held().items())

    def collected() -> bool:  # which takes longer than most of the tests
        gc.collect()
        return clean()

    eventually(lambda: clean() or collected(), f"{before}", held)


# Windows opens handles of its own at first uses: of locks, of the console, of registry keys.
SLACK = {"handles": 3}


def eventually(condition: Callable[[], bool], wanted: str, found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"wanted: {wanted}; found: {found()}"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The standpipe command in Go: the one that STANDPIPE_COMMAND names, or built here."""
    if built := os.environ.get("STANDPIPE_COMMAND"):
        return built
    if shutil.which("go") is None:
        pytest.skip("there is no go to build the command with, and no STANDPIPE_COMMAND")
    out = str(tmp_path_factory.mktemp("bin") / "standpipe")
    subprocess.run(["go", "build", "-o", out, "./cmd/standpipe"], cwd=TOP, check=True)
    return out


def environment() -> dict[str, str]:
    """The environment of a program that finds this package."""
    source = os.path.dirname(os.path.dirname(standpipe.__file__))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}


Background = Callable[..., threading.Thread]


@pytest.fixture
def background() -> Iterator[Background]:
    """Run a function in a thread; its exception is the test's."""
    threads: list[threading.Thread] = []
    errors: list[BaseException] = []

    def run(function: Callable[..., object], *args: object) -> threading.Thread:
        def body() -> None:
            try:
                function(*args)
            except BaseException as e:
                errors.append(e)

        thread = threading.Thread(target=body, daemon=True)
        threads.append(thread)
        thread.start()
        return thread

    yield run
    for thread in threads:
        thread.join(300)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]
