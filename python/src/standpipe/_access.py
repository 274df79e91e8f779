"""What a policy means to the kernel.

Both compilers are pure, so that the vectors hold them to spec/policy.md on every system.
"""

from __future__ import annotations

from typing import NamedTuple

from .policy import Guard

CLIENT_ACCESS = 0x0012019B
"""What a client of a Windows pipe asks for, and all it is granted: FILE_GENERIC_READ and FILE_GENERIC_WRITE
without FILE_APPEND_DATA.

That one is FILE_CREATE_PIPE_INSTANCE on a pipe: whoever has it can add an instance of the pipe and play server.
"""


class UnixAccess(NamedTuple):
    """What becomes of a socket file."""

    owner: str  # uid
    group: str  # gid; "" leaves it
    mode: int


def unix_access(guard: Guard, me: str) -> UnixAccess:
    """Compile guard for a server that runs as me, an uid.

    What mode bits can't say is left to the check of the Identity: then the file lets everybody connect.
    """
    others = list(dict.fromkeys(u for u in guard.users if u != me))
    groups = list(dict.fromkeys(guard.groups))
    if guard.anyone or len(groups) > 1 or len(others) > 1 or (others and me != "0"):
        return UnixAccess(me, "", 0o666)
    owner = others[0] if others else me  # only the superuser can give a file away, and may still open it then
    if groups:
        return UnixAccess(owner, groups[0], 0o660)
    return UnixAccess(owner, "", 0o600)


def sddl(guard: Guard, me: str) -> str:
    """Compile guard for a server that runs as me, a SID.

    An explicit owner, whom clients compare with whom they expect, and a protected DACL that denies remote
    logons first and grants clients no more than CLIENT_ACCESS. The owner itself needs everything, for its
    further instances.
    """
    granted = ["WD"] if guard.anyone else dict.fromkeys(s for s in guard.users + guard.groups if s != me)
    clients = "".join(f"(A;;{CLIENT_ACCESS:#x};;;{sid})" for sid in granted)
    return f"O:{me}D:P(D;;FA;;;NU)(A;;FA;;;{me}){clients}"
