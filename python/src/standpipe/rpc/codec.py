"""Values to and from bytes. spec/memory.md, 4.10, has the buffers in them."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgpack

from ..msg.buffer import Buffer

EXT_BUFFER = 1
NO_BUFFER = 255
_KEY = "$buffer"

Data = bytes | bytearray | memoryview


class Codec(Protocol):
    """Encodes values. Its methods are called by many threads at once. It must not be able to run code: what comes is
    not to be trusted.
    """

    name: str  #: 1 to 32 of a-z, 0-9, '.', '+' and '-'
    text: bool  #: bytes and times are texts in it, and the keys of maps are

    def encode(self, value: Any, buffers: list[Buffer]) -> Data:
        """The bytes of a value. The Buffers in it are appended to buffers, and the value refers to them by their
        places. TypeError or ValueError.
        """

    def decode(self, data: Data, buffers: Sequence[Buffer]) -> Any:
        """The value, in the types that the codec knows. ValueError."""


class _Places:
    """The buffers that came with a value, each to be claimed once."""

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self._left: list[Buffer | None] = list(buffers)

    def take(self, place: int) -> Buffer:
        if not 0 <= place < len(self._left):
            raise ValueError(f"it refers to buffer {place} of {len(self._left)}")
        buffer, self._left[place] = self._left[place], None
        if buffer is None:
            raise ValueError(f"it refers to buffer {place} twice")
        return buffer

    def extension(self, code: int, data: bytes) -> Any:
        """What a MessagePack extension means."""
        if code != EXT_BUFFER:
            return msgpack.ExtType(code, data)
        if len(data) != 1:
            raise ValueError(f"a reference to a Buffer has {len(data)} bytes, not 1")
        return None if data[0] == NO_BUFFER else self.take(data[0])

    def object(self, found: dict[str, Any]) -> Any:
        """What an object of JSON means."""
        if len(found) != 1 or _KEY not in found:
            return found
        place = found[_KEY]
        if type(place) is not int:
            raise ValueError(f"{place!r} is no place of a Buffer")
        return self.take(place)


_fields: dict[type, tuple[str, ...]] = {}


def fields_of(kind: type) -> tuple[str, ...]:
    """The names of a dataclass's fields."""
    names = _fields.get(kind)
    if names is None:
        names = _fields[kind] = tuple(f.name for f in dataclasses.fields(kind))
    return names


def place_of(b: Buffer, buffers: list[Buffer]) -> int:
    """Where b goes among the buffers of what is sent."""
    if any(b is other for other in buffers):
        raise ValueError(f"it has the same Buffer of {len(b)} bytes twice")
    buffers.append(b)
    return len(buffers) - 1


_BASES: tuple[Any, ...] = (dict, list, str, bytes, bytearray, int, float)


def plain(v: Any) -> Any:
    """An object in the terms of what every codec knows. TypeError where it can't be sent."""
    kind = type(v)
    if dataclasses.is_dataclass(kind):
        return {name: getattr(v, name) for name in fields_of(kind)}
    if isinstance(v, enum.Enum):
        return v.value
    if isinstance(v, tuple):
        names = getattr(kind, "_fields", None)
        return list(v) if names is None else dict(zip(names, v, strict=True))
    for base in _BASES:
        if isinstance(v, base):
            return base(v)
    if isinstance(v, (set, frozenset)):
        return list(v)
    if isinstance(v, Mapping):
        return dict(v)
    if kind.__module__ == "numpy":
        if hasattr(v, "shape") and v.shape != ():
            raise TypeError("an array can't be sent as it is: send .tolist(), or copy it to a Buffer of new_buffer()")
        return v.item()
    if isinstance(v, Sequence):
        return list(v)
    raise TypeError(f"a {kind.__qualname__} can't be sent")


_NONE: list[Buffer] = []


