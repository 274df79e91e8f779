"""The file beside a socket.

Who holds the lock (flock(2), so that the kernel frees it whatever dies) serves the socket, or is about to.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import time
from typing import NamedTuple

assert sys.platform != "win32"

from ._unix_path import denied
from .error import InUseError, system_error


class Note(NamedTuple):
    """What a lock file says: lines ``key: value``."""

    name: str = ""  # the whole name, where the file's is shortened
    pid: str = ""
    inode: str = ""  # DEV:INO of the socket

    def describe(self) -> str:
        return f"process {self.pid} serves it" if self.pid else "another process holds its lock"


def lock_of(path: str) -> str:
    """The path of the lock of the socket at path."""
    return path + ".lock"


class LockFile:
    """A lock that is held. One process, one thread at a time."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path

    def write(self, note: Note) -> None:
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"name: {note.name}\npid: {note.pid}\ninode: {note.inode}\n".encode(), 0)

    def read(self) -> Note:
        return read_note(self._fd)

    def release(self) -> None:
        """Remove the file, while the lock is held, and let go of it."""
        if _is_still(self._fd, self._path):
            os.remove(self._path)
        os.close(self._fd)


def take_lock(path: str) -> LockFile:
    """Take the lock, or raise InUseError. list() holds it for a moment, shared; that is waited out."""
    for attempt in range(31):
        if attempt:
            time.sleep(0.001)
        while True:
            fd = _open_own(path)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_still(fd, path):
                    return LockFile(fd, path)
            except BlockingIOError:
                note = read_note(fd)
                os.close(fd)
                break
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # its last holder has removed it meanwhile
    raise InUseError(note.describe(), system_error(errno.EADDRINUSE, "flock"))


def _open_own(path: str) -> int:
    """Open the lock file, and refuse one of somebody else's, who could hold it for ever, and one that is also
    another file.
    """
    try:
        fd = open_lock(path, os.O_RDWR | os.O_CREAT)
    except OSError as e:
        if isinstance(e, PermissionError) and os.path.lexists(path):
            raise _foreign(path, os.lstat(path)) from e
        raise denied(e, f"the lock file {path} can't be opened") from e
    st = os.fstat(fd)
    if st.st_uid != os.geteuid() or st.st_nlink > 1:
        os.close(fd)
        raise _foreign(path, st)
    return fd


def open_lock(path: str, flags: int) -> int:
    """Open a regular file, and no symbolic link. Others may not open it: they could hold the lock for ever."""
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise FileExistsError(errno.EEXIST, "it is no regular file", path)


def _foreign(path: str, st: os.stat_result) -> InUseError:
    return InUseError(
        f"the lock file {path} belongs to user {st.st_uid} and has {st.st_nlink} names;"
        " it must be this user's, with one"
    )


def _is_still(fd: int, path: str) -> bool:
    """Whether fd is what lies at path."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except OSError:
        return False


def read_note(fd: int) -> Note:
    lines = os.pread(fd, 4096, 0).decode(errors="replace").splitlines()
    found = {key: value for key, sep, value in (line.partition(": ") for line in lines) if sep}
    return Note(found.get("name", ""), found.get("pid", ""), found.get("inode", ""))


def inode_of(st: os.stat_result) -> str:
    """How a note names a file."""
    return f"{st.st_dev}:{st.st_ino}"


def look_at(lock: str) -> tuple[Note, bool]:
    """Read a lock file, and say whether somebody holds the lock."""
    fd = open_lock(lock, os.O_RDONLY)
    try:
        note = read_note(fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return note, True
        return note, False
    finally:
        os.close(fd)
