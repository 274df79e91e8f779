"""A connection, and a listener, for any event loop of Windows: what the kernel has done comes from one thread
to the loop.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from ctypes import POINTER, byref, c_size_t, c_uint32

assert sys.platform == "win32"

from . import _windows_api as api
from ._windows_api import Overlapped, kernel32
from ._windows_listen import Listener
from ._windows_pipe import GONE, Endpoint, Operation, Part, chunks
from .error import ClosedError

_QUIT = 1  # the key of the packet that ends the thread
_ROOM = 64 << 10  # bytes of one read


class Port:
    """A completion port, and its thread, which is there while anybody uses it.

    asyncio's proactor has one, too, but no public way to it for a handle that was made elsewhere; and this one
    serves every loop.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._port = 0
        self._flying: dict[int, tuple[Operation, Callable[[], None]]] = {}  # by the address of the Overlapped

    def attach(self, pipe: int) -> None:
        """From now on each operation of the pipe must be told to expect."""
        with self._lock:
            if self._users == 0:
                self._port = int(kernel32.CreateIoCompletionPort(api.INVALID_HANDLE, None, 0, 1))
                threading.Thread(target=self._run, args=(self._port,), name="standpipe-port", daemon=True).start()
            kernel32.CreateIoCompletionPort(pipe, self._port, 0, 0)
            self._users += 1

    def detach(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                kernel32.PostQueuedCompletionStatus(self._port, 0, _QUIT, None)

    def expect(self, operation: Operation, done: Callable[[], None]) -> None:
        """done is called, in the port's thread, when the operation has ended. It is kept alive until then."""
        self._flying[operation.address] = operation, done

    def unexpect(self, operation: Operation) -> None:
        """It could not be started."""
        del self._flying[operation.address]

    def _run(self, port: int) -> None:
        n, key, overlapped = c_uint32(), c_size_t(), POINTER(Overlapped)()
        while True:
            kernel32.GetQueuedCompletionStatus(port, byref(n), byref(key), byref(overlapped), api.INFINITE)
            if overlapped:
                _, done = self._flying.pop(ctypes.addressof(overlapped.contents))
                done()
            elif key.value == _QUIT:
                api.close_handle(port)
                return


_port = Port()


class Flight:
    """The operations of one direction, one after the other."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._loop = asyncio.get_running_loop()
        self._operation = Operation()
        self._landed = self._loop.create_future()
        self._closed = False

    @property
    def under_way(self) -> bool:
        """Whether there is an operation whose end was not taken."""
        return self._operation.flying

    def start(self, call: Callable[[object], int], memory: object) -> None:
        landed = self._landed = self._loop.create_future()

        def done() -> None:
            with suppress(RuntimeError):  # the loop was closed
                self._loop.call_soon_threadsafe(_set, landed)

        self._operation.prepare(memory)
        _port.expect(self._operation, done)
        try:
            self._operation.go(call)
        except BaseException:
            _port.unexpect(self._operation)
            raise

    async def land(self) -> int:
        """Wait for its end: how many bytes were moved. Who is cancelled here may come back."""
        await asyncio.shield(self._landed)
        if self._closed:
            raise ClosedError()
        return self._operation.result(self._pipe)

    def close(self) -> None:
        """End what is under way, before the pipe is closed."""
        self._closed = True
        if self._operation.flying:
            with suppress(OSError):  # it has ended otherwise
                self._operation.cancel(self._pipe)
        self._operation.close()
        with suppress(RuntimeError):
            _set(self._landed)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Stream:
    """An endpoint on the running loop."""

    def __init__(self, end: Endpoint) -> None:
        self._end = end
        _port.attach(end.pipe)
        self._reading = Flight(end.pipe)
        self._writing = Flight(end.pipe)
        self._room = bytearray(_ROOM)

    async def send(self, parts: Sequence[Part], handles: Sequence[int]) -> None:
        if handles:
            raise ValueError("on Windows handles do not go with bytes; see export_handle")
        try:
            for chunk in chunks(parts):
                done = 0
                while done < len(chunk):
                    done += await self._write(chunk[done:] if done else chunk)
        except asyncio.CancelledError:
            self.close()  # what was sent is not known, so nothing can follow
            raise
        except OSError as e:
            if self._end.closed:
                raise ClosedError() from None
            if e.winerror in GONE:
                raise BrokenPipeError(errno.EPIPE, "the peer has gone") from None
            raise

    async def _write(self, chunk: bytes) -> int:
        if self._end.closed:
            raise ClosedError()
        pipe = self._end.pipe
        self._writing.start(lambda ov: kernel32.WriteFile(pipe, chunk, len(chunk), None, ov), chunk)
        return await self._writing.land()

    async def recv_into(self, buffer: memoryview) -> int:
        end = self._end
        try:
            if end.closed:
                raise ClosedError()
            if not end.first:
                if not self._reading.under_way:
                    room = ctypes.c_char.from_buffer(self._room)
                    self._reading.start(lambda ov: kernel32.ReadFile(end.pipe, byref(room), _ROOM, None, ov), room)
                n = await self._reading.land()
                end.first = bytes(self._room[:n])
        except OSError as e:
            if end.closed:
                raise ClosedError() from None
            if e.winerror in GONE:
                return 0
            raise
        n = min(len(buffer), len(end.first))
        buffer[:n], end.first = end.first[:n], end.first[n:]
        return n

    def close(self) -> None:
        if not self._end.closed:
            self._reading.close()
            self._writing.close()
            self._end.close()
            _port.detach()


class Acceptor:
    """A listener on the running loop: a thread waits for clients while somebody waits for the thread."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._coming: asyncio.Future[Endpoint | None] | None = None

    async def accept(self) -> Endpoint | None:
        """A client; None: look whether all was closed, and call again. Who is cancelled here loses none."""
        if self._coming is None:
            self._coming = self._loop.create_future()
            threading.Thread(target=self._run, args=(self._coming,), name="standpipe-accept", daemon=True).start()
        coming = self._coming
        end = await asyncio.shield(coming)
        self._coming = None
        return end

    def _run(self, coming: asyncio.Future[Endpoint | None]) -> None:
        end: Endpoint | None = None
        error: OSError | None = None
        try:
            end = self._listener.accept(None)
        except ClosedError:
            pass
        except OSError as e:
            error = e

        def tell() -> None:
            if coming.done():
                if end is not None:
                    end.close()
            elif error is not None:
                coming.set_exception(error)
            else:
                coming.set_result(end)

        try:
            self._loop.call_soon_threadsafe(tell)
        except RuntimeError:  # the loop was closed
            if end is not None:
                end.close()

    def close(self) -> None:
        """It comes before the listener's, which ends the thread."""
        if self._coming is not None and not self._coming.done():
            self._coming.set_result(None)
