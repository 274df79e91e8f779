"""Names, by the vectors of spec/vectors/address."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

import standpipe
from standpipe.error import BadNameError, NameTooLongError

from .vectors import fields, files

if sys.platform == "win32":
    from standpipe._windows_identity import current_user

    SYSTEMS = ["windows"]
else:
    from standpipe import _unix_path
    from standpipe._unix_identity import current_user

    SYSTEMS = ["unix", "linux" if sys.platform == "linux" else "bsd"]


@pytest.mark.parametrize("file", files("address"), ids=lambda f: f.stem)
def test_vector(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere/run")
    v = fields(file)
    want = next(v[s][0] for s in SYSTEMS if s in v).replace("{sid}", current_user())
    name = json.loads(v["name"][0])
    try:
        addr = standpipe.parse_addr(name)
    except NameTooLongError:
        got = "error too-long"
    except BadNameError:
        got = "error bad-name"
    else:
        got = str(addr)
        assert addr.name == v["canonical"][0]
        assert addr.network == ("pipe" if sys.platform == "win32" else "unix")
    assert got == want


def test_error_names_the_name() -> None:
    with pytest.raises(BadNameError, match="'a b': not a usable name: only letters"):
        standpipe.parse_addr("a b")
    with pytest.raises(ValueError):
        standpipe.dial("")


@pytest.mark.skipif(sys.platform == "win32", reason="Unix paths")
@pytest.mark.parametrize("name", ["/", "//a", "/a//b", "/a/../b", "/a/.", "/a/", "/a\0b", "/\udcff" * 60, "/\ud800"])
def test_bad_path(name: str) -> None:
    with pytest.raises(BadNameError):
        standpipe.parse_addr(name)


@pytest.mark.skipif(sys.platform == "win32", reason="Unix folders")
def test_where_names_lie(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("HOME", "/home/nobody-here")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(_unix_path, "own_folder", lambda folder: (_ for _ in ()).throw(PermissionError()))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    cache = "Library/Caches" if sys.platform == "darwin" else ".cache"
    assert standpipe.parse_addr("a").path == f"/home/nobody-here/{cache}/standpipe/run/a.sock"
    monkeypatch.delenv("HOME")
    with pytest.raises(BadNameError, match="set XDG_RUNTIME_DIR or HOME"):
        standpipe.parse_addr("a")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc/1" if os.geteuid() else place)
    if os.geteuid() == 0:
        os.chown(place, 12345, -1)  # as sudo may leave another user's
    with pytest.raises(BadNameError):
        standpipe.parse_addr("a")
