"""Where sockets live. spec/address.md has the rules and their reasons."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
import sys
from contextlib import suppress

assert sys.platform != "win32"

from .error import BadNameError, DeniedError, Fault, NameTooLongError

NETWORK = "unix"
SOCKET_SUFFIX = ".sock"
SHARED_SOCKET = "sock"  # of a shared name, in its own folder

if sys.platform == "linux":
    MAX_PATH = 107  # sun_path has 108, with a zero: unix(7)
    SHARED_DIR = "/run/standpipe"
else:
    MAX_PATH = 103  # sun_path has 104, with a zero: unix(4)
    SHARED_DIR = "/var/run/standpipe"


def is_path(name: str) -> bool:
    return name.startswith(("/", "@")) or "\0" in name


def raw_path(name: str) -> str:
    if "\0" in name:
        raise BadNameError("it has a zero byte")
    if name[0] == "@":
        if sys.platform != "linux":
            raise BadNameError("abstract sockets are Linux's alone")
        if name == "@":
            raise BadNameError("nothing follows the @")
        return check_length(name)  # it has the same room as a path, its first byte being zero
    if name.endswith("/"):
        raise BadNameError("it is a folder's path")
    clean = os.path.normpath("/" + name.lstrip("/"))
    if clean != name:
        raise BadNameError(f"a path must have no empty part, no . and no ..: {clean}")
    return check_length(name)


def check_length(path: str) -> str:
    """Systems differ in whether the last byte of sun_path must be zero."""
    try:
        n = len(os.fsencode(path))
    except UnicodeEncodeError as e:
        raise BadNameError("it can't be encoded as the system's paths are", e) from e
    if n > MAX_PATH:
        raise NameTooLongError(
            f"the path {path!r} has {n} bytes, and this system's sockets take {MAX_PATH}; use a shorter folder"
        )
    return path


def user_path(bare: str) -> str:
    """Where this user's endpoint of that name is."""
    folder = user_dir()
    path = os.path.join(folder, bare + SOCKET_SUFFIX)
    if len(os.fsencode(path)) > MAX_PATH:
        path = os.path.join(folder, shortened(bare) + SOCKET_SUFFIX)
    return check_length(path)


def shortened(bare: str) -> str:
    """Stand for a name that is too long with its folder.

    No name begins with '~'; list() finds the whole one in the lock file.
    """
    digest = hashlib.sha256(bare.encode()).digest()
    return "~" + base64.b32encode(digest)[:26].decode().lower()


def user_dir() -> str:
    """The folder of this user's endpoints.

    All of the user's programs must find the same one, whatever their environment has, so far as that can be:
    sudo, for one, may leave the XDG_RUNTIME_DIR of another user.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and not _foreign(runtime):
        return os.path.join(os.path.normpath(runtime), "standpipe")
    if sys.platform == "linux":
        runtime = (
            f"/run/user/{os.geteuid()}"  # what it is in a login session, for programs that have lost it (su, cron)
        )
        try:
            own_folder(runtime)
        except OSError:
            pass
        else:
            return os.path.join(runtime, "standpipe")
    return os.path.join(_cache_dir(), "standpipe", "run")


def _foreign(folder: str) -> bool:
    """Whether the folder is there and belongs to somebody else."""
    try:
        return os.stat(folder).st_uid != os.geteuid()
    except OSError:
        return False


def _cache_dir() -> str:
    home = os.environ.get("HOME", "")
    if sys.platform == "darwin":
        folder = home and home + "/Library/Caches"
    else:
        folder = os.environ.get("XDG_CACHE_HOME", "") or (home and home + "/.cache")
        if folder and not os.path.isabs(folder):
            folder = ""
    if not folder:
        raise BadNameError("there is no folder for this user's endpoints: set XDG_RUNTIME_DIR or HOME")
    return os.path.normpath(folder)


def shared_path(bare: str) -> str:
    """Where the machine's endpoint of that name is: in a folder of its own, which only root can make."""
    return check_length(os.path.join(SHARED_DIR, bare, SHARED_SOCKET))


def own_folder(folder: str) -> None:
    """Raise unless folder is a real folder, ours, and closed to others."""
    st = os.lstat(folder)
    if not stat.S_ISDIR(st.st_mode):
        what = f"is a {kind_of(st.st_mode)}"
    elif st.st_uid != os.geteuid():
        what = f"belongs to user {st.st_uid}"
    elif st.st_mode & 0o077:
        what = f"has the mode {stat.S_IMODE(st.st_mode):#o}"
    else:
        return
    raise DeniedError(f"the folder {folder} {what}; it must be a folder of user {os.geteuid()} with mode 0700")


def _make_parents(folder: str) -> None:
    """Make a folder and those above it, closed to others: makedirs has a mode for the last one only."""
    if not os.path.isdir(folder):
        if (above := os.path.dirname(folder)) != folder:
            _make_parents(above)
        with suppress(FileExistsError):
            os.mkdir(folder, 0o700)


def make_user_folder(folder: str) -> None:
    """Make the folder of this user's endpoints. Those above are made as the user's other programs would."""
    try:
        _make_parents(os.path.dirname(folder))
        make_folder(folder, 0o700)
    except OSError as e:
        raise denied(e, "the folder for this user's endpoints can't be made") from e
    own_folder(folder)


def make_shared_folder(folder: str) -> None:
    """Root makes both folders.

    Others need theirs to have been made for them, as systemd's RuntimeDirectory=standpipe/NAME does.
    """
    if os.geteuid() == 0:
        try:
            for f in (SHARED_DIR, folder):
                if make_folder(f, 0o755):
                    os.chmod(f, 0o755)  # whatever the umask
        except OSError as e:
            raise denied(e, "the folder for shared endpoints can't be made") from e
    _safe_folder(SHARED_DIR, 0)
    _safe_folder(folder, 0, os.geteuid())


def make_folder(folder: str, mode: int) -> bool:
    """Make a folder; False: something was there."""
    try:
        os.mkdir(folder, mode)
    except FileExistsError:
        return False
    return True


def _safe_folder(folder: str, *owners: int) -> None:
    """Raise unless only the owners that are named can make files in folder."""
    try:
        st = os.lstat(folder)
    except FileNotFoundError as e:
        raise DeniedError(
            f"the folder {folder} is not there; only root can make it, for a shared endpoint of its own or of another"
            " user (systemd: RuntimeDirectory=standpipe/NAME)",
            e,
        ) from e
    if not stat.S_ISDIR(st.st_mode) or st.st_mode & 0o022 or st.st_uid not in owners:
        raise DeniedError(
            f"{folder} is a {kind_of(st.st_mode)} of user {st.st_uid} with mode {stat.S_IMODE(st.st_mode):#o}; it must"
            " be a folder of root or of this user that nobody else can write to"
        )


def denied(e: OSError, what: str) -> OSError:
    """e as a DeniedError, where it is one. Otherwise it is e, which names the file."""
    if isinstance(e, PermissionError) and not isinstance(e, Fault):
        return DeniedError(what, e)
    return e


def kind_of(mode: int) -> str:
    for test, name in (
        (stat.S_ISLNK, "symbolic link"),
        (stat.S_ISDIR, "folder"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISREG, "regular file"),
    ):
        if test(mode):
            return name
    return "special file"
