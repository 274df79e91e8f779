"""Names, and where they lead: spec/address.md."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from .error import BadNameError, NameTooLongError

if sys.platform == "win32":
    from . import _windows_path as _system
else:
    from . import _unix_path as _system

SHARED = "shared:"
MAX_NAME = 128  # bytes, without "shared:"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Addr:
    """Where an endpoint lives.

    Two are equal where they lead to the same endpoint by the same kind of name. parse_addr makes one.
    """

    name: str
    """What the endpoint is called: "calc", "shared:calc", or the path that it was made with."""
    path: str
    """What the kernel is asked for. dial() takes it as well as the name."""

    @property
    def network(self) -> str:
        """ "unix", or "pipe" on Windows."""
        return _system.NETWORK

    @property
    def personal(self) -> bool:
        """Whether it is this user's own, which others can't reach by the same name."""
        return not _system.is_path(self.name) and not self.name.startswith(SHARED)

    @property
    def shared(self) -> bool:
        """Whether it is the machine's, which several users reach."""
        return not _system.is_path(self.name) and self.name.startswith(SHARED)

    def __str__(self) -> str:
        return self.path


def parse_addr(name: str) -> Addr:
    r"""Say where the endpoint called name lives. Nothing is looked up: whether somebody listens is seen by
    dial().

    - "calc" is this user's own: 1 to 128 letters, digits, '.', '_' and '-', a letter or digit first and no '.'
      last. Case does not count: "Calc" is "calc".
    - "shared:calc" is the machine's, for services that several users reach. Only root or an administrator may
      make one, or prepare the place for somebody else.
    - An absolute path of a Unix socket, a \\.\pipe\ path on Windows and "@name" (Linux's abstract sockets) are
      taken as they stand.

    Raises BadNameError, or NameTooLongError where the path behind the name is longer than the system allows.
    """
    try:
        return _parse(name)
    except BadNameError as e:
        e.name = repr(name)
        raise


def _parse(name: str) -> Addr:
    if not name:
        raise BadNameError("it is empty")
    if _system.is_path(name):
        return Addr(name, _system.raw_path(name))
    shared = name.startswith(SHARED)
    bare = name[len(SHARED) :] if shared else name
    check_name(bare)
    bare = bare.lower()
    if shared:
        return Addr(SHARED + bare, _system.shared_path(bare))
    return Addr(bare, _system.user_path(bare))


def check_name(s: str) -> None:
    """Hold a name against the grammar, which is the same on every system."""
    if not s:
        raise BadNameError('nothing follows "shared:"')
    if len(s.encode("utf-8", "surrogatepass")) > MAX_NAME:
        raise NameTooLongError(f"a name has at most {MAX_NAME} bytes")
    if "/" in s or "\\" in s:
        raise BadNameError("a name has no / or \\; a path must be absolute")
    if not _NAME.match(s):
        raise BadNameError("it must begin with a letter or a digit")
    if not _NAME.fullmatch(s):
        raise BadNameError("only letters, digits, '.', '_' and '-' may be used")
    if s.endswith("."):
        raise BadNameError("it must not end with a dot")
