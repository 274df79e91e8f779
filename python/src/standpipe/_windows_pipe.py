"""One end of a connection: a named pipe, used by overlapped calls only, so that each wait can be ended."""

from __future__ import annotations

import ctypes
import errno
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from ctypes import byref, c_uint32

assert sys.platform == "win32"

from . import _windows_api as api
from ._closing import Closing
from ._windows_api import Overlapped, kernel32
from ._windows_handles import Holder
from ._windows_identity import (
    ANONYMOUS,
    SUPERUSERS,
    Standing,
    client_token,
    current_user,
    groups,
    pipe_owner,
    standing,
)
from .error import ClosedError, DeniedError, Interrupted
from .identity import Identity
from .policy import Guard

Part = bytes | bytearray | memoryview

_MOST = 1 << 20  # bytes of one call, so that the kernel need not charge the whole of a large one to the process's quota
_SLICE = 0.05  # seconds after which the main thread, which may wait for nothing else, looks for Ctrl-C

GONE = {  # the other end is closed, or its process is dead, or the server threw the client out
    api.ERROR_BROKEN_PIPE,
    api.ERROR_NO_DATA,
    api.ERROR_PIPE_NOT_CONNECTED,
    api.ERROR_BAD_PIPE,
    api.ERROR_PIPE_LISTENING,
    api.ERROR_HANDLE_EOF,
    api.ERROR_NETNAME_DELETED,
}


class Operation:
    """One overlapped call. What the kernel has of it stays as it is until the result was taken."""

    def __init__(self) -> None:
        self.event = api.new_event()
        self.flying = False
        self._overlapped = Overlapped()
        self._memory: object = None

    @property
    def address(self) -> int:
        """Of the Overlapped, by which a completion port tells of its end."""
        return ctypes.addressof(self._overlapped)

    def start(self, call: Callable[[object], int], memory: object) -> None:
        """Make the call, which is given the Overlapped, and moves bytes from or to the memory.

        Also of a call that has ended at once, result is to be asked.
        """
        self.prepare(memory)
        self.go(call)

    def prepare(self, memory: object) -> None:
        self._overlapped = Overlapped(event=self.event)
        self._memory = memory

    def go(self, call: Callable[[object], int]) -> None:
        self.flying = True
        if not call(byref(self._overlapped)):
            code = ctypes.get_last_error()
            if code != api.ERROR_IO_PENDING:
                self.flying = False
                raise api.error_of(code, "the pipe")

    def result(self, pipe: int) -> int:
        """How many bytes were moved; it waits."""
        n = c_uint32()
        done = kernel32.GetOverlappedResult(pipe, byref(self._overlapped), byref(n), True)
        code = ctypes.get_last_error()
        self.flying = False
        self._memory = None
        if not done:
            raise api.error_of(code, "the pipe")
        return n.value

    def cancel(self, pipe: int) -> int:
        """End the call: how many bytes were moved all the same."""
        kernel32.CancelIoEx(pipe, byref(self._overlapped))  # not found: it has just ended
        try:
            return self.result(pipe)
        except OSError as e:
            if e.winerror == api.ERROR_OPERATION_ABORTED:
                return 0
            raise

    def close(self) -> None:
        api.close_handle(self.event)


