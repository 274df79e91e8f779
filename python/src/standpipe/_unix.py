"""One end of a connection: a Unix socket."""

from __future__ import annotations

import array
import errno
import os
import select
import socket
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress

assert sys.platform != "win32"

from . import _unix_identity
from ._closing import Closing
from ._spin import LONGEST, Spinner
from ._unix_path import kind_of
from .addr import Addr
from .error import (
    ClosedError,
    DeniedError,
    HandlesError,
    Interrupted,
    MessagesError,
    NoServerError,
    NotSocketError,
    StaleError,
)
from .identity import Identity
from .policy import Guard

Part = bytes | bytearray | memoryview

MAX_HANDLES = 64  # that go at once, and that may wait to be taken
_LONGEST = 2_000_000.0  # seconds that poll(2) waits at once
_MAX_PARTS = 1024  # IOV_MAX of Linux, macOS and FreeBSD
SEND_FLAGS = getattr(socket, "MSG_NOSIGNAL", 0)
_RECEIVE_FLAGS = socket.MSG_DONTWAIT | getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_CUT = int(socket.MSG_CTRUNC)  # as a flag of the enumeration it would make one more at each look
_CONTROL = socket.CMSG_SPACE(MAX_HANDLES * 4)
_SO_NOSIGPIPE = 0x1022  # <sys/socket.h> of macOS


class Waker:
    """Something to poll, that another thread can make readable."""

    def __init__(self) -> None:
        if sys.platform == "linux":
            self.fd = self._to = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        else:
            self.fd, self._to = os.pipe()
            os.set_blocking(self.fd, False)
            os.set_blocking(self._to, False)

    def set(self) -> None:
        with suppress(BlockingIOError):  # it is readable, more than enough
            os.write(self._to, b"\1\0\0\0\0\0\0\0")

    def clear(self) -> None:
        with suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def close(self) -> None:
        os.close(self.fd)
        if self._to != self.fd:
            os.close(self._to)


