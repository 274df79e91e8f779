"""How calls fail."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple


class Code(enum.IntEnum):
    """How a call ended. The codes, their names and their numbers are gRPC's."""

    OK = 0
    CANCELED = 1  #: the caller gave up
    UNKNOWN = 2  #: an error without a code
    INVALID_ARGUMENT = 3  #: the value can't be right, whatever the state
    DEADLINE_EXCEEDED = 4  #: the time was up
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7  #: the caller is known, and may not
    RESOURCE_EXHAUSTED = 8  #: a limit was reached
    FAILED_PRECONDITION = 9  #: the state must change first
    ABORTED = 10  #: a conflict; the whole may be tried again
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12  #: no such method, or codec
    INTERNAL = 13  #: an invariant is broken
    UNAVAILABLE = 14  #: the other side is gone, or going
    DATA_LOSS = 15
    UNAUTHENTICATED = 16  #: the caller is not known

    @property
    def text(self) -> str:
        """The name as the other languages spell it: ``DeadlineExceeded``."""
        return "OK" if self is Code.OK else self.name.title().replace("_", "")


class Detail(NamedTuple):
    """A value beside an Error: a type's name, such as a Protobuf type URL, and its encoding."""

    type: str
    value: bytes


class Error(Exception):
    """How a call fails: what the handler raised, or what happened on the way.

    A handler raises one to say the code, the message for people (64 KiB at most travel), and the details for programs
    (64 at most). An error whose time ran out is a TimeoutError too, and one whose connection has ended a
    ConnectionError.
    """

    code: Code
    message: str
    details: tuple[Detail, ...]

    def __new__(cls, code: Code | int = Code.UNKNOWN, *_: object, **__: object) -> Error:
        kind: type[Error] = cls
        if cls is Error:
            kind = _KINDS.get(int(code), cls)
        return OSError.__new__(kind) if issubclass(kind, OSError) else Exception.__new__(kind)

    def __init__(self, code: Code | int, message: str = "", details: Sequence[Detail | tuple[str, bytes]] = ()) -> None:
        self.args = (code, message, details)  # what pickle makes it of
        self.code = Code(code)
        self.message = message
        self.details = tuple(Detail(*d) for d in details)

    def __str__(self) -> str:
        return f"{self.code.text}: {self.message}" if self.message else self.code.text

    def again(self) -> Error:
        """The same, to be raised in one more place."""
        error = Error(self.code, self.message, self.details)
        error.__cause__ = self.__cause__
        return error


class DeadlineError(Error, TimeoutError):
    """An Error with DEADLINE_EXCEEDED."""


class UnavailableError(Error, ConnectionError):
    """An Error with UNAVAILABLE."""


_KINDS: dict[int, type[Error]] = {Code.DEADLINE_EXCEEDED: DeadlineError, Code.UNAVAILABLE: UnavailableError}


def code_of(error: BaseException | None) -> Code:
    """The code of an error: that of an Error, OK for None, the right one for what the standard library raises, and
    UNKNOWN for all else.
    """
    if error is None:
        return Code.OK
    if isinstance(error, Error):
        return error.code
    if isinstance(error, TimeoutError):
        return Code.DEADLINE_EXCEEDED
    if isinstance(error, PermissionError):
        return Code.PERMISSION_DENIED
    if isinstance(error, ConnectionError):
        return Code.UNAVAILABLE
    return Code.UNKNOWN
