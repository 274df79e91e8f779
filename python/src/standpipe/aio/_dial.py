"""How a client gets a connection on an event loop."""

from __future__ import annotations

import asyncio

from ..conn import Conn
from ..dial import Dialing
from ..policy import Policy
from ._conn import AsyncConn


async def dial(
    name: str, *, policy: Policy | None = None, wait: bool = False, timeout: float | None = None
) -> AsyncConn:
    """As standpipe.dial; it waits without holding up the loop, and can be cancelled."""
    dialing = Dialing(name, policy, wait, timeout)
    while True:
        found = dialing.attempt()
        if found is not None:
            return AsyncConn(Conn(*found, dialing.addr))
        await asyncio.sleep(dialing.pause())
