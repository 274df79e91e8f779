"""The vectors of spec/vectors: a header of `key: value` lines, an empty line, and hex with # comments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SPEC = Path(__file__).parents[2] / "spec"


@dataclass
class Vector:
    name: str
    path: Path
    head: dict[str, str]
    body: bytes
    room: bytes  # what is behind a second empty line


def read_vectors(kind: str) -> list[Vector]:
    return [_read(path) for path in sorted((SPEC / "vectors" / kind).glob("*.txt"))]


def _read(path: Path) -> Vector:
    head: dict[str, str] = {}
    parts = [bytearray(), bytearray()]
    section = 0
    for line in path.read_bytes().decode().split("\n")[:-1]:
        if not line:
            section += 1
        elif section == 0:
            key, _, value = line.partition(": ")
            head[key] = value
        elif not line.startswith("#"):
            parts[section - 1] += bytes.fromhex(line)
    return Vector(path.stem, path, head, bytes(parts[0]), bytes(parts[1]))
