"""Pure: rpc frames to and from bytes, no I/O. spec/wire.md, section 3."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

from ..msg.error import ProtocolError
from .error import Code, Detail, Error
from .metadata import Metadata, cut

HEADER_SIZE = 8
MAX_DETAILS = 64
MAX_TEXT = (1 << 16) - 1
MAX_CREDIT = (1 << 31) - 1

OPEN = 1
DATA = 2
CLOSE = 3
CREDIT = 4
DRAIN = 5
PING = 6
PONG = 7

# The flags, in the order in which what they announce follows the header.
VALUE = 0x01
TIME = 0x02
META = 0x04
HEAD = 0x08
STREAM = 0x10
END = 0x20

_ALLOWED = (0, VALUE | TIME | META | STREAM, VALUE | META | END, VALUE | META | HEAD, 0, 0, 0, 0)

HEADER = Struct("<IBBBB")
_LONG = Struct("<Q")
_FOUR = Struct("<I")
_SHORT = Struct("<H")


class Frame:
    """A frame that was read. value is a part of what it was read from."""

    __slots__ = (
        "code",
        "codec",
        "credit",
        "flags",
        "header",
        "meta",
        "method",
        "size",
        "stream",
        "timeout",
        "type",
        "value",
    )

    stream: int
    type: int
    flags: int
    codec: int  # open
    code: int  # close
    timeout: int  # open: nanoseconds left; 0: none
    credit: int
    method: str  # open
    header: Metadata | None  # close
    meta: Metadata | None  # open, data, close
    value: memoryview  # what is left: the value, or the error's bytes
    size: int  # of the whole frame

    def __init__(self, b: memoryview) -> None:
        """Reads a whole frame. ProtocolError where it breaks the rules."""
        size = self.size = len(b)
        if size < HEADER_SIZE:
            raise ProtocolError(f"an rpc frame of {size} bytes has no whole header")
        self.stream, kind, flags, at6, at7 = HEADER.unpack_from(b)
        self.type, self.flags = kind, flags
        if not 0 < kind <= PONG:
            raise ProtocolError(f"an rpc frame has the type {kind}, which version 1 does not know")
        if flags & ~_ALLOWED[kind]:
            raise ProtocolError(f"a frame of the type {kind} has the flags {flags:#x}")
        if (self.stream == 0) != (kind >= DRAIN):
            raise ProtocolError(f"a frame of the type {kind} has the stream {self.stream}")
        if kind == CLOSE:
            self._close(b, at6 | at7 << 8)
        elif kind == OPEN:
            self.codec = at6
            self._open(b, at7)
        elif at6 or at7:
            raise ProtocolError(f"a frame of the type {kind} has {at6 | at7 << 8:#x} where 0 must be")
        elif kind == DATA:
            self._data(b)
        elif kind == CREDIT:
            self._credit(b)
        elif size != HEADER_SIZE:
            raise ProtocolError(f"a frame of the type {kind} has {size - HEADER_SIZE} bytes behind its header")

    def _block(self, b: memoryview, at: int) -> tuple[Metadata, int]:
        try:
            return cut(b, at)
        except ValueError as e:
            raise ProtocolError(f"stream {self.stream}: {e}") from None

    def _open(self, b: memoryview, n: int) -> None:
        flags, at = self.flags, HEADER_SIZE
        if (flags & VALUE == 0) == (flags & STREAM == 0):
            raise ProtocolError(f"stream {self.stream} was opened with the flags {flags:#x}, as no kind of call")
        if n == 0:
            raise ProtocolError(f"stream {self.stream} was opened with an empty method")
        self.timeout, self.meta = 0, None
        if flags & TIME:
            if self.size < at + 8:
                raise ProtocolError(f"stream {self.stream} was opened by a frame that ends in its time limit")
            self.timeout = max(_LONG.unpack_from(b, at)[0], 1)
            at += 8
        if flags & META:
            self.meta, at = self._block(b, at)
        end = at + n
        if self.size < end:
            raise ProtocolError(f"stream {self.stream} was opened by a frame that ends in its method")
        try:
            self.method = str(b[at:end], "utf-8")
        except UnicodeDecodeError:
            raise ProtocolError(f"stream {self.stream} was opened with a method that is not UTF-8") from None
        self.value = b[end:]
        if flags & STREAM and self.size > end:
            raise ProtocolError(f"stream {self.stream} was opened as a stream, with a value")

    def _data(self, b: memoryview) -> None:
        at = HEADER_SIZE
        self.meta = None
        if self.flags == 0:
            raise ProtocolError(f"stream {self.stream} got a data frame without flags")
        if self.flags & META:
            self.meta, at = self._block(b, at)
        self.value = b[at:]
        if not self.flags & VALUE and self.size > at:
            raise ProtocolError(f"stream {self.stream} got {self.size - at} bytes that are no value")

    def _close(self, b: memoryview, code: int) -> None:
        flags, at = self.flags, HEADER_SIZE
        self.code, self.header, self.meta = code, None, None
        if flags & HEAD:
            self.header, at = self._block(b, at)
        if flags & META:
            self.meta, at = self._block(b, at)
        self.value = b[at:]
        if code > Code.UNAUTHENTICATED:
            raise ProtocolError(f"stream {self.stream} was closed with the code {code}, which is none")
        if code and flags & VALUE:
            raise ProtocolError(f"stream {self.stream} was closed with the code {code} and a value")
        if not code and not flags & VALUE and self.size > at:
            raise ProtocolError(f"stream {self.stream} was closed with {self.size - at} bytes that are no value")

    def _credit(self, b: memoryview) -> None:
        if self.size != HEADER_SIZE + 4:
            raise ProtocolError(f"a credit frame has {self.size - HEADER_SIZE} bytes behind its header")
        self.credit = _FOUR.unpack_from(b, HEADER_SIZE)[0]
        if not 0 < self.credit <= MAX_CREDIT:
            raise ProtocolError(f"stream {self.stream} was given a credit of {self.credit}")


def open_head(stream: int, kind: int, codec: int, method: bytes, timeout: int, meta: bytes) -> bytes:
    """All of an open frame but the value. kind is VALUE or STREAM; timeout in nanoseconds, 0 for none; meta is a block,
    or empty.
    """
    if not timeout and not meta:
        return HEADER.pack(stream, OPEN, kind, codec, len(method)) + method
    flags = kind | (TIME if timeout else 0) | (META if meta else 0)
    limit = _LONG.pack(min(timeout, (1 << 64) - 1)) if timeout else b""
    return b"".join((HEADER.pack(stream, OPEN, flags, codec, len(method)), limit, meta, method))


def data_head(stream: int, flags: int, meta: bytes = b"") -> bytes:
    return HEADER.pack(stream, DATA, flags | (META if meta else 0), 0, 0) + meta


def close_head(stream: int, flags: int, header: bytes, trailer: bytes, code: int = 0) -> bytes:
    """All of the called side's close frame but the value, or the error's bytes. The two are blocks, or empty."""
    if not header and not trailer:
        return HEADER.pack(stream, CLOSE, flags, code, 0)
    flags |= (HEAD if header else 0) | (META if trailer else 0)
    return b"".join((HEADER.pack(stream, CLOSE, flags, code, 0), header, trailer))


def cancel_frame(stream: int, code: int) -> bytes:
    return HEADER.pack(stream, CLOSE, 0, code, 0)


def credit_frame(stream: int, n: int) -> bytes:
    return HEADER.pack(stream, CREDIT, 0, 0, 0) + _FOUR.pack(n)


DRAIN_FRAME = HEADER.pack(0, DRAIN, 0, 0, 0)
PING_FRAME = HEADER.pack(0, PING, 0, 0, 0)
PONG_FRAME = HEADER.pack(0, PONG, 0, 0, 0)


def error_frame(stream: int, e: Error, header: bytes, trailer: bytes, most: int) -> bytes:
    """A whole close frame for e, of most bytes. What does not fit is cut: details beyond 64, text at a character."""
    b = bytearray(close_head(stream, 0, header, trailer, e.code or Code.UNKNOWN))
    b += _text(e.message, min(MAX_TEXT, (most - len(b)) // 2))
    at = len(b)
    b += b"\0\0"
    count = 0
    for d in e.details:
        more = _text(d.type, MAX_TEXT) + _FOUR.pack(len(d.value)) + d.value
        if count == MAX_DETAILS or len(b) + len(more) > most:
            break
        b += more
        count += 1
    _SHORT.pack_into(b, at, count)
    return bytes(b)


def _text(s: str, most: int) -> bytes:
    b = s.encode("utf-8", "replace")[: max(most, 0)].decode("utf-8", "ignore").encode()
    return _SHORT.pack(len(b)) + b


def parse_error(code: int, value: memoryview) -> Error:
    """Reads what is left of a close frame with an error."""
    b = bytes(value)
    at = 0

    def take(n: int) -> bytes:
        nonlocal at
        if at + n > len(b):
            raise ProtocolError("the message and details of an error do not fill their frame")
        at += n
        return b[at - n : at]

    def text() -> str:
        return take(_SHORT.unpack(take(2))[0]).decode("utf-8", "replace")

    message = text()
    count = _SHORT.unpack(take(2))[0]
    if count > MAX_DETAILS:
        raise ProtocolError(f"an error has {count} details; at most {MAX_DETAILS} may be")
    details: Sequence[Detail] = [Detail(text(), take(_FOUR.unpack(take(4))[0])) for _ in range(count)]
    if at != len(b):
        raise ProtocolError("the message and details of an error do not fill their frame")
    return Error(code, message, details)