class Endpoint(Closing):
    """A pipe's handle, and what it takes to wait for it."""

    def __init__(self, pipe: int, server: bool) -> None:
        self.pipe = pipe
        self.server = server
        self.reading = Operation()
        self.writing = Operation()
        self._wake = api.new_event()  # for who receives; close sets it, too
        self._stop = api.new_event()  # for who sends
        self._woken = False
        self._here = False  # a client has come
        self.first = b""  # what was read before the client could be identified
        # Of the server's end: who the client is.
        self.client: Identity | None = None
        self.client_standing: Standing | None = None
        super().__init__()

    # Who is there.

    def meet(self) -> None:
        """Find out who the client is. It is the server end's, and called before the endpoint is handed out."""
        token = client_token(self.pipe)
        try:
            who = standing(token)
            pid = c_uint32()
            kernel32.GetNamedPipeClientProcessId(self.pipe, byref(pid))
            user = "" if who.user == ANONYMOUS else who.user  # Anonymous is nobody: whatever the policy is
            self.client = Identity(pid.value, user, groups(token))
            self.client_standing = who
        finally:
            api.close_handle(token)

    def identity(self) -> Identity:
        if self.server:
            return self.client or Identity(0, "")
        pid = c_uint32()
        kernel32.GetNamedPipeServerProcessId(self.pipe, byref(pid))
        return Identity(pid.value, pipe_owner(self.pipe))

    def admit(self, guard: Guard, identity: Identity) -> None:
        """The second check of a client; the first was the kernel's, by the pipe's descriptor."""
        guard.check(identity, DeniedError, "the client")

    # Bytes.

    def send(self, parts: Sequence[Part], handles: Sequence[int]) -> None:
        if handles:
            raise ValueError("on Windows handles do not go with bytes; see export_handle")
        done = 0
        try:
            self._sending = True
            if self.closed:
                raise ClosedError()
            for chunk in chunks(parts):
                while done < len(chunk):
                    done += self._write(chunk[done:] if done else chunk)
                done = 0
        except OSError as e:
            if self.closed:
                raise ClosedError() from None
            if e.winerror in GONE:
                raise BrokenPipeError(errno.EPIPE, "the peer has gone") from None
            raise
        except (ValueError, TypeError):  # of the arguments
            raise
        except BaseException:
            # Such as KeyboardInterrupt: what has been sent of it is not known, so nothing can follow.
            self.close()
            raise
        finally:
            self._settle(self.writing)
            self._sending = False
            if self.closed:
                self.finish()

    def _write(self, chunk: bytes) -> int:
        w = self.writing
        w.start(lambda overlapped: kernel32.WriteFile(self.pipe, chunk, len(chunk), None, overlapped), chunk)
        wait([w.event, self._stop], None)
        return w.cancel(self.pipe) if self.closed else w.result(self.pipe)

    def recv_into(self, buffer: memoryview, timeout: float | None) -> int:
        taking = False
        try:
            self._receiving = True
            if self.closed:
                raise ClosedError()
            if self._woken:
                self._interrupt()
            if self.first:
                taking = True
                n = min(len(buffer), len(self.first))
                buffer[:n], self.first = self.first[:n], self.first[n:]
                return n
            self.start_read(buffer)
            ready = wait([self.reading.event, self._wake], timeout)
            taking = True
            n = self.reading.result(self.pipe) if ready == 0 else self.reading.cancel(self.pipe)
            if n:
                return n
            taking = False
            if self.closed:
                raise ClosedError()
            if ready == 0:
                return 0  # a write of no bytes: some programs end their stream with it
            if ready is not None:
                self._interrupt()
            raise TimeoutError(errno.ETIMEDOUT, "nothing came in time")
        except Interrupted:
            raise
        except OSError as e:
            if self.closed:
                raise ClosedError() from None
            if e.winerror in GONE:
                return 0
            raise
        except BaseException:
            # Such as KeyboardInterrupt, which does no harm to a wait. Otherwise bytes may have been taken, and lost.
            if taking or self._settle(self.reading):
                self.close()
            raise
        finally:
            self._settle(self.reading)
            self._receiving = False
            if self.closed:
                self.finish()

    def start_read(self, buffer: memoryview) -> None:
        room = ctypes.c_char.from_buffer(buffer)
        size = min(len(buffer), _MOST)
        self.reading.start(lambda overlapped: kernel32.ReadFile(self.pipe, byref(room), size, None, overlapped), room)

    def _settle(self, operation: Operation) -> int:
        """End what still flies, where its wait was interrupted: how many bytes it has moved."""
        if not operation.flying:
            return 0
        try:
            return operation.cancel(self.pipe)
        except OSError:
            return 0

    def _interrupt(self) -> None:
        with self.in_use():
            self._woken = False
            if not self.closed:
                kernel32.ResetEvent(self._wake)
        raise Interrupted()

    # The server's end, before it has a client.

    def await_client(self) -> None:
        """Wait for a client, without waiting here: reading.event is set when one has come."""
        while True:
            try:
                self.reading.start(lambda overlapped: kernel32.ConnectNamedPipe(self.pipe, overlapped), None)
                return
            except OSError as e:
                if e.winerror == api.ERROR_PIPE_CONNECTED or (e.winerror in GONE and self._unread()):
                    self._here = True  # the client was quicker
                    kernel32.SetEvent(self.reading.event)
                    return
                if e.winerror not in GONE:
                    raise
            kernel32.DisconnectNamedPipe(self.pipe)

    def came(self) -> bool:
        """Whether a client is there; False: it has gone, and the next one is waited for at the same instance.

        That keeps the name, which an instance that is closed and made again would let go of for a moment.
        """
        if self._here:
            return True
        try:
            self.reading.result(self.pipe)
            self._here = True
        except OSError as e:
            if e.winerror == api.ERROR_OPERATION_ABORTED:  # by the end of the thread that began to wait
                self.await_client()
                return False
            if e.winerror not in GONE:
                raise
            self._here = self._unread() > 0  # what it wrote before it went counts
            if not self._here:
                kernel32.DisconnectNamedPipe(self.pipe)
                self.await_client()
        return self._here

    def _unread(self) -> int:
        n = c_uint32()
        return n.value if kernel32.PeekNamedPipe(self.pipe, None, 0, None, byref(n), None) else 0

    def take_handles(self) -> list[int]:
        return []

    def wake(self) -> None:
        with self.in_use():
            if not self.given_up:
                self._woken = True
                kernel32.SetEvent(self._wake)

    def unblock(self) -> None:
        kernel32.SetEvent(self._wake)
        kernel32.SetEvent(self._stop)

    def give_up(self) -> None:
        for operation in (self.reading, self.writing):
            self._settle(operation)
        api.close_handle(self.pipe)
        self.reading.close()
        self.writing.close()
        api.close_handle(self._wake)
        api.close_handle(self._stop)

    # Handles.

    def export_handle(self, handle: int) -> int:
        with self._holder() as holder:
            return holder.push(handle)

    def import_handle(self, value: int) -> int:
        if not self.server:
            owner = self.identity().user
            if owner not in (current_user(), *SUPERUSERS):
                raise DeniedError(f"{owner} may not put handles into this process, so its values can't be taken")
        with self._holder() as holder:
            return holder.pull(value)

    def revoke_handle(self, value: int, handle: int) -> None:
        with self._holder() as holder:
            holder.revoke(value, handle)

    def _holder(self) -> Holder:
        with self.in_use():
            if self.closed:
                raise ClosedError()
            return Holder(self.pipe, self.client_standing if self.server else None)


def wait(handles: list[int], timeout: float | None) -> int | None:
    """wait_for, which in the main thread lets Ctrl-C through."""
    if threading.current_thread() is not threading.main_thread():
        return api.wait_for(handles, timeout)
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _SLICE if deadline is None else min(_SLICE, max(0.0, deadline - time.monotonic()))
        found = api.wait_for(handles, left)
        if found is not None or (deadline is not None and time.monotonic() >= deadline):
            return found


def chunks(parts: Sequence[Part]) -> Iterator[bytes]:
    """The bytes of the parts, as calls to the kernel take them: few of them, and none too large."""
    small: list[memoryview] = []
    size = 0
    for part in parts:
        view = memoryview(part).cast("B")
        if size + len(view) <= _MOST:
            small.append(view)
            size += len(view)
            continue
        yield b"".join(small)
        small, size = [], 0
        for i in range(0, len(view), _MOST):
            yield bytes(view[i : i + _MOST])
    yield b"".join(small)
