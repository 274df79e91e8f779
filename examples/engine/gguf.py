"""Reads a GGUF file: a language model's metadata and weights (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""

import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_TEXT, _LIST = 8, 9


class File:
    """A GGUF file in memory: `metadata` by key, and the weights by `tensor`."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as f:
            self._data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        self._at = 4
        if self._data[:4] != b"GGUF" or self._scalar("I") not in (2, 3):
            raise ValueError(f"{path} is not a GGUF file of version 2 or 3")
        tensors, keys = self._scalar("Q"), self._scalar("Q")
        self.metadata: dict[str, Any] = {self._text(): self._value(self._scalar("I")) for _ in range(keys)}
        self._tensors: dict[str, tuple[list[int], int, int]] = {}
        for _ in range(tensors):
            name = self._text()
            shape = [self._scalar("Q") for _ in range(self._scalar("I"))]
            self._tensors[name] = (shape[::-1], self._scalar("I"), self._scalar("Q"))
        alignment = self.metadata.get("general.alignment", 32)
        self._weights = -(-self._at // alignment) * alignment

    def tensor(self, name: str) -> Floats:
        """The weights of that name, as fresh memory."""
        shape, kind, offset = self._tensors[name]
        if kind not in _FORMATS:
            raise ValueError(f"tensor {name} has the format {kind}; this program reads {sorted(_FORMATS)}")
        block, size, unpack = _FORMATS[kind]
        count = int(np.prod(shape)) // block
        raw = np.frombuffer(self._data, np.uint8, count * size, self._weights + offset)
        return unpack(raw.reshape(count, size)).reshape(shape)

    def _scalar(self, form: str) -> Any:
        (value,) = struct.unpack_from("<" + form, self._data, self._at)
        self._at += struct.calcsize("<" + form)
        return value

    def _text(self) -> str:
        n = self._scalar("Q")
        self._at += n
        return self._data[self._at - n : self._at].decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _LIST:
            kind, n = self._scalar("I"), self._scalar("Q")
            return [self._value(kind) for _ in range(n)]
        return self._scalar(_SCALARS[kind])


def _halves(raw: npt.NDArray[np.uint8], at: int) -> Floats:
    """One 16-bit float of each block, as a column."""
    column: Floats = np.ascontiguousarray(raw[:, at : at + 2]).view(np.float16).astype(np.float32)
    return column


def _f32(raw: npt.NDArray[np.uint8]) -> Floats:
    weights: Floats = raw.view(np.float32).copy()
    return weights


def _q4_1(raw: npt.NDArray[np.uint8]) -> Floats:
    """32 weights of 4 bits: a scale, the least value, 16 low halves of bytes, then 16 high ones."""
    out = np.empty((len(raw), 32), np.float32)
    out[:, :16] = raw[:, 4:] & 15
    out[:, 16:] = raw[:, 4:] >> 4
    out *= _halves(raw, 0)
    out += _halves(raw, 2)
    return out


def _q8_0(raw: npt.NDArray[np.uint8]) -> Floats:
    """32 weights of 8 bits, and their scale."""
    weights: Floats = raw[:, 2:].view(np.int8) * _halves(raw, 0)
    return weights


# By their numbers in the file: the weights of a block, its bytes, and what unpacks blocks.
_FORMATS: dict[int, tuple[int, int, Callable[[npt.NDArray[np.uint8]], Floats]]] = {
    0: (1, 4, _f32),
    3: (32, 20, _q4_1),
    8: (32, 34, _q8_0),
}
