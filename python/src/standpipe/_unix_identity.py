"""Users and groups of this machine, and who is at the other end of a socket."""

from __future__ import annotations

import ctypes
import errno
import grp
import os
import pwd
import socket
import struct
import sys
from collections.abc import Iterable
from functools import lru_cache

assert sys.platform != "win32"

from .error import system_error

SUPERUSERS = ("0",)


def current_user() -> str:
    return str(os.geteuid())


def lookup_user(name: str) -> str:
    """The uid of a name, or a number as it is, as chown does."""
    try:
        return str(pwd.getpwnam(name).pw_uid)
    except KeyError:
        return _numeric(name, "user")


def lookup_group(name: str) -> str:
    try:
        return str(grp.getgrnam(name).gr_gid)
    except KeyError:
        return _numeric(name, "group")


def _numeric(name: str, what: str) -> str:
    """A uid or gid without needless zeros. The last one means "no change" to chown(2)."""
    if name.isascii() and name.isdigit() and int(name) < 2**32 - 1:
        return str(int(name))
    raise LookupError(f"there is no {what} {name!r} on this machine")


def user_name(user: str) -> str:
    """The name of a uid, or nothing."""
    try:
        return pwd.getpwuid(int(user)).pw_name
    except (KeyError, ValueError, OverflowError):
        return ""


Found = tuple[int, str, tuple[str, ...]]
"""pid, user and groups of an Identity."""


def own() -> Found:
    return _found(os.getpid(), os.geteuid(), [os.getegid(), *os.getgroups()])


def _found(pid: int, uid: int, gids: Iterable[int]) -> Found:
    return pid, str(uid), tuple(dict.fromkeys(str(g) for g in gids))


if sys.platform == "linux":
    SO_PEERGROUPS = 59

    def peer(sock: socket.socket) -> Found:
        """Ask the kernel who connected or, at the other end, who called listen: unix(7), SO_PEERCRED.

        The groups are the process's, by SO_PEERGROUPS (Linux 4.13), and not those that the user database lists.
        """
        pid, uid, gid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        try:
            gids = _peer_groups(sock)
        except OSError as e:
            if e.errno != errno.ENOPROTOOPT:
                raise
            gids = []
        return strip(_found(pid, uid, [gid, *gids]), *_unmapped())

    def _peer_groups(sock: socket.socket) -> list[int]:
        """Ask with room for 256 groups, which is as much as getsockopt takes here, and else as often as it
        takes through libc.
        """
        try:
            raw = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
        except OSError as e:
            if e.errno != errno.ERANGE:
                raise
            raw = _long_option(sock.fileno(), socket.SOL_SOCKET, SO_PEERGROUPS)
        return list(struct.unpack(f"{len(raw) // 4}I", raw))

    def _long_option(fd: int, level: int, option: int) -> bytes:
        libc = ctypes.CDLL(None, use_errno=True)
        size = ctypes.c_uint32(4096)
        while True:
            buffer = ctypes.create_string_buffer(size.value)
            if libc.getsockopt(fd, level, option, buffer, ctypes.byref(size)) == 0:
                return buffer.raw[: size.value]
            code = ctypes.get_errno()
            if code != errno.ERANGE or size.value <= len(buffer):
                raise system_error(code, "getsockopt")

    @lru_cache(maxsize=1)
    def _unmapped() -> tuple[str, str]:
        """What the kernel says for users and groups that this user namespace does not know
        (user_namespaces(7)).

        All of them are the same one, which must not pass for whoever has that number here. Empty where all ids
        are known.
        """

        def overflow(kind: str) -> str:
            if _words(f"/proc/self/{kind}_map") == ["0", "0", "4294967295"]:
                return ""
            words = _words(f"/proc/sys/kernel/overflow{kind}")
            return words[0] if words else "65534"

        return overflow("uid"), overflow("gid")

    def _words(file: str) -> list[str]:
        try:
            with open(file) as f:
                return f.read().split()
        except OSError:
            return []

    def strip(found: Found, unknown_user: str, unknown_group: str) -> Found:
        """Take out of an identity what nobody vouches for."""
        pid, user, groups = found
        return pid, "" if user == unknown_user else user, tuple(g for g in groups if g != unknown_group)

else:
    _SOL_LOCAL, _LOCAL_PEERCRED, _LOCAL_PEERPID, _LOCAL_PEERTOKEN = 0, 1, 2, 6  # <sys/un.h>
    _XUCRED = "IIh2x16I"  # struct xucred of <sys/ucred.h>: version, uid, count, groups
    _SIZE = struct.calcsize(_XUCRED)

    def peer(sock: socket.socket) -> Found:
        """Ask the kernel: LOCAL_PEERCRED, which is what getpeereid(3) asks for, for the user and groups."""
        raw = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, 2 * _SIZE)
        version, uid, count, *gids = struct.unpack_from(_XUCRED, raw)
        if version != 0 or not 1 <= count <= len(gids):
            raise OSError(f"LOCAL_PEERCRED has version {version} and {count} groups")
        return _found(_peer_pid(sock, raw, uid), uid, gids[:count])

    def _peer_pid(sock: socket.socket, raw: bytes, uid: int) -> int:
        """On macOS the process of the peer's audit token, which is of the same moment, else LOCAL_PEERPID.

        On FreeBSD it is cr_pid, which shares its place with a pointer, the last field.
        """
        if sys.platform != "darwin":
            at = -(-_SIZE // struct.calcsize("P")) * struct.calcsize("P")
            return int(struct.unpack_from("i", raw, at)[0]) if len(raw) >= at + 4 else 0
        try:
            token = struct.unpack("8I", sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERTOKEN, 32))
            if token[1] == uid:
                return int(token[5])  # as audit_token_to_pid of <bsm/libbsm.h>
        except (OSError, struct.error):
            pass
        try:
            return sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID)
        except OSError:
            return 0
