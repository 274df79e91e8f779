"""What was decoded, checked against type hints and made what they say."""

from __future__ import annotations

import base64
import binascii
import collections.abc
import dataclasses
import datetime
import enum
import re
import types
import typing
from collections.abc import Callable
from typing import Any, Union

from ..msg.buffer import Buffer
from .codec import Codec, Data, is_message

Convert = Callable[[Any, bool], Any]  #: a value, and whether it comes of a codec of texts


class MismatchError(ValueError):
    """A value is not what its hint says. Its text begins with the path to it."""

    def __init__(self, expected: str, value: Any) -> None:
        super().__init__()
        self.path = ""
        self.said = f"expected {expected}, got {_kind(value)}"

    def under(self, step: str) -> MismatchError:
        self.path = step + self.path
        return self

    def __str__(self) -> str:
        return f"{self.path}: {self.said}"


def _kind(v: Any) -> str:
    if v is None:
        return "nothing"
    if isinstance(v, (dict, list)):
        return "a map" if isinstance(v, dict) else "a list"
    return type(v).__name__


class Missing(MismatchError):
    def __init__(self, name: str) -> None:
        super().__init__("", None)
        self.path, self.said = f".{name}", "missing"


_cache: dict[Any, Convert | None] = {}


def converter(hint: Any) -> Convert | None:
    """What makes a value that was decoded what the hint says; None where everything may be. TypeError for a hint that
    nothing can be made of.
    """
    try:
        if hint in _cache:
            return _cache[hint]
    except TypeError:  # not hashable
        return _make(hint)
    made = _make(hint)
    _cache[hint] = made
    return made


def decode(
    codec: Codec, data: Data, hint: Any, convert: Convert | None, buffers: collections.abc.Sequence[Buffer], root: str
) -> Any:
    """Decodes a value that should be as the hint says. ValueError, of which root begins the path."""
    if convert is None:
        return codec.decode(data, buffers)
    if convert is _is_message:
        return _message(codec, data, hint)
    value = codec.decode(data, buffers)
    try:
        return convert(value, codec.text)
    except MismatchError as e:
        raise e.under(root) from None
    except RecursionError:
        raise ValueError(f"{root}: it is nested too deep") from None


def _is_message(v: Any, text: bool) -> Any:
    """The place of a converter, for a Protobuf message, which is made of bytes. One inside of another value can't be
    made.
    """
    raise MismatchError("no Protobuf message inside of another value", v)


def _message(codec: Codec, data: Data, kind: Any) -> Any:
    """A Protobuf message."""
    try:
        if codec.name == "protobuf":
            return kind.FromString(bytes(data))
        if codec.name == "json":
            from google.protobuf import json_format

            return json_format.Parse(bytes(data), kind())
    except Exception as e:  # the package has its own kinds
        raise ValueError(f"it is no {kind.__name__}: {e}") from None
    raise ValueError(f"a {kind.__name__} goes by protobuf or JSON only, not by {codec.name}")


def _scalar(expected: str, *kinds: type) -> Convert:
    only = kinds[0]
    rest = kinds[1:]

    def convert(v: Any, text: bool) -> Any:
        kind = type(v)
        if kind is only:
            return v
        if kind in rest:
            return only(v)
        raise MismatchError(expected, v)

    return convert


def _bytes(make: Any) -> Convert:
    def convert(v: Any, text: bool) -> Any:
        if text and type(v) is str:
            try:
                return make(base64.b64decode(v, validate=True))
            except (binascii.Error, ValueError):
                raise MismatchError("base64", v) from None
        if type(v) is bytes:
            return v if make is bytes else make(v)
        if v is None:  # what Go makes of an empty one
            return make(b"")
        raise MismatchError("bytes", v)

    return convert


_FRACTION = re.compile(r"(\.\d{6})\d+")


