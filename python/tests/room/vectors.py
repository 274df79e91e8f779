"""Reading the vectors of spec/vectors."""

from __future__ import annotations

from pathlib import Path

VECTORS = Path(__file__).resolve().parents[3] / "spec" / "vectors"


def fields(file: Path) -> dict[str, list[str]]:
    """`key: value` lines; what comes more than once has several values."""
    found: dict[str, list[str]] = {}
    for line in file.read_text("utf-8").splitlines():
        key, sep, value = line.partition(": ")
        if sep:
            found.setdefault(key, []).append(value)
    return found


def files(kind: str) -> list[Path]:
    found = sorted((VECTORS / kind).glob("*.txt"))
    assert len(found) >= 10
    return found
