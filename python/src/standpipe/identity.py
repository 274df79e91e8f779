"""Who is at the other end."""

from __future__ import annotations

import sys
from dataclasses import dataclass

if sys.platform == "win32":
    from ._windows_identity import user_name
else:
    from ._unix_identity import user_name


@dataclass(frozen=True)
class Identity:
    """Who is at the other end, as the kernel vouches for it: of a client since it connected, of a server since
    it began to listen.
    """

    pid: int
    """The process, as seen from here; 0 where it is not visible, as from another container. It is for people and logs.

    Never decide by it: the process may be gone, and its number another's.
    """
    user: str
    """The effective uid in decimal, or the SID on Windows. Empty where the kernel does not say."""
    groups: tuple[str, ...] = ()
    """The process's groups: gids, the effective one first, or SIDs of enabled groups.

    Of a Windows pipe's server they are not known.
    """

    def __str__(self) -> str:
        """For logs: ``user 1000 (alice), pid 4711``."""
        if not self.user:
            text = "an unknown user"
        elif name := user_name(self.user):
            text = f"user {self.user} ({name})"
        else:
            text = f"user {self.user}"
        return f"{text}, pid {self.pid}" if self.pid else text
