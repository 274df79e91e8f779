"""What a server's methods are: spec/wire.md, 3.15, with JSON Schemas (2020-12) of what the hints say."""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import enum
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, Union

from ..msg.buffer import Buffer
from .codec import is_message
from .error import Code, Error
from .typed import _LISTS, _MAPS, _SETS, _fields, _named

_SIMPLE: dict[Any, dict[str, Any]] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    None: {"type": "null"},
    type(None): {"type": "null"},
    bytes: {"type": ["string", "null"], "contentEncoding": "base64"},
    bytearray: {"type": ["string", "null"], "contentEncoding": "base64"},
    memoryview: {"type": ["string", "null"], "contentEncoding": "base64"},
    datetime.datetime: {"type": "string", "format": "date-time"},
    Buffer: {"$comment": "a Buffer, which travels beside the value", "type": ["object", "null"]},
}


def describe(methods: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of standpipe.describe."""
    found = []
    for name in sorted(methods):
        m = methods[name]
        if name.startswith("standpipe."):
            continue
        entry = {
            "name": name,
            "kind": "stream" if m.streams else "unary",
            "in": schema_of(_takes(m)),
            "out": schema_of(m.gives_hint),
        }
        if m.doc:
            entry["doc"] = m.doc
        found.append(entry)
    return {"methods": found}


def _takes(m: Any) -> Any:
    if m.fields:
        return _Fields(m.fields, m.required)
    return m.takes_hint if m.takes else None


def understand(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What standpipe.describe has answered, with the schemas as values."""
    try:
        return [{**m, "in": json.loads(m["in"]), "out": json.loads(m["out"])} for m in answer["methods"] or ()]
    except (KeyError, TypeError, ValueError) as e:
        raise Error(Code.INTERNAL, f"the description can't be understood: {e!r}") from None


class _Fields:
    """The fields of a map, as several parameters are."""

    def __init__(self, hints: Mapping[str, Any], required: set[str]) -> None:
        self.hints = hints
        self.required = required


def schema_of(hint: Any) -> str:
    walk = _Walk(hint)
    schema = walk.of(hint, True)
    if walk.defs:
        schema["$defs"] = walk.defs
    return json.dumps(schema, separators=(",", ":"))


class _Walk:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._names: dict[Any, str] = {}
        self.defs: dict[str, Any] = {}

    def of(self, hint: Any, top: bool = False) -> dict[str, Any]:
        if isinstance(hint, _Fields):
            return self._object(hint.hints, hint.required)
        if isinstance(hint, collections.abc.Hashable) and hint in _SIMPLE:
            return dict(_SIMPLE[hint])
        if hasattr(hint, "__supertype__"):
            return self.of(hint.__supertype__)
        origin, args = typing.get_origin(hint) or hint, typing.get_args(hint)
        if origin is typing.Annotated or str(origin) in ("typing.Required", "typing.NotRequired"):
            return self.of(args[0])
        if origin is Union or origin is types.UnionType:
            return {"anyOf": [self.of(a) for a in args]}
        if origin is typing.Literal:
            return {"enum": list(args)}
        if origin is tuple and args and args[-1] is not Ellipsis:
            return {
                "type": "array",
                "prefixItems": [self.of(a) for a in args],
                "minItems": len(args),
                "maxItems": len(args),
            }
        if origin in _LISTS or origin in _SETS or origin is tuple:
            return {"type": ["array", "null"], "items": self.of(args[0]) if args else {}}
        if origin in _MAPS:
            return {"type": ["object", "null"], "additionalProperties": self.of(args[1]) if len(args) > 1 else {}}
        if isinstance(origin, type) and issubclass(origin, enum.Enum):
            return {"enum": [e.value for e in origin]}
        if is_message(origin):
            return {
                "$comment": f"the Protobuf message {origin.DESCRIPTOR.full_name}, in its JSON form",
                "type": "object",
            }
        if (
            dataclasses.is_dataclass(origin)
            or typing.is_typeddict(origin)
            or (isinstance(origin, type) and _named(origin))
        ):
            return self._struct(origin, top)
        return {}

    def _struct(self, origin: Any, top: bool) -> dict[str, Any]:
        if not top and origin is self._root:
            return {"$ref": "#"}
        if top:
            return self._inline(origin)
        name = self._names.get(origin)
        if name is None:
            name = "".join(c if c.isascii() and c.isalnum() else "_" for c in origin.__name__)
            while name in self.defs:
                name += "_"
            self._names[origin] = name
            self.defs[name] = {}
            self.defs[name] = self._inline(origin)
        return {"$ref": f"#/$defs/{name}"}

    def _inline(self, origin: Any) -> dict[str, Any]:
        hints = typing.get_type_hints(origin, include_extras=True)
        fields = _fields(origin)
        return self._object({n: hints.get(n, Any) for n, _ in fields}, {n for n, required in fields if required})

    def _object(self, hints: Mapping[str, Any], required: set[str]) -> dict[str, Any]:
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {k: self.of(h) for k, h in hints.items()},
            "additionalProperties": False,
        }
        if required:
            schema["required"] = sorted(required)
        return schema
