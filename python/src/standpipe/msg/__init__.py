"""Messages over a connection: whole, in order, each up to a limit, with buffers beside them for bulk data. spec/wire.md
has the bytes.
"""

from __future__ import annotations

from .buffer import Buffer
from .error import EndOfStream, ProtocolError, TooLargeError

__all__ = ["Buffer", "EndOfStream", "ProtocolError", "TooLargeError"]