class Endpoint(Closing):
    """A connected socket. It is in blocking mode: who sends waits in the kernel, and who receives asks first."""

    def __init__(self, sock: socket.socket, buffer: int = 0) -> None:
        sock.setblocking(True)
        if sys.platform == "darwin":
            sock.setsockopt(socket.SOL_SOCKET, _SO_NOSIGPIPE, 1)
        if not buffer and sys.platform != "linux":
            buffer = 64 << 10  # there the default is 8 KiB
        if buffer:
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, buffer)
        self.sock = sock
        self._handles: list[int] = []
        self._cut: HandlesError | None = None  # nothing is received any more
        self._poll = select.poll()
        self._poll.register(sock.fileno(), select.POLLIN)
        self._waker: Waker | None = None  # made when somebody waits
        self._woken = False
        self._spinner = Spinner()
        self._pid = os.getpid()
        super().__init__()

    def fileno(self) -> int:
        return self.sock.fileno()

    def identity(self) -> Identity:
        return Identity(*_unix_identity.peer(self.sock))

    def admit(self, guard: Guard, identity: Identity) -> None:
        """The second check of a client; the first was the kernel's, by the socket file's mode."""
        guard.check(identity, DeniedError, "the client")

    def send(self, parts: Sequence[Part], handles: Sequence[int]) -> None:
        try:
            self._sending = True
            if self.closed:
                raise ClosedError()
            if len(parts) == 1 and type(parts[0]) is bytes and not handles:  # the usual case, at half the price
                n = self.sock.send(parts[0], SEND_FLAGS)
                if n == len(parts[0]):
                    return
                parts = rest(parts, n)
            control = rights(handles, parts)
            for left in batches(parts):
                while left:
                    n = self.sock.sendmsg(left, control, SEND_FLAGS)
                    control = ()
                    left = rest(left, n)
        except OSError as e:
            if self.closed:
                raise ClosedError() from None
            raise send_error(e) from None
        except (ValueError, TypeError):  # of the arguments, before anything was sent
            raise
        except BaseException:
            # Such as KeyboardInterrupt: what has been sent of it is not known, so nothing can follow.
            self.close()
            raise
        finally:
            self._sending = False
            if self.closed:
                self.finish()

    def recv_into(self, buffer: memoryview, timeout: float | None) -> int:
        taking = False
        try:
            self._receiving = True
            if self.closed:
                raise ClosedError()
            while True:
                self._wait(timeout)
                taking = True
                n = self.receive_now(buffer)
                if n >= 0:
                    return n
                taking = False
        except (OSError, Interrupted):
            raise
        except BaseException:
            # Such as KeyboardInterrupt, which does no harm to a wait. Otherwise bytes may have been taken, and lost.
            if taking:
                self.close()
            raise
        finally:
            self._receiving = False  # nothing is called before that
            if self.closed:
                self.finish()

    def _wait(self, timeout: float | None) -> None:
        """Wait until there may be something to receive. To be interrupted here does no harm."""
        if self._waker is None:
            self._waker = Waker()
            self._poll.register(self._waker.fd, select.POLLIN)
        if not self._woken and not ((timeout is None or timeout > LONGEST) and self._spinner.saw(self._poll.poll)):
            milliseconds = None if timeout is None else max(0, -int(-min(timeout, _LONGEST) * 1000 // 1))
            if not self._poll.poll(milliseconds) and (timeout or 0) <= _LONGEST:
                raise TimeoutError(errno.ETIMEDOUT, "nothing came in time")
        if self._woken:
            with self.in_use():
                self._woken = False
                self._waker.clear()
            raise Interrupted()

    def receive_now(self, buffer: memoryview) -> int:
        """Take what has come; -1: nothing."""
        if self._cut is not None:
            raise self._cut
        try:
            n, control, flags, _ = self.sock.recvmsg_into((buffer,), _CONTROL, _RECEIVE_FLAGS)
        except OSError as e:
            if self.closed:
                raise ClosedError() from None
            if isinstance(e, BlockingIOError):
                return -1
            if e.errno == errno.ECONNRESET:  # a peer that was killed, or closed with something unread: the end
                return 0
            raise
        if control or flags & _CUT:
            self._keep(control, flags)
        if n == 0 and self.closed:
            raise ClosedError()
        return n

    def _keep(self, control: list[tuple[int, int, bytes]], flags: int) -> None:
        came = received_handles(control)
        cut = flags & _CUT
        if not cut and len(self._handles) + len(came) <= MAX_HANDLES:
            self._handles += came
            return
        for fd in came:
            os.close(fd)
        self._cut = HandlesError(
            "some were cut off: more than go at once, or than this process may open"
            if cut
            else f"more than {MAX_HANDLES} wait"
        )
        raise self._cut

    def take_handles(self) -> list[int]:
        taken, self._handles = self._handles, []
        return taken

    def wake(self) -> None:
        with self.in_use():
            if not self.given_up:
                self._woken = True
                if self._waker is not None:
                    self._waker.set()

    def unblock(self) -> None:
        if os.getpid() == self._pid:  # in the child of a fork, the connection is the parent's still
            with suppress(OSError):  # the peer has gone
                self.sock.shutdown(socket.SHUT_RDWR)
        if self._waker is not None:
            self._waker.set()

    def give_up(self) -> None:
        self.sock.close()
        if self._waker is not None:
            self._waker.close()
        for fd in self.take_handles():
            os.close(fd)


def batches(parts: Sequence[Part]) -> Iterable[Sequence[Part]]:
    """As many parts at once as the system takes."""
    if len(parts) <= _MAX_PARTS:
        return (parts,)
    return (parts[i : i + _MAX_PARTS] for i in range(0, len(parts), _MAX_PARTS))


def rights(handles: Sequence[int], parts: Sequence[Part]) -> Sequence[tuple[int, int, array.array[int]]]:
    if not handles:
        return ()
    if len(handles) > MAX_HANDLES:
        raise ValueError(f"at most {MAX_HANDLES} descriptors can go at once, and these are {len(handles)}")
    if not any(parts):
        raise ValueError("descriptors go with at least one byte")
    return ((socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", handles)),)


def rest(parts: Sequence[Part], n: int) -> list[Part]:
    """What is left of parts behind n bytes."""
    for i, part in enumerate(parts):
        size = len(part) if not isinstance(part, memoryview) else part.nbytes
        if n < size:
            return [memoryview(part).cast("B")[n:], *parts[i + 1 :]]
        n -= size
    return []


def received_handles(control: list[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors in what recvmsg calls ancillary data; they are the caller's, and not inherited by children."""
    fds = array.array("i")
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    for fd in fds:
        os.set_inheritable(fd, False)  # where the system has no MSG_CMSG_CLOEXEC
    return fds.tolist()


def send_error(e: OSError) -> OSError:
    if e.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
        return BrokenPipeError(errno.EPIPE, "the peer has gone")
    return e


def pair() -> tuple[Endpoint, Endpoint]:
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return Endpoint(a), Endpoint(b)


def own_identity() -> Identity:
    return Identity(*_unix_identity.own())


def new_socket() -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


def address(path: str) -> str | bytes:
    """A path as bind and connect take it; abstract names begin with a zero byte."""
    return b"\0" + os.fsencode(path[1:]) if path[0] == "@" else os.fsencode(path)


def connect(addr: Addr) -> Endpoint | None:
    """Connect without waiting; None: the server's queue is full."""
    sock = new_socket()
    try:
        sock.connect(address(addr.path))
        return Endpoint(sock)
    except BaseException as e:
        sock.close()
        if isinstance(e, BlockingIOError):
            return None
        if isinstance(e, OSError):
            raise _dial_error(addr.path, e) from e
        raise


def _dial_error(path: str, e: OSError) -> OSError:
    """What a failed connect has found."""
    if e.errno in (errno.ENOENT, errno.ENOTDIR):
        return NoServerError("there is no such socket; start the server, or wait for it (wait=True)", e)
    if e.errno in (errno.ECONNREFUSED, errno.ENOTSOCK):
        try:
            mode = os.stat(path).st_mode if path[0] != "@" else 0
        except OSError:
            mode = 0
        if not mode:
            return NoServerError("start the server, or wait for it (wait=True)", e)
        if kind_of(mode) != "socket":
            return NotSocketError(f"{path} is a {kind_of(mode)}", e)
        return StaleError("start the server: it takes the name over", e)
    if e.errno in (errno.EACCES, errno.EPERM):
        return DeniedError(_explain_denied(path), e)
    if e.errno == errno.EPROTOTYPE:
        return MessagesError("it must be told not to", e)
    return e


def _explain_denied(path: str) -> str:
    """Find what keeps this process from a socket: a folder that it can't enter, or the socket's own mode."""
    for i, c in enumerate(path):
        if i and c == "/" and not _enters(path[:i]):
            return _describe(path[:i], "the folder")
    return _describe(path, "the socket")


def _enters(folder: str) -> bool:
    return os.access(folder, os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def _describe(path: str, what: str) -> str:
    me = _unix_identity.current_user()
    try:
        st = os.stat(path)
    except OSError:
        return f"{what} {path} can't be seen by user {me}"
    return (
        f"{what} {path} belongs to user {st.st_uid}, group {st.st_gid}, with mode {st.st_mode & 0o7777:#o}, and this"
        f" process is user {me}"
    )
