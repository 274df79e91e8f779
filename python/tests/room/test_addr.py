"""Names, by the vectors of spec/vectors/address."""

from __future__ import annotations

import json
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
        standpipe.connect("")
