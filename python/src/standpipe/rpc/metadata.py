"""Metadata travels beside the values of a call. spec/wire.md, 3.6."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from struct import Struct

MOST_BYTES = 16 << 10
MOST_ENTRIES = 64

#: What a user may give: one value for a key, or several. Text is sent as UTF-8.
MetadataLike = Mapping[str, str | bytes | Iterable[str | bytes]]
_KEY = re.compile(r"[a-z0-9._-]{1,64}\Z")
_KEY_BYTES = re.compile(rb"[a-z0-9._-]{1,64}\Z")
_SHORT = Struct("<H")


class Metadata(dict[str, list[bytes]]):
    """From the caller with the call, and back as a header, before the first value, and as a trailer, behind the last.

    A key is 1 to 64 of a-z, 0-9, '-', '_' and '.', and may have several values, of any bytes. All of it has at most 64
    values and 16 KiB.
    """

    def __init__(self, given: MetadataLike | None = None) -> None:
        super().__init__()
        if given is not None:
            self.add(given)

    def add(self, given: MetadataLike) -> None:
        """Adds values behind those that are there."""
        for key, values in given.items():
            several = [values] if isinstance(values, (str, bytes)) else values
            self.setdefault(key, []).extend(v.encode() if isinstance(v, str) else bytes(v) for v in several)

    def text(self, key: str, default: str = "") -> str:
        """The first value of a key, as text."""
        values = self.get(key)
        return values[0].decode("utf-8", "replace") if values else default

    def pack(self) -> bytes:
        """The block, its length included. ValueError where it can't travel."""
        parts = []
        for key in sorted(self):
            if not _KEY.match(key):
                raise ValueError(f"the metadata key {key!r} is not 1 to 64 of a-z, 0-9, '-', '_' and '.'")
            head = bytes((len(key),)) + key.encode()
            parts += [head + _SHORT.pack(min(len(value), 65535)) + value for value in self[key]]
        block = b"".join(parts)
        if len(parts) > MOST_ENTRIES or len(block) > MOST_BYTES:
            raise ValueError(
                f"the metadata has {len(parts)} values and {len(block)} bytes;"
                f" at most {MOST_ENTRIES} and {MOST_BYTES} can travel"
            )
        return _SHORT.pack(len(block)) + block


def cut(b: memoryview, at: int) -> tuple[Metadata, int]:
    """Reads the block that begins at a place, and says where it ends. ValueError where it breaks the rules."""
    if len(b) < at + 2:
        raise ValueError("a metadata block is cut off")
    (n,) = _SHORT.unpack_from(b, at)
    at += 2
    end = at + n
    if n > MOST_BYTES or end > len(b):
        raise ValueError(f"a metadata block of {n} bytes is longer than what is there, or than {MOST_BYTES}")
    block = bytes(b[at:end])
    found = Metadata()
    count = i = 0
    while i < n:
        k = i + 1 + block[i]
        key = block[i + 1 : k]
        if k + 2 > n or not _KEY_BYTES.match(key):
            raise ValueError("a metadata block has a bad key, or is not filled by its entries")
        v = k + 2 + _SHORT.unpack_from(block, k)[0]
        count += 1
        if v > n or count > MOST_ENTRIES:
            raise ValueError("a metadata block has too many values, or is not filled by them")
        found.setdefault(key.decode(), []).append(block[k + 2 : v])
        i = v
    return found, end
