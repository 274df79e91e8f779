"""A Unix socket that listens, with its file and lock; abstract ones have neither."""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import sys

assert sys.platform != "win32"

from ._access import unix_access
from ._unix import Endpoint, Waker, address, new_socket
from ._unix_identity import current_user
from ._unix_lock import LockFile, Note, inode_of, lock_of, take_lock
from ._unix_path import check_length, denied, kind_of, make_shared_folder, make_user_folder
from .addr import Addr
from .error import BadNameError, ClosedError, DeniedError, InUseError, NotSocketError
from .policy import Guard


class Listener:
    """It is made in this order, so that nobody gets in before the permissions are right, and nobody is robbed
    of his name:

    the folder, the lock, the probe of what is there, bind, owner and mode, listen.
    """

    def __init__(self, addr: Addr, guard: Guard, buffer: int, backlog: int) -> None:
        self._pid = os.getpid()
        self._buffer = buffer
        self._path = addr.path
        self._lock: LockFile | None = None
        self._inode = ""
        self._closed = False
        self._sock = new_socket()
        try:
            if addr.path[0] == "@":
                _bind(self._sock, addr.path)
            else:
                self._settle(addr, guard)
            self._sock.listen(socket.SOMAXCONN)
            self._waker = Waker()
        except BaseException:
            self._free()
            self._sock.close()
            raise

    def _settle(self, addr: Addr, guard: Guard) -> None:
        """Bind, and give the socket its owner, group and mode; note its inode in the lock file."""
        _make_folder(addr)
        self._path = path = safe_path(addr.path)
        self._lock = take_lock(lock_of(path))
        _clear_stale(path, self._lock)
        _bind(self._sock, path)
        self._inode = inode_of(os.lstat(path))
        self._lock.write(Note(addr.name, str(os.getpid()), self._inode))
        me = current_user()
        access = unix_access(guard, me)
        mode = access.mode
        uid = int(access.owner) if access.owner != me else -1  # -1: as it is
        gid = int(access.group) if access.group else -1
        if uid != -1 or gid != -1:
            try:
                os.chown(path, uid, gid, follow_symlinks=False)
            except PermissionError:  # not root, and not of that group: then the Identity alone decides
                mode = 0o666
        _chmod_socket(path, mode)
        st = os.lstat(path)
        if inode_of(st) != self._inode or not stat.S_ISSOCK(st.st_mode):
            raise InUseError("somebody has replaced the socket while it was made")

    def accept(self, timeout: float | None) -> Endpoint:
        """The next client, whoever it is. Several threads may wait."""
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN)
        poll.register(self._waker.fd, select.POLLIN)
        while True:
            ready = poll.poll(None if timeout is None else max(0, -int(-timeout * 1000 // 1)))
            if self._closed:
                raise ClosedError()
            if not ready:
                raise TimeoutError(errno.ETIMEDOUT, "nobody has come in time")
            end = self.accept_now()
            if end is not None:
                return end

    def accept_now(self) -> Endpoint | None:
        """A client that has come; None: there is none."""
        try:
            sock, _ = self._sock.accept()
        except (BlockingIOError, ConnectionAbortedError):  # another thread was quicker, or the client has gone
            return None
        return Endpoint(sock, self._buffer)

    def fileno(self) -> int:
        return self._sock.fileno()

    def stop(self) -> None:
        """Free the name, and end those who wait in accept; they need the descriptors until they have left."""
        self._closed = True
        self._free()
        self._waker.set()

    def give_up(self) -> None:
        """Close the descriptors. Nobody is in accept any more."""
        self._sock.close()
        self._waker.close()

    def _free(self) -> None:
        """Remove our socket file, and nobody else's, and then the lock, so that the next server finds nothing."""
        if os.getpid() != self._pid:
            return  # the child of a fork: the name is its parent's
        try:
            if self._inode and inode_of(os.lstat(self._path)) == self._inode:
                os.remove(self._path)
        except FileNotFoundError:
            pass
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _bind(sock: socket.socket, path: str) -> None:
    try:
        sock.bind(address(path))
    except OSError as e:
        if e.errno == errno.EADDRINUSE:
            raise InUseError(f"somebody was quicker to take {path}", e) from e
        raise denied(e, f"the socket {path} can't be made") from e


def _make_folder(addr: Addr) -> None:
    """Make the folder of addr's socket, where that is ours to make, and refuse one that others could meddle with."""
    folder = os.path.dirname(addr.path)
    if addr.personal:
        make_user_folder(folder)
    elif addr.shared:
        make_shared_folder(folder)


def safe_path(path: str) -> str:
    """path with the links in its folders followed, if nobody else can change what it leads to, now or later.

    Each folder on the way must be root's or ours, and one that everybody may write to must be sticky; links
    likewise must be root's or ours. Root does not trust groups, either. All that is done to the socket's files
    is done by this path.
    """
    folder, base = os.path.split(path)
    at, rest = "/", [part for part in folder.split("/") if part]
    links = 0
    _trusted(at)
    while rest:
        into = os.path.normpath(os.path.join(at, rest.pop(0)))
        try:
            st = os.lstat(into)
            if stat.S_ISLNK(st.st_mode):
                to = os.path.normpath(os.readlink(into))
        except OSError as e:
            raise denied(e, "the folder of the socket can't be used") from e
        if stat.S_ISLNK(st.st_mode):
            if st.st_uid not in (0, os.geteuid()):
                raise DeniedError(f"user {st.st_uid} could lead the socket elsewhere: the link {into} is that user's")
            links += 1
            if links > 40:
                raise BadNameError("its folder has too many links")
            if os.path.isabs(to):
                at = "/"
            rest[:0] = [part for part in to.split("/") if part]
        else:
            at = into
        _trusted(at)
    return check_length(os.path.join(at, base))


def _trusted(folder: str) -> None:
    """Refuse a folder where others could put something in the place of what is in it."""
    try:
        st = os.lstat(folder)
    except OSError as e:
        raise denied(e, "the folder of the socket can't be used") from e
    if not stat.S_ISDIR(st.st_mode):
        raise BadNameError(f"{folder} is a {kind_of(st.st_mode)}")
    writable = 0o022 if os.geteuid() == 0 else 0o002
    if st.st_uid not in (0, os.geteuid()) or (st.st_mode & writable and not st.st_mode & stat.S_ISVTX):
        raise DeniedError(
            f"others could replace the socket: the folder {folder} belongs to user {st.st_uid} and has the mode"
            f" {stat.S_IMODE(st.st_mode):#o}"
        )


def _clear_stale(path: str, lock: LockFile) -> None:
    """Look at what lies at path, with the lock held. Only a dead socket that is ours is removed."""
    try:
        st = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as e:
        raise denied(e, "what lies at the path can't be seen") from e
    if not stat.S_ISSOCK(st.st_mode):
        raise NotSocketError(f"{path} is a {kind_of(st.st_mode)}; it was left alone")
    try:
        served = probe(path)
    except OSError as e:
        raise InUseError(f"there is a socket at {path}, and whether it is served can't be seen", e) from e
    if served:
        raise InUseError(f"somebody serves {path}, without a lock file")
    if st.st_uid != os.geteuid() and lock.read().inode != inode_of(st):
        raise InUseError(
            f"{path} is a dead server's socket, but belongs to user {st.st_uid}: that user, or root, must remove it"
        )
    try:
        os.remove(path)
    except FileNotFoundError:
        pass
    except OSError as e:
        raise denied(e, "the socket of a dead server can't be removed") from e


def probe(path: str) -> bool:
    """Connect, and hang up: whether somebody listens. Raises what leaves that open."""
    with new_socket() as sock:
        try:
            sock.connect(address(path))
        except ConnectionRefusedError:
            return False
        except OSError as e:
            if e.errno not in (errno.EAGAIN, errno.EINPROGRESS, errno.EPROTOTYPE):
                raise
        return True


def _chmod_socket(path: str, mode: int) -> None:
    """Set the mode of a socket file, and never that of what a symbolic link in its place leads to."""
    if sys.platform != "linux":
        os.chmod(path, mode, follow_symlinks=False)
        return
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)  # there is no fchmodat2(2) before Linux 6.6
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise OSError(errno.ENOTSOCK, "it is no socket", path)
        os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)