def _datetime(v: Any, text: bool) -> Any:
    if text and type(v) is str:
        try:
            return datetime.datetime.fromisoformat(_FRACTION.sub(r"\1", v.replace("Z", "+00:00")))
        except ValueError:
            raise MismatchError("a time as in RFC 3339", v) from None
    if isinstance(v, datetime.datetime):
        return v
    raise MismatchError("a time", v)


def _buffer(v: Any, text: bool) -> Any:
    if isinstance(v, Buffer):
        return v
    raise MismatchError("a Buffer", v)


def _none(v: Any, text: bool) -> Any:
    if v is not None:
        raise MismatchError("nothing", v)


_SIMPLE: dict[Any, Convert | None] = {
    Any: None,
    object: None,
    typing.Hashable: None,
    None: _none,
    type(None): _none,
    int: _scalar("int", int),
    float: _scalar("float", float, int),
    str: _scalar("str", str),
    bool: _scalar("bool", bool),
    bytes: _bytes(bytes),
    bytearray: _bytes(bytearray),
    memoryview: _bytes(memoryview),
    datetime.datetime: _datetime,
    Buffer: _buffer,
}

_LISTS = (
    list,
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Iterable,
    collections.abc.Collection,
)
_MAPS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_SETS = {set: set, frozenset: frozenset, collections.abc.Set: frozenset, collections.abc.MutableSet: set}


def _make(hint: Any) -> Convert | None:
    if isinstance(hint, collections.abc.Hashable) and hint in _SIMPLE:
        return _SIMPLE[hint]
    if isinstance(hint, typing.TypeVar):
        return None
    if hasattr(hint, "__supertype__"):  # a NewType
        return converter(hint.__supertype__)
    if type(hint).__name__ == "TypeAliasType":
        return converter(hint.__value__)
    origin, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is typing.Annotated or str(origin) in ("typing.Required", "typing.NotRequired"):
        return converter(args[0])
    if origin is Union or origin is types.UnionType:
        return _union(args)
    if origin is typing.Literal:
        return _literal(args)
    if origin in _LISTS:
        return _list(converter(args[0]) if args else None, list)
    if origin in _SETS:
        return _list(converter(args[0]) if args else None, _SETS[origin])
    if origin is tuple:
        return _tuple(args)
    if origin in _MAPS:
        return _map(*((args[0], converter(args[1])) if args else (Any, None)))
    if isinstance(origin, type):
        if issubclass(origin, enum.Enum):
            return _enum(origin)
        if dataclasses.is_dataclass(origin) or typing.is_typeddict(origin) or _named(origin):
            return _struct(origin)
        if is_message(origin):
            return _is_message
    raise TypeError(f"values can't be decoded as {hint!r}")


