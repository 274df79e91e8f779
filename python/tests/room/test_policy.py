"""Policies, by the vectors of spec/vectors/policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from standpipe import Identity, Policy
from standpipe._access import CLIENT_ACCESS, UnixAccess, sddl, unix_access
from standpipe.error import DeniedError
from standpipe.policy import Guard

from .vectors import fields, files


def sddl_grants(text: str, user: str, groups: list[str], mask: int) -> bool:
    """A small AccessCheck: entries count in their order, and what was granted before a denial stays granted."""
    short = {"WD": "S-1-1-0", "NU": "S-1-5-2"}
    for ace in text.partition("D:P")[2].strip("()").split(")("):
        kind, flags, rights, _, _, sid = ace.split(";")
        assert not flags
        granted = 0x1F01FF if rights == "FA" else int(rights, 0)
        if short.get(sid, sid) not in (user, *groups):
            continue
        if kind == "D" and granted & mask:
            return False
        if kind == "A":
            mask &= ~granted
        if not mask:
            return True
    return False


def mode_grants(a: UnixAccess, user: str, groups: list[str]) -> bool:
    """Whether a client may connect to a socket file: the first class that is the client's decides."""
    if user == "0":
        return True
    if user == a.owner:
        return bool(a.mode & 0o200)
    if a.group in groups:
        return bool(a.mode & 0o020)
    return bool(a.mode & 0o002)


@pytest.mark.parametrize("file", files("policy"), ids=lambda f: f.stem)
def test_vector(file: Path) -> None:
    v = fields(file)
    server = v["server"][0]
    policy = Policy.parse(v["policy"][0])
    users = list(policy._users) + ([server] if policy._self else [])
    guard = Guard(policy._anyone, users, list(policy._groups))
    if v["system"] == ["unix"]:
        access = unix_access(guard, server)
        text = f"{access.owner} {access.group or '-'} 0{access.mode:o}"
    else:
        text = sddl(guard, server)
    assert text == v["access"][0]
    assert v["client"]
    for client in v["client"]:
        user, joined = client.split()[:2]
        groups = joined.split(",")
        if v["system"] == ["unix"]:
            kernel = mode_grants(access, user, groups)
        else:
            kernel = sddl_grants(text, user, groups, CLIENT_ACCESS)
            assert user == server or not sddl_grants(text, user, groups, 4), "a client may make instances"
        admitted = guard.admits(Identity(0, user, tuple(groups)))
        word = {True: "yes", False: "no"}
        assert f"{user} {joined} kernel:{word[kernel]} identity:{word[admitted]}" == client


@pytest.mark.parametrize("text", ["self", "anyone", "self,user:alice,user:bob,group:video", "user:DOM\\alice"])
def test_text_both_ways(text: str) -> None:
    assert str(Policy.parse(text)) == text


@pytest.mark.parametrize("text", ["", "nobody", "user:", "group:", "self,", "alice", "user"])
def test_bad_text(text: str) -> None:
    with pytest.raises(ValueError, match="is not self, anyone, user:NAME or group:NAME"):
        Policy.parse(text)


def test_or() -> None:
    assert str(Policy() | Policy.user("a")) == "self,user:a"
    assert str(Policy.user("a") | Policy.group("g")) == "user:a,group:g"
    assert str(Policy.anyone() | Policy.user("a")) == "anyone,user:a"


def test_nobody() -> None:
    nobody = Policy.user(*[])
    assert str(nobody) == "nobody"
    assert not nobody.admits(Identity(1, "0"))
    with pytest.raises(ValueError, match="would admit nobody"):
        nobody.compile(Policy.myself())


def test_who_is_not_known_is_never_admitted() -> None:
    assert not Policy.anyone().admits(Identity(1, ""))
    assert Policy.anyone().admits(Identity(1, "1"))


def test_names_that_are_none() -> None:
    with pytest.raises(LookupError, match="no-such-user-here"):
        Policy.user("no-such-user-here").compile(Policy())
    with pytest.raises(LookupError):
        Policy.group("no-such-group-here").compile(Policy())
    with pytest.raises(ValueError, match="comma"):
        Policy.user("a,b").compile(Policy())
    assert not Policy.user("no-such-user-here").admits(Identity(1, "0"))


def test_refusal_says_who_and_why() -> None:
    guard = Guard(users=["1"], text="user:1")
    with pytest.raises(DeniedError, match="the client is user 77777, pid 5, whom the policy 'user:1' does not admit"):
        guard.check(Identity(5, "77777"), DeniedError, "the client")
