"""How a Peer is had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..dial import dial as connect
from .error import Code, Error
from .options import Options
from .peer import Peer

if TYPE_CHECKING:
    from ..policy import Policy
    from .server import Server


NO_HELLO = "the server closed the connection before its hello: it may not admit this user, be full, or be no rpc server"


def dial(
    name: str,
    *,
    policy: Policy | None = None,
    wait: bool = False,
    timeout: float | None = None,
    server: Server | None = None,
    **options: Any,
) -> Peer:
    """Connects to the server called name, and exchanges hellos, in timeout seconds at most.

    policy says who may be serving; missing: the current user, or the superuser. wait: retry while nobody is listening.
    server has the methods that the other side may call back. The options are those of Options: max_message, max_shared,
    max_calls, max_queued, codec. Errors are those of a connection (NoServerError, DeniedError and so on), TimeoutError,
    a ProtocolError where the server speaks something else, and an Error with UNAVAILABLE where the connection ends at
    once.
    """
    made = Options(**options)
    return attach(
        connect(name, policy=policy, wait=wait, timeout=timeout), server=server, timeout=timeout, options=made
    )


def attach(
    conn: Any, *, server: Server | None = None, timeout: float | None = None, options: Options | None = None
) -> Peer:
    """Makes a Peer on the dialling end of a connection that is there already, which is the Peer's from then on. Errors
    are dial's.
    """
    from ..msg.error import ProtocolError

    peer = Peer(conn, options or Options(), dialer=True, server=server)
    try:
        peer.greet(timeout)
    except BaseException:
        peer.close()
        raise
    if peer.error is not None:
        peer.close()
        if isinstance(peer.error, ProtocolError):
            raise peer.error
        raise Error(Code.UNAVAILABLE, NO_HELLO) from peer.error
    peer.start()
    return peer
