"""Pure: frames to and from bytes, no I/O. spec/wire.md, section 2, and spec/memory.md, section 4."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from .error import ProtocolError

VERSION = 1

HEADER_SIZE = 8
REF_SIZE = 16
MAX_BUFFERS = 64
MAX_ABORT = 1024
SEGMENT_SIZE = 24
MOST_NUMBERS = 1024
PIECE_HEAD = 8
MOST_PIECE = 256 << 10

MESSAGE = 1
ABORT = 2
SEGMENT = 3
RELEASE = 4
RETIRE = 5
RING = 6
BELL = 7
PIECE = 8
DROP = 9
IGNORED = 128  # this one and all above

HEADER = Struct("<IBBH")
REF = Struct("<QII")
SEGMENT_BODY = Struct("<IIQQ")
TWO = Struct("<II")
ONE = Struct("<I")


@dataclass
class Limits:
    """What one side takes: bytes of data in a message, bytes of buffers with one, and whether segments may come."""

    message: int
    buffers: int
    shared: bool = False


class Ref(NamedTuple):
    """A reference to a buffer. Where both numbers are 0, its bytes follow the data."""

    size: int
    segment: int
    pieces: int


class SegmentFrame(NamedTuple):
    """What a segment frame says."""

    number: int
    use: int
    size: int
    handle: int


def check_header(length: int, kind: int, flags: int, buffers: int, lim: Limits) -> None:
    """Refuses what lim does not allow: nothing that it accepts makes the reader take more memory than that."""
    if flags:
        raise ProtocolError(f"a frame has the flags {flags:#x}, which version {VERSION} does not know")
    if kind == MESSAGE:
        refs = buffers * REF_SIZE
        if buffers > MAX_BUFFERS:
            raise ProtocolError(f"a message has {buffers} buffers; at most {MAX_BUFFERS} may be")
        if refs > length:
            raise ProtocolError(f"a message of {length} bytes can't hold references to {buffers} buffers")
        if length - refs > lim.message + (lim.buffers if buffers else 0):
            raise ProtocolError(
                f"a message of {length} bytes, buffers included, is above the limits of {lim.message} and {lim.buffers}"
            )
    elif kind >= IGNORED:
        if length > lim.message:
            raise ProtocolError(f"a frame of kind {kind} has {length} bytes, above the limit of {lim.message}")
    elif not _fits(length, kind, lim.shared):
        raise ProtocolError(
            f"a frame has the kind {kind} and {length} bytes, which version {VERSION} does not know, or not here"
        )
    elif buffers:
        raise ProtocolError(f"a frame of kind {kind} has {buffers} buffers; it may have none")


def _fits(length: int, kind: int, shared: bool) -> bool:
    """Says whether a frame that is no message may be here, and so long."""
    if kind == ABORT:
        return length <= MAX_ABORT
    if kind == PIECE:
        return PIECE_HEAD < length <= PIECE_HEAD + MOST_PIECE
    if kind == DROP:
        return length == 4
    if not shared or kind == 0:
        return False
    if kind == SEGMENT:
        return length == SEGMENT_SIZE
    if kind in (RELEASE, RETIRE):
        return 4 <= length <= 4 * MOST_NUMBERS and length % 4 == 0
    return kind in (RING, BELL) and length == 0


def parse_refs(refs: memoryview, length: int, lim: Limits) -> tuple[int, list[Ref]]:
    """Reads a message's references: how long the data is, and each buffer. length is the frame's."""
    left = length - len(refs)
    inside = total = 0
    found = []
    for entry in REF.iter_unpack(refs):
        r = Ref(*entry)
        if r.segment and r.pieces:
            raise ProtocolError(f"a buffer is in segment {r.segment}, and came in pieces as number {r.pieces}")
        if r.segment and not lim.shared:
            raise ProtocolError("a buffer is in a segment, and sharing was not agreed on")
        total += r.size
        if not r.segment and not r.pieces:
            inside += r.size
            if inside > left:
                raise ProtocolError(f"a buffer of {r.size} bytes does not fit its message")
        if total > lim.buffers:
            raise ProtocolError(f"a message has more bytes of buffers than the limit of {lim.buffers}")
        found.append(r)
    if left - inside > lim.message:
        raise ProtocolError(f"a message of {left - inside} bytes is above the limit of {lim.message}")
    return left - inside, found


def segment_frame(f: SegmentFrame) -> bytes:
    return HEADER.pack(SEGMENT_SIZE, SEGMENT, 0, 0) + SEGMENT_BODY.pack(*f)


def parse_segment(body: bytes | bytearray | memoryview) -> SegmentFrame:
    """Reads what is behind the header. What the frame alone does not show, the receiver checks."""
    f = SegmentFrame(*SEGMENT_BODY.unpack(body))
    if f.use > 1:
        raise ProtocolError(f"a segment has the use {f.use}, which version {VERSION} does not know")
    return f


def numbers_frame(kind: int, numbers: list[int]) -> bytes:
    """A release or a retire."""
    return HEADER.pack(4 * len(numbers), kind, 0, 0) + b"".join(map(ONE.pack, numbers))


def parse_numbers(body: bytes | bytearray | memoryview) -> list[int]:
    return [n for (n,) in ONE.iter_unpack(body)]


def abort_frame(reason: str) -> bytes:
    text = reason.encode("utf-8", "replace")[:MAX_ABORT].decode("utf-8", "ignore").encode()
    return HEADER.pack(len(text), ABORT, 0, 0) + text
