"""What a handler takes and gives, as its signature says."""

from __future__ import annotations

import collections.abc
import inspect
import typing
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

from ..msg.buffer import Buffer
from ..msg.session import Data
from .codec import Codec
from .error import Code, Error
from .flow import release_all
from .typed import Convert, converter, decode

_ITERATORS = (collections.abc.Iterator, collections.abc.AsyncIterator, collections.abc.AsyncIterable)
_GIVEN = (
    collections.abc.Iterator,
    collections.abc.Iterable,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
)

QUICK = 0.0002  # seconds: a handler that took less may run in the thread that reads the next time
BRISK = 0.00002  # and one that took less than it costs to run it elsewhere, also while others wait
_FIRST_SLOW = 2
_MOST_SLOW = 1 << 10


class Pace:
    """What is known of the time that a method takes. A slow one is kept out of the reader for a while; if it is slow
    again when that is over, for twice as long.
    """

    __slots__ = ("_last", "_slow", "brisk")

    def __init__(self) -> None:
        self._slow = _FIRST_SLOW  # calls that are still to be run elsewhere
        self._last = 0
        self.brisk = False

    @property
    def quick(self) -> bool:
        return self._slow <= 0

    def took(self, seconds: float) -> None:
        self.brisk = seconds < BRISK
        if seconds > QUICK:
            self._slow = self._last = min(2 * max(self._last, _FIRST_SLOW // 2), _MOST_SLOW)
        elif self._slow > 0:
            self._slow -= 1
        elif self._last:
            self._last = 0


class Method:
    """A function that handles calls.

    A generator function is a stream, and so is a function whose parameter is an Iterator, of what the caller sends, or
    a Stream. Others are unary. One parameter is the value; several are the fields of a map. Hints say what a value must
    be.
    """

    def __init__(
        self, name: str, function: Callable[..., Any], policy: Any = None, scope: dict[str, Any] | None = None
    ) -> None:
        self.name = name
        self.function = function
        self.policy = policy
        self.pace = Pace()
        self.doc = inspect.getdoc(function) or ""
        hints = _hints(function, scope)
        params = [
            p
            for p in inspect.signature(function).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        self.takes = len(params)
        self.generates = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        first = hints.get(params[0].name, Any) if params else Any
        origin = typing.get_origin(first) or first
        self.duplex = (
            isinstance(origin, type) and hasattr(origin, "recv") and hasattr(origin, "close_send")
        )  # a Stream, of either kind
        self.iterates = origin in _ITERATORS
        self.streams = self.generates or self.duplex or self.iterates
        args = typing.get_args(first)
        self.takes_hint: Any = first
        if self.duplex or self.iterates:
            self.takes_hint = args[0] if args else Any
        elif self.takes > 1:
            self.takes_hint = Any
        self.gives_hint: Any = hints.get("return", Any)
        if self.duplex:
            self.gives_hint = args[1] if len(args) > 1 else Any
        elif self.generates and typing.get_origin(self.gives_hint) in _GIVEN:
            self.gives_hint = (typing.get_args(self.gives_hint) or (Any,))[0]
        self.fields = {p.name: hints.get(p.name, Any) for p in params} if self.takes > 1 else {}
        self.required = {p.name for p in params if p.default is p.empty}
        self._steps = {k: converter(h) for k, h in self.fields.items()}
        self.convert: Convert | None = self._map if self.fields else converter(self.takes_hint)
        converter(self.gives_hint if self.gives_hint is not None else Any)

    def _map(self, v: Any, text: bool) -> Any:
        """The arguments of several parameters."""
        from .typed import MismatchError, Missing

        if type(v) is not dict:
            raise MismatchError(f"a map of {', '.join(self.fields)}", v)
        found = {}
        for name, step in self._steps.items():
            if name not in v:
                if name in self.required:
                    raise Missing(name)
                continue
            try:
                found[name] = v[name] if step is None else step(v[name], text)
            except MismatchError as e:
                raise e.under(f".{name}") from None
        return found

    def argument(self, codec: Codec, data: Data, buffers: Sequence[Buffer]) -> Any:
        """Decodes what a call has brought."""
        try:
            return decode(codec, data, self.takes_hint, self.convert, buffers, "in")
        except ValueError as e:
            release_all(buffers)
            raise Error(
                Code.INVALID_ARGUMENT, f"the {codec.name} value of {self.name!r} can't be decoded: {e}"
            ) from None

    def invoke(self, value: Any) -> Any:
        """Runs the function for one value."""
        if self.takes == 1:
            return self.function(value)
        return self.function(**value) if self.fields else self.function()

    def result(self, codec: Codec, value: Any, buffers: list[Buffer]) -> Data:
        """Encodes what the function has returned."""
        try:
            return codec.encode(value, buffers)
        except (TypeError, ValueError, RecursionError) as e:
            raise Error(Code.INTERNAL, f"the result of {self.name!r} can't be encoded by {codec.name}: {e}") from None


def _hints(function: Callable[..., Any], scope: dict[str, Any] | None) -> dict[str, Any]:
    target = function if inspect.isroutine(function) else function.__call__  # type: ignore[operator]
    try:
        return typing.get_type_hints(target, None, scope, include_extras=True)
    except NameError as e:
        raise TypeError(f"the hints of {function!r} can't be read: {e}") from None


clock = perf_counter
