"""Pure: a hello to and from bytes. spec/wire.md, section 1."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .error import ProtocolError
from .frame import VERSION

MAGIC = b"standpipe "
MAX_HELLO = 4096
LEAST_DATA = 64 << 10  # what everybody takes
MOST = (1 << 32) - 1

_KEY = re.compile(r"[a-z0-9-]{1,32}\Z")
_VALUE = re.compile(r"[ -~]{0,512}\Z")
_NUMBER = re.compile(r"[0-9]+\Z", re.ASCII)
_OWN = ("max-message", "max-buffers", "share", "ring", "wake")


@dataclass
class Hello:
    """What one side says of itself at the start. keys are lines of the room above."""

    max_message: int = LEAST_DATA
    max_buffers: int = 0
    share: str = ""
    keys: dict[str, str] = field(default_factory=dict)

    def pack(self) -> bytes:
        lines = [f"standpipe {VERSION}", f"max-message: {self.max_message}", f"max-buffers: {self.max_buffers}"]
        if self.share:
            lines.append(f"share: {self.share}")
        for k in sorted(self.keys):
            if not _KEY.match(k) or not _VALUE.match(self.keys[k]) or k in _OWN:
                raise ValueError(f"{k!r}: {self.keys[k]!r} can't go into a hello")
            lines.append(f"{k}: {self.keys[k]}")
        b = "\n".join(lines).encode() + b"\n\n"
        if len(b) > MAX_HELLO:
            raise ValueError(f"the hello has {len(b)} bytes, over the limit of {MAX_HELLO}")
        return b


def hello_end(b: bytes | bytearray) -> int:
    """Finds the end of a hello: the number of its bytes, or 0 where more are needed. Refuses early what can't become
    one.
    """
    n = min(len(b), len(MAGIC))
    if b[:n] != MAGIC[:n]:
        raise ProtocolError(f"the peer does not speak standpipe: it began with {bytes(b[:24])!r}")
    end = b.find(b"\n\n")
    if 0 <= end <= MAX_HELLO - 2:
        return end + 2
    if end >= 0 or len(b) >= MAX_HELLO:
        raise ProtocolError(f"the hello is longer than {MAX_HELLO} bytes")
    return 0


def parse_hello(b: bytes | bytearray) -> Hello:
    """Reads a whole one, the empty line included."""
    lines = b[:-2].decode("latin-1").split("\n")
    said = lines[0][len(MAGIC) :]
    if said != str(VERSION):
        if not _NUMBER.match(said) or said[0] == "0":
            raise ProtocolError(f"the peer does not speak standpipe: it began with {lines[0]!r}")
        raise ProtocolError(
            f"the peer speaks version {said} of the wire, this side speaks version {VERSION}:"
            " use programs of the same age"
        )
    found: dict[str, str] = {}
    for line in lines[1:]:
        k, colon, v = line.partition(": ")
        if not colon or not _KEY.match(k) or not _VALUE.match(v):
            raise ProtocolError(f"the hello has the line {line!r}, which is not `key: value`")
        if k in found:
            raise ProtocolError(f"the hello has {k!r} twice")
        found[k] = v
    h = Hello(
        max_message=number(found, "max-message", LEAST_DATA, MOST), max_buffers=number(found, "max-buffers", 0, MOST)
    )
    h.share = found.get("share", "")
    h.keys = {k: v for k, v in found.items() if k not in _OWN}
    return h


def number(keys: dict[str, str], key: str, least: int, most: int) -> int:
    """A line of a hello that is a number; least, where it is missing."""
    text = keys.get(key)
    if text is None:
        return least
    if not _NUMBER.match(text) or len(text) > 512 or not least <= int(text) <= most:
        raise ProtocolError(f"the hello says {key}: {text!r}, which is not a number from {least} to {most}")
    return int(text)
