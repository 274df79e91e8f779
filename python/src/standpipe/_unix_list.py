"""The names that are served, by the folders that sockets lie in."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator

assert sys.platform != "win32"

from ._unix_listen import probe
from ._unix_lock import lock_of, look_at
from ._unix_path import SHARED_DIR, SHARED_SOCKET, SOCKET_SUFFIX, shortened, user_dir
from .addr import SHARED, Addr, check_name
from .error import BadNameError


def found() -> Iterator[Addr]:
    """Whether an endpoint is served is seen by its lock, which costs its server nothing.

    Where that is another user's, it is seen by a connection that is hung up at once.
    """
    for path in glob.glob(os.path.join(glob.escape(user_dir()), "*" + SOCKET_SUFFIX)):
        base = os.path.basename(path)[: -len(SOCKET_SUFFIX)]
        try:
            note, served = look_at(lock_of(path))
        except OSError:
            continue
        if base.startswith("~") and shortened(note.name) == base:
            base = note.name
        if served and _is_name(base):
            yield Addr(base.lower(), path)
    for path in glob.glob(os.path.join(glob.escape(SHARED_DIR), "*", SHARED_SOCKET)):
        bare = os.path.basename(os.path.dirname(path))
        if _is_name(bare) and _serves(path):
            yield Addr(SHARED + bare, path)


def _is_name(bare: str) -> bool:
    try:
        check_name(bare)
    except BadNameError:
        return False
    return True


def _serves(path: str) -> bool:
    try:
        return look_at(lock_of(path))[1]
    except PermissionError:
        pass
    except OSError:
        return False
    try:
        return probe(path)
    except OSError:
        return False
