"""Local inter-process communication: named pipes on Windows, Unix sockets elsewhere, shared memory for bulk data."""

from .addr import Addr, parse_addr
from .conn import Conn, pipe
from .dial import dial
from .error import (
    BadNameError,
    ClosedError,
    DeniedError,
    HandlesError,
    Interrupted,
    InUseError,
    MessagesError,
    NameTooLongError,
    NoServerError,
    NotSealedError,
    NotSocketError,
    StaleError,
    WrongServerError,
)
from .identity import Identity
from .list import list
from .listen import Listener, listen
from .policy import Policy

__all__ = [
    "Addr",
    "BadNameError",
    "ClosedError",
    "Conn",
    "DeniedError",
    "HandlesError",
    "Identity",
    "InUseError",
    "Interrupted",
    "Listener",
    "MessagesError",
    "NameTooLongError",
    "NoServerError",
    "NotSealedError",
    "NotSocketError",
    "Policy",
    "StaleError",
    "WrongServerError",
    "dial",
    "list",
    "listen",
    "parse_addr",
    "pipe",
]
