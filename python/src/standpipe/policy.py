"""Who may be at the other end: spec/policy.md."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace

from .error import DeniedError
from .identity import Identity

if sys.platform == "win32":
    from . import _windows_identity as _system
else:
    from . import _unix_identity as _system


@dataclass(frozen=True)
class Policy:
    """Which operating-system users may be at the other end.

    ``Policy()`` is the safe default of where it is used: for listen() only the current user, for dial() the
    current user or the superuser. A policy is enforced twice: by the kernel, through the endpoint's mode, owner
    and group or its security descriptor, and against the Identity of the peer, before the peer is handed to the
    program. It names exactly those who are admitted; the server's own user is not implied.

    Names are looked up when the policy is put to use, so a name that nobody has is a LookupError of listen()
    and dial(). Besides names, numeric ids ("1000") and, on Windows, SIDs ("S-1-5-18") and DOMAIN\\name are
    understood. A policy is immutable.
    """

    _anyone: bool = False
    _self: bool = False
    _users: tuple[str, ...] = ()
    _groups: tuple[str, ...] = ()
    _nobody: bool = False  # names were asked for, and none was given: that is not Policy()

    @staticmethod
    def user(*names: str) -> Policy:
        """Admit the named users. Without a name it admits nobody, and is an error of listen() and dial()."""
        return Policy(_users=names, _nobody=not names)

    @staticmethod
    def group(*names: str) -> Policy:
        """Admit every process that runs with one of the named groups: its own groups, not those of its user in
        the user database.
        """
        return Policy(_groups=names, _nobody=not names)

    @staticmethod
    def anyone() -> Policy:
        """Admit every user of this machine. It still keeps out the network."""
        return Policy(_anyone=True)

    @staticmethod
    def myself() -> Policy:
        """Admit the current user."""
        return Policy(_self=True)

    @staticmethod
    def parse(text: str) -> Policy:
        """Read "self", "anyone", or a list such as "user:alice,group:video,self". It is the inverse of str().

        Raises ValueError, which says which word was not understood. Whether the names exist is seen when the
        policy is used.
        """
        p = Policy()
        for word in text.split(","):
            word = word.strip()
            kind, _, name = word.partition(":")
            if word == "self":
                p = replace(p, _self=True)
            elif word == "anyone":
                p = replace(p, _anyone=True)
            elif kind == "user" and name:
                p = replace(p, _users=(*p._users, name))
            elif kind == "group" and name:
                p = replace(p, _groups=(*p._groups, name))
            else:
                raise ValueError(f"policy {text!r}: {word!r} is not self, anyone, user:NAME or group:NAME")
        return p

    def __or__(self, other: Policy) -> Policy:
        """Admit whom either admits. ``Policy()`` stands for "self" here."""
        return Policy(
            _anyone=self._anyone or other._anyone,
            _self=self._self or other._self or self._is_default() or other._is_default(),
            _users=self._users + other._users,
            _groups=self._groups + other._groups,
            _nobody=self._nobody or other._nobody,
        )

    def admits(self, identity: Identity) -> bool:
        """Say whether a process with this Identity is admitted.

        Names that can't be looked up admit nobody; ``Policy()`` is "self".
        """
        guard = Guard()
        for word in self._words():
            try:
                guard.add(word)
            except (LookupError, ValueError):
                continue
        return guard.admits(identity)

    def __str__(self) -> str:
        return ",".join(self._words()) or "nobody"  # which parse does not take, as nothing does

    def _is_default(self) -> bool:
        return self == Policy()

    def _words(self) -> list[str]:
        if self._is_default():
            return ["self"]
        words = ["anyone"] if self._anyone else []
        if self._self:
            words.append("self")
        words += ["user:" + u for u in self._users]
        words += ["group:" + g for g in self._groups]
        return words

    def compile(self, default: Policy) -> Guard:
        """Look up the names; default stands in for ``Policy()``. Raises LookupError and ValueError."""
        p = default if self._is_default() else self
        words = p._words()
        if not words:
            raise ValueError("the policy has an empty list of users or groups, and would admit nobody")
        guard = Guard(text=str(p))
        for word in words:
            guard.add(word)
        return guard


def superuser() -> Policy:
    """root; on Windows SYSTEM and the Administrators."""
    return Policy.user(*_system.SUPERUSERS)


@dataclass
class Guard:
    """A Policy whose names were looked up: numeric ids, or SIDs.

    Listeners and dialers keep one, so that a peer is checked without a look-up, and by what the names meant
    when the endpoint was made.
    """

    anyone: bool = False
    users: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    text: str = ""  # the Policy, for errors

    def add(self, word: str) -> None:
        """Look up one word of a policy's text."""
        kind, _, name = word.partition(":")
        if kind == "anyone":
            self.anyone = True
        elif kind == "self":
            self.users.append(_system.current_user())
        elif "," in name or name.strip() != name:
            # A user database may have it, but the text of the policy would mean something else.
            raise ValueError(f"policy {word!r}: a name can't have a comma, or begin or end with a space")
        elif kind == "user":
            self.users.append(_system.lookup_user(name))
        else:
            self.groups.append(_system.lookup_group(name))

    def admits(self, identity: Identity) -> bool:
        if not identity.user:
            return False  # the kernel did not say who it is
        if self.anyone or identity.user in self.users:
            return True
        # On Windows the owner of a pipe may be a group, such as the Administrators.
        if identity.user.startswith("S-1-") and identity.user in self.groups:
            return True
        return any(group in self.groups for group in identity.groups)

    def only_user(self, user: str) -> bool:
        """Whether nobody but this user is admitted."""
        return not self.anyone and not self.groups and all(u == user for u in self.users)

    def check(self, identity: Identity, error: type[DeniedError], who: str) -> None:
        """Raise error for a peer that is not admitted, with a word on who it is."""
        if not self.admits(identity):
            raise error(f"{who} is {identity}, whom the policy {self.text!r} does not admit")
