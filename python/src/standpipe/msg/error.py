"""The errors of messages."""

from __future__ import annotations


class ProtocolError(Exception):
    """Ends a connection: one side sent what spec/wire.md does not allow, or speaks something else.

    ``remote`` says that the peer complains of this side.
    """

    def __init__(self, text: str, *, remote: bool = False) -> None:
        super().__init__(f"the peer ended the connection: {text!r}" if remote else f"protocol error: {text}")
        self.text = text
        self.remote = remote


class TooLargeError(ValueError):
    """A message, or a buffer, is above the limit of the peer or of this side. Nothing was sent; the connection is as
    good as before.
    """


class EndOfStream(Exception):
    """The peer has closed between two messages: the good end."""
