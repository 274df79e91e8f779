"""Where pipes live. spec/address.md has the rules and their reasons."""

from __future__ import annotations

import re
import sys

assert sys.platform == "win32"

from ._windows_identity import current_user
from .error import BadNameError, NameTooLongError

NETWORK = "pipe"
ROOT = "\\\\.\\pipe\\"
MINE = ROOT + "standpipe\\"
"""It is followed by the user's SID. Whoever sits on another user's name fails the check of the owner."""
SHARED = ROOT + "ProtectedPrefix\\Administrators\\standpipe\\"
"""Only administrators may make pipes below ProtectedPrefix\\Administrators."""
MAX_PATH = 256  # characters, and \\.\pipe\ counts: CreateNamedPipeW


def is_path(name: str) -> bool:
    """Also the paths of other systems, so that they get a word of their own rather than one about characters."""
    return name.startswith(("\\", "/", "@"))


def raw_path(name: str) -> str:
    """Take a local pipe's path. It allows less than the system does.

    Names with '/', a trailing dot or a trailing space can be listened on and not dialled, since CreateFile
    rewrites them.
    """
    if name[: len(ROOT)].lower() != ROOT:
        if name.startswith("\\\\"):
            raise BadNameError(f"a pipe's path begins with {ROOT}; pipes of other machines are not dialled")
        raise BadNameError(f"on Windows a path begins with {ROOT}; files and abstract sockets are for Unix")
    rest = name[len(ROOT) :]
    for part in rest.split("\\"):
        if not part:
            raise BadNameError("the path has an empty part")
        if part.endswith("."):
            raise BadNameError("no part of a pipe's path may end with a dot")
        if not re.fullmatch("[A-Za-z0-9._-]+", part):
            raise BadNameError(f"only letters, digits, '.', '_', '-' and \\ may follow {ROOT}")
    return _check_length(ROOT + rest)


def user_path(bare: str) -> str:
    return _check_length(user_prefix() + bare)


def shared_path(bare: str) -> str:
    return _check_length(SHARED + bare)


def user_prefix() -> str:
    return MINE + current_user() + "\\"


def _check_length(path: str) -> str:
    if len(path) > MAX_PATH:
        raise NameTooLongError(f"its path has {len(path)} characters; a pipe's has at most {MAX_PATH}")
    return path
