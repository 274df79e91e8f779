"""Which names are being served."""

from __future__ import annotations

import builtins
import sys

from .addr import Addr

if sys.platform == "win32":
    from ._windows_list import found
else:
    from ._unix_list import found


def list() -> builtins.list[Addr]:
    """Find the names that are being served and that the caller may see: this user's own, and the machine's
    shared ones, sorted.

    Endpoints with a path of their own have no name and are not found. Endpoints whose server has died are left
    out.
    """
    return sorted(set(found()), key=lambda a: a.name)  # a system may list a name more than once