class _Packer:
    """A packer of the library's, and the buffers of what it packs."""

    __slots__ = ("buffers", "pack")

    def __init__(self) -> None:
        self.buffers = _NONE
        packer: Callable[[Any], bytes] = msgpack.Packer(default=self._default, strict_types=True, buf_size=4096).pack
        self.pack = packer

    def _default(self, v: Any) -> Any:
        if type(v) is Buffer:
            return msgpack.ExtType(EXT_BUFFER, bytes((place_of(v, self.buffers),)))
        if isinstance(v, datetime.datetime):
            if v.tzinfo is None:
                raise ValueError(f"the time {v} has no time zone: give it one, such as datetime.timezone.utc")
            return msgpack.Timestamp.from_datetime(v)
        return plain(v)


class _MessagePack:
    """The default (https://msgpack.org): compact, for any value. Fields go by their names, datetime is the timestamp
    extension.
    """

    name = "msgpack"
    text = False

    def __init__(self) -> None:
        self._packers: list[_Packer] = []

    def encode(self, value: Any, buffers: list[Buffer]) -> Data:
        try:
            p = self._packers.pop()
        except IndexError:
            p = _Packer()
        p.buffers = buffers
        try:
            b = p.pack(value)
        except OverflowError as e:
            raise ValueError(f"an integer is too large: {e}") from None
        p.buffers = _NONE
        self._packers.append(p)  # one that has failed is not used again
        return b

    def decode(self, data: Data, buffers: Sequence[Buffer]) -> Any:
        hook = _Places(buffers).extension if buffers else _no_places
        try:
            return msgpack.unpackb(data, ext_hook=hook, timestamp=3, strict_map_key=False)
        except (TypeError, OverflowError, RecursionError) as e:  # a key that can't be one, a time that can't be
            raise ValueError(str(e)) from None
        except ValueError as e:
            raise ValueError(str(e) or f"it is no MessagePack value: {type(e).__name__}") from None


_no_places = _Places(()).extension


class _JSON:
    """JSON text. Bytes are base64, and times as in RFC 3339."""

    name = "json"
    text = True

    def encode(self, value: Any, buffers: list[Buffer]) -> Data:
        return json.dumps(_texts(value, buffers), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()

    def decode(self, data: Data, buffers: Sequence[Buffer]) -> Any:
        try:
            return json.loads(str(data, "utf-8"), object_hook=_Places(buffers).object)
        except RecursionError:
            raise ValueError("it is nested too deep") from None


def _texts(v: Any, buffers: list[Buffer]) -> Any:
    """A value in the terms of JSON."""
    if v is None or type(v) in (str, int, float, bool):
        return v
    if type(v) is Buffer:
        return {_KEY: place_of(v, buffers)}
    if isinstance(v, (bytes, bytearray, memoryview)):
        return base64.b64encode(v).decode()
    if isinstance(v, datetime.datetime):
        if v.tzinfo is None:
            raise ValueError(f"the time {v} has no time zone: give it one, such as datetime.timezone.utc")
        return v.isoformat()
    if type(v) is dict:
        return {str(_texts(k, buffers)): _texts(e, buffers) for k, e in v.items()}
    if type(v) is list:
        return [_texts(e, buffers) for e in v]
    return _texts(plain(v), buffers)


class _Protobuf:
    """Messages of Google's protobuf package only, and None, which is no bytes. What is decoded are the bytes, for the
    type that is wanted.
    """

    name = "protobuf"
    text = False

    def encode(self, value: Any, buffers: list[Buffer]) -> Data:
        if value is None:
            return b""
        if not is_message(type(value)):
            raise TypeError(f"the protobuf codec takes Protobuf messages only, not a {type(value).__qualname__}")
        data: bytes = value.SerializeToString()
        return data

    def decode(self, data: Data, buffers: Sequence[Buffer]) -> Any:
        return bytes(data)


def is_message(kind: Any) -> bool:
    """Whether a type is a Protobuf message's. It does not import the package."""
    return isinstance(kind, type) and hasattr(kind, "DESCRIPTOR") and hasattr(kind, "SerializeToString")


MESSAGE_PACK: Codec = _MessagePack()
JSON: Codec = _JSON()
PROTOBUF: Codec = _Protobuf()
CODECS = (MESSAGE_PACK, PROTOBUF, JSON)
