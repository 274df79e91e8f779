"""Descriptors that are handed over with the bytes."""

from __future__ import annotations

import array
import os
import socket
import sys

import pytest

import standpipe
from standpipe import HandlesError

from .test_conn import receive

if sys.platform == "win32":
    pytest.skip("on Windows handles travel as values", allow_module_level=True)

import resource


def send_raw(fileno: int, data: bytes, fds: list[int]) -> None:
    """Send as many descriptors as the kernel takes, which is more than send does."""
    with socket.socket(fileno=os.dup(fileno)) as s:
        s.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def test_handed_over() -> None:
    a, b = standpipe.pipe()
    r, w = os.pipe()
    with a, b:
        a.send([b"two"], [r, w])
        os.close(r)
        os.close(w)
        assert receive(b, 3) == b"two"
        r, w = b.take_handles()
        assert b.take_handles() == []
        assert not os.get_inheritable(r) and not os.get_inheritable(w)
        os.write(w, b"through the pipe")
        assert os.read(r, 100) == b"through the pipe"
        os.close(r)
        os.close(w)


def test_in_order_and_with_the_first_byte() -> None:
    a, b = standpipe.pipe()
    with a, b, open(os.devnull) as f:
        for i in range(5):
            a.send([bytes([i]) * 10], [f.fileno()] * i)
        count = 0
        for i in range(5):
            got = receive(b, 1)
            count += i
            assert got == bytes([i])
            taken = b.take_handles()
            assert len(taken) == i
            for fd in taken:
                os.close(fd)
            receive(b, 9)
        assert count == 10


def test_not_taken_are_closed() -> None:
    a, b = standpipe.pipe()
    r, w = os.pipe()
    with a, b:
        a.send([b"x"], [w])
        os.close(w)
        assert receive(b, 1) == b"x"
    assert os.read(r, 1) == b""
    os.close(r)


def test_never_received_are_closed() -> None:
    a, b = standpipe.pipe()
    r, w = os.pipe()
    with a, b:
        a.send([b"x"], [w])
        os.close(w)
    assert os.read(r, 1) == b""
    os.close(r)


def test_64_go_and_65_do_not() -> None:
    a, b = standpipe.pipe()
    with a, b, open(os.devnull) as f:
        a.send([b"x"], [f.fileno()] * 64)
        assert receive(b, 1) == b"x"
        for fd in b.take_handles():
            os.close(fd)
        with pytest.raises(ValueError, match="at most 64"):
            a.send([b"x"], [f.fileno()] * 65)
        with pytest.raises(ValueError, match="at least one byte"):
            a.send([b""], [f.fileno()])
        a.send([b"y"])
        assert receive(b, 1) == b"y"


def test_a_descriptor_that_is_none_does_no_harm() -> None:
    a, b = standpipe.pipe()
    with a, b:
        with pytest.raises(OSError):
            a.send([b"x"], [9999])
        a.send([b"y"])
        assert receive(b, 1) == b"y"


@pytest.mark.parametrize("at_once", [True, False])
def test_too_many_end_it(at_once: bool) -> None:
    """More than 64 at once are cut off by the kernel, more than 64 in all by us. What is sent goes on."""
    a, b = standpipe.pipe()
    with a, b, open(os.devnull) as f:
        before = len(os.listdir("/dev/fd"))
        for part in [65] if at_once else [60, 5]:
            send_raw(a.fileno(), b"x", [f.fileno()] * part)
        a.send([b"more"])
        with pytest.raises(HandlesError):
            receive(b, 2)
        with pytest.raises(HandlesError):
            receive(b, 1)
        b.send([b"bye"])
        assert receive(a, 3) == b"bye"
        for fd in b.take_handles():
            os.close(fd)
        assert len(os.listdir("/dev/fd")) <= before + 2, "those that came with the last were not closed"


def test_no_room_for_descriptors_ends_it() -> None:
    """MSG_CTRUNC also says that this process may open no more."""
    a, b = standpipe.pipe()
    with a, b, open(os.devnull) as f:
        send_raw(a.fileno(), b"x", [f.fileno()] * 3)
        with pytest.raises(TimeoutError):
            b2 = memoryview(bytearray(1))
            a.recv_into(b2, 0)  # makes what receiving needs
        with pytest.raises(standpipe.Interrupted):
            b.wake()
            b.recv_into(b2)
        with pytest.raises(standpipe.Interrupted):
            b.wake()
            b.recv_into(b2)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(int(n) for n in os.listdir("/dev/fd")) + 1
        filled = [os.open(os.devnull, os.O_RDONLY) for _ in range(highest - len(os.listdir("/dev/fd")) + 2)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(filled) + 1, hard))
        try:
            with pytest.raises(HandlesError, match="than this process may open"):
                b.recv_into(b2)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in filled:
                os.close(fd)