def _named(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def _list(item: Convert | None, make: Any) -> Convert:
    def convert(v: Any, text: bool) -> Any:
        if type(v) is not list:
            if v is None:  # what Go makes of an empty one
                return make()
            raise MismatchError("a list", v)
        if item is None:
            return v if make is list else make(v)
        i = 0
        out = []
        try:
            for e in v:
                out.append(item(e, text))
                i += 1
        except MismatchError as e:
            raise e.under(f"[{i}]") from None
        return out if make is list else make(out)

    return convert


def _tuple(args: tuple[Any, ...]) -> Convert:
    if not args or args[-1] is Ellipsis:
        return _list(converter(args[0]) if args else None, tuple)
    items = [converter(a) for a in args]

    def convert(v: Any, text: bool) -> Any:
        if type(v) is not list or len(v) != len(items):
            raise MismatchError(f"a list of {len(items)}", v)
        out = list(v)
        for i, item in enumerate(items):
            try:
                if item is not None:
                    out[i] = item(v[i], text)
            except MismatchError as e:
                raise e.under(f"[{i}]") from None
        return tuple(out)

    return convert


def _map(key_hint: Any, item: Convert | None) -> Convert:
    key = converter(key_hint)

    def convert(v: Any, text: bool) -> Any:
        if type(v) is not dict:
            if v is None:
                return {}
            raise MismatchError("a map", v)
        if key is None and item is None:
            return v
        out = {}
        for k, e in v.items():
            try:
                if key is not None:
                    k = key(_key(k, key_hint), text) if text else key(k, text)
                out[k] = e if item is None else item(e, text)
            except MismatchError as bad:
                raise bad.under(f"[{k!r}]") from None
        return out

    return convert


def _key(k: str, hint: Any) -> Any:
    """A key of JSON, which is a text, as what the hint says."""
    try:
        return hint(k) if hint in (int, float) else k
    except ValueError:
        return k


def _enum(kind: type[enum.Enum]) -> Convert:
    def convert(v: Any, text: bool) -> Any:
        try:
            return kind(v)
        except ValueError:
            raise MismatchError(f"one of {kind.__name__}", v) from None

    return convert


def _literal(allowed: tuple[Any, ...]) -> Convert:
    def convert(v: Any, text: bool) -> Any:
        for a in allowed:
            if type(a) is type(v) and a == v:
                return a
        raise MismatchError(f"one of {', '.join(map(repr, allowed))}", v)

    return convert


def _union(args: tuple[Any, ...]) -> Convert | None:
    kinds = {a for a in args if a in (int, float, str, bool, bytes)}
    options = [(a, converter(a)) for a in args if a is not type(None)]
    empty = type(None) in args
    expected = " or ".join(getattr(a, "__name__", str(a)) for a, _ in options)
    if any(c is None for _, c in options):
        return None

    def convert(v: Any, text: bool) -> Any:
        if (v is None and empty) or type(v) in kinds:
            return v
        deepest: MismatchError | None = None
        for _, c in options:
            try:
                assert c is not None
                return c(v, text)
            except MismatchError as e:
                if e.path and (deepest is None or len(e.path) > len(deepest.path)):
                    deepest = e
        if len(options) == 1 and deepest is not None:
            raise deepest
        raise MismatchError(expected, v)

    return convert


def _struct(origin: type) -> Convert:
    """Of a dataclass, a TypedDict or a NamedTuple: a map with its fields. What it does not know is skipped, what has no
    default must be there.
    """
    steps: list[tuple[str, Convert | None, bool]] = []
    named, typed_dict = _named(origin), typing.is_typeddict(origin)
    done = False

    def prepare() -> None:
        nonlocal done
        hints = typing.get_type_hints(origin, include_extras=True)
        steps[:] = [(name, converter(hints.get(name, Any)), required) for name, required in _fields(origin)]
        done = True

    def convert(v: Any, text: bool) -> Any:
        if not done:  # only now: it may contain itself
            prepare()
        if type(v) is not dict:
            if named and type(v) is list and len(v) == len(steps):
                v = {name: e for (name, _, _), e in zip(steps, v, strict=True)}
            else:
                raise MismatchError(origin.__name__, v)
        found = {}
        for name, item, required in steps:
            if name in v:
                e = v[name]
                if item is not None:
                    try:
                        e = item(e, text)
                    except MismatchError as bad:
                        raise bad.under(f".{name}") from None
                found[name] = e
            elif required:
                raise Missing(name)
        if typed_dict:
            return found
        try:
            return origin(**found)
        except (ValueError, TypeError) as e:  # of its own __post_init__
            refused = MismatchError(origin.__name__, v)
            refused.said = str(e)
            raise refused from None

    return convert


def _fields(origin: Any) -> list[tuple[str, bool]]:
    """The names of the fields, and whether each must be there."""
    if typing.is_typeddict(origin):
        return [(name, name in origin.__required_keys__) for name in origin.__annotations__]
    if _named(origin):
        return [(name, name not in origin._field_defaults) for name in origin._fields]
    none = dataclasses.MISSING
    return [(f.name, f.default is none and f.default_factory is none) for f in dataclasses.fields(origin) if f.init]
