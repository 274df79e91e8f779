"""standpipe in asyncio: the same words.

async with standpipe.aio.dial("engine") as peer:
    print(await peer.call("upper", "hello"))
    async for token in peer.open("generate", "once upon a time"):
        print(token)
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..msg.error import ProtocolError
from ..rpc.context import current
from ..rpc.dialing import NO_HELLO
from ..rpc.error import Code, Error
from ..rpc.options import Options
from .peer import Peer
from .server import Server
from .stream import Stream

if TYPE_CHECKING:
    from ..policy import Policy

__all__ = ["Peer", "Server", "Stream", "attach", "current", "dial"]


def dial(
    name: str,
    *,
    policy: Policy | None = None,
    wait: bool = False,
    timeout: float | None = None,
    server: Server | None = None,
    **options: Any,
) -> Dialing:
    """Connects to the server called name, and exchanges hellos: standpipe.dial, in asyncio. To be awaited, or used as
    ``async with``.
    """
    return Dialing(name, policy, wait, timeout, server, Options(**options))


class Dialing:
    """What dial is doing."""

    def __init__(
        self,
        name: str,
        policy: Policy | None,
        wait: bool,
        timeout: float | None,
        server: Server | None,
        options: Options,
    ) -> None:
        self._name = name
        self._how: dict[str, Any] = {"policy": policy, "wait": wait, "timeout": timeout}
        self._server = server
        self._options = options
        self._peer: Peer | None = None

    async def _dial(self) -> Peer:
        from ._dial import dial as connect

        conn = await connect(self._name, **self._how)
        return await attach(conn, server=self._server, timeout=self._how["timeout"], options=self._options)

    def __await__(self) -> Generator[Any, None, Peer]:
        return self._dial().__await__()

    async def __aenter__(self) -> Peer:
        self._peer = await self._dial()
        return self._peer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._peer is not None:
            await self._peer.close()


async def attach(
    conn: Any, *, server: Server | None = None, timeout: float | None = None, options: Options | None = None
) -> Peer:
    """Makes a Peer on the dialling end of a connection that is there already, which is the Peer's from then on. Errors
    are dial's.
    """
    peer = Peer(conn, options or Options(), dialer=True, server=server)
    try:
        await asyncio.wait_for(peer.greet(), timeout)
    except BaseException:
        await peer.close()
        raise
    if peer.error is not None:
        await peer.close()
        if isinstance(peer.error, ProtocolError):
            raise peer.error
        raise Error(Code.UNAVAILABLE, NO_HELLO) from peer.error
    return peer
