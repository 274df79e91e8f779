"""What a handler can know of the call that it runs for."""

from __future__ import annotations

from contextvars import ContextVar
from time import monotonic
from typing import TYPE_CHECKING, Any

from .call import Served
from .error import Code, Error
from .metadata import Metadata, MetadataLike

if TYPE_CHECKING:
    from ..identity import Identity
    from .peer import Peer


class Context:
    """The call that runs in this thread or task. It is valid until the handler returns, in other threads too."""

    __slots__ = ("_served", "peer")

    peer: Any  #: who calls, and whom to call back: a Peer, or one of standpipe.aio

    def __init__(self, peer: Any, served: Served) -> None:
        self.peer = peer
        self._served = served

    @property
    def method(self) -> str:
        """The name of the method."""
        return self._served.method

    @property
    def identity(self) -> Identity:
        """Who calls, as the kernel vouches."""
        identity: Identity = self.peer.identity
        return identity

    @property
    def metadata(self) -> Metadata:
        """What the caller sent beside the value."""
        return self._served.meta or Metadata()

    @property
    def time_left(self) -> float | None:
        """Seconds until the call's time is up, which may be negative. None: it has no limit."""
        deadline = self._served.deadline
        return None if deadline is None else deadline - monotonic()

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more: the caller has cancelled, its time is up, or the connection has
        ended.
        """
        served = self._served
        return served.cancelled is not None or (served.deadline is not None and served.deadline <= monotonic())

    def check(self) -> None:
        """Raises the Error with which a call ends that nobody waits for any more; nothing where somebody does."""
        if self.cancelled:
            raise self._error()

    def _error(self) -> Error:
        if self._served.cancelled is None or self._served.cancelled == Code.DEADLINE_EXCEEDED:
            return Error(Code.DEADLINE_EXCEEDED, "the call's time is up")
        return Error(Code.CANCELED, "the caller has cancelled the call, or is gone")

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the call is cancelled; False after timeout seconds. Not for handlers of standpipe.aio, whose task
        is cancelled.
        """
        peer: Peer = self.peer
        return peer.wait_cancelled(self._served, timeout)

    def set_header(self, metadata: MetadataLike) -> None:
        """Adds to the header of the answer. It leaves with the first value, or the end. ValueError where it can't
        travel.
        """
        if self._served.stream is not None and self._served.stream.header_sent:
            raise RuntimeError("the header has left already: set it before the first value is sent")
        self._served.header = _more(self._served.header, metadata)

    def set_trailer(self, metadata: MetadataLike) -> None:
        """Adds to the trailer of the answer, which leaves behind the last value. ValueError where it can't travel."""
        self._served.trailer = _more(self._served.trailer, metadata)


def _more(have: Metadata | None, given: MetadataLike) -> Metadata:
    more = Metadata(have)
    more.add(given)
    more.pack()
    return more


context: ContextVar[tuple[Any, Served]] = ContextVar("standpipe")  # what a Context is made of


def current() -> Context:
    """The call for which the handler runs that asks. RuntimeError outside of one; a thread that a handler starts gets
    it by hand.
    """
    try:
        return Context(*context.get())
    except LookupError:
        raise RuntimeError("no handler runs here") from None
