"""Local inter-process communication: named pipes on Windows, Unix sockets elsewhere, shared memory for bulk data.

A server:

    server = standpipe.Server()

    @server.method
    def upper(text: str) -> str:
        return text.upper()

    server.serve("engine")

A client:

    with standpipe.dial("engine") as peer:
        print(peer.call("upper", "hello"))

``standpipe.aio`` has the same in asyncio.
"""

from .addr import Addr, parse_addr
from .conn import Conn, pipe
from .dial import dial as connect
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
from .msg import Buffer, EndOfStream, ProtocolError, TooLargeError
from .policy import Policy
from .rpc.codec import JSON, MESSAGE_PACK, PROTOBUF, Codec
from .rpc.context import Context, current
from .rpc.dialing import attach, dial
from .rpc.error import Code, DeadlineError, Detail, Error, UnavailableError, code_of
from .rpc.metadata import Metadata
from .rpc.peer import Peer, Reply
from .rpc.server import Server, Serving
from .rpc.stream import Stream

__all__ = [
    "JSON",
    "MESSAGE_PACK",
    "PROTOBUF",
    "Addr",
    "BadNameError",
    "Buffer",
    "ClosedError",
    "Code",
    "Codec",
    "Conn",
    "Context",
    "DeadlineError",
    "DeniedError",
    "Detail",
    "EndOfStream",
    "Error",
    "HandlesError",
    "Identity",
    "InUseError",
    "Interrupted",
    "Listener",
    "MessagesError",
    "Metadata",
    "NameTooLongError",
    "NoServerError",
    "NotSealedError",
    "NotSocketError",
    "Peer",
    "Policy",
    "ProtocolError",
    "Reply",
    "Server",
    "Serving",
    "StaleError",
    "Stream",
    "TooLargeError",
    "UnavailableError",
    "WrongServerError",
    "attach",
    "code_of",
    "connect",
    "current",
    "dial",
    "list",
    "listen",
    "parse_addr",
    "pipe",
]
