"""What can go wrong in getting a connection, and with it.

All of these are OSErrors, next to the system's own, which pass through unchanged. Tell them apart by their
class, never by their text.
"""

from __future__ import annotations

import errno as _errno


class Fault(OSError):
    """A kind of error that this package names, with what was found and what to do about it.

    ``errno`` is the system's own word, where there was one; ``name`` is the endpoint, where it is known.
    """

    summary = "it failed"

    def __init__(self, detail: str = "", cause: BaseException | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.name: str | None = None
        self.__cause__ = cause
        if isinstance(cause, OSError):
            self.errno = cause.errno

    def __str__(self) -> str:
        parts = [self.name] if self.name else []
        parts.append(self.summary)
        if self.detail:
            parts.append(self.detail)
        text = ": ".join(parts)
        return f"{text} ({self.__cause__})" if self.__cause__ is not None else text


class NoServerError(Fault, ConnectionError):
    """Nobody listens on that name."""

    summary = "nobody is listening"


class StaleError(NoServerError):
    """There is an endpoint, but the process that made it is gone. listen() takes such a name over."""

    summary = "the server that made this endpoint is gone"


class InUseError(Fault):
    """listen() found the name taken by a living server or, on Windows, by whoever was there first."""

    summary = "the name is in use"


class DeniedError(Fault, PermissionError):
    """The kernel or a Policy refused."""

    summary = "access denied"


class WrongServerError(DeniedError):
    """dial() reached a server that its policy does not admit, such as somebody else's who was quicker to take the name.

    Not a byte was sent to it.
    """

    summary = "somebody else serves this name"


class BadNameError(Fault, ValueError):
    """The name can't be one, on this system or anywhere."""

    summary = "not a usable name"


class NameTooLongError(BadNameError):
    """The path behind the name is longer than the system's limit."""

    summary = "the name is too long"


class NotSocketError(Fault):
    """The path leads to a file that is no endpoint. listen() does not remove it."""

    summary = "not an endpoint"


class MessagesError(Fault):
    """The server keeps message boundaries, which this package does not."""

    summary = "the server keeps message boundaries"


class HandlesError(Fault, ConnectionError):
    """More descriptors came than may wait, or some were cut off. Nothing more is received over the connection."""

    summary = "too many descriptors came"


class NotSealedError(Fault):
    """What was received is no memory of a size that stays, or not as large as was said."""

    summary = "it is no sealed segment of that size"


class ClosedError(Fault, ConnectionError):
    """close() was called, here."""

    summary = "it was closed"


class Interrupted(Exception):
    """wake() was called. Nothing is wrong with the connection, and nothing was lost."""


def system_error(code: int, what: str) -> OSError:
    """The system's error of that number, with a word on what failed."""
    return OSError(code, f"{what}: {_errno.errorcode.get(code, code)}")
