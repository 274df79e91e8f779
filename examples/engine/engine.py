"""An inference engine: a server whose methods run small, real models.

Run it, then the front end beside it, in another terminal.

    embed       texts -> a vector for each, in one Buffer
    generate    a prompt -> a stream of pieces of text, as the language model makes them
    statistics  a tensor in a Buffer -> what is in it, by channel
"""

import argparse
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

import standpipe
from embedding import Embedding
from language import Language

server = standpipe.Server()
embedding = Embedding()
language = Language()
computing = threading.Lock()  # one token at a time has all CPUs; those who generate at once take turns


@dataclass
class Vectors:
    shape: list[int]
    data: standpipe.Buffer  # float32


@dataclass
class Prompt:
    text: str
    limit: int = 128  # tokens
    temperature: float = 0.0
    seed: int = 0


@dataclass
class Tensor:
    shape: list[int]  # the last one: channels
    type: str  # uint8 or float32
    data: standpipe.Buffer


@dataclass
class Statistics:
    least: list[float]
    most: list[float]
    mean: list[float]
    deviation: list[float]


@server.method
def embed(texts: list[str]) -> Vectors:
    """Vectors of length 1: the dot product of two says how near the meanings are."""
    shape = [len(texts), embedding.size]
    buffer = standpipe.current().peer.new_buffer(4 * prod(shape))
    embedding.embed(texts, array(buffer, np.float32, shape))
    return Vectors(shape, buffer)


@server.method
def generate(prompt: Prompt) -> Iterator[str]:
    """The language model's answer, piece by piece. When the caller closes the stream, the generator is closed."""
    pieces = language.generate(prompt.text, prompt.limit, prompt.temperature, prompt.seed)
    while True:
        with computing:
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece


@server.method
def statistics(tensor: Tensor) -> Statistics:
    """What each channel of a tensor holds: its least and largest number, mean, and standard deviation.

    The tensor is read where it lies.
    """
    if tensor.type not in ("uint8", "float32"):
        raise standpipe.Error(
            standpipe.Code.INVALID_ARGUMENT,
            f"the type {tensor.type!r} is not uint8 or float32",
        )
    size = prod(tensor.shape) * np.dtype(tensor.type).itemsize
    if min(tensor.shape, default=0) < 1 or size != len(tensor.data):
        text = f"{len(tensor.data)} bytes are no tensor of the shape {tensor.shape} and {tensor.type}"
        raise standpipe.Error(standpipe.Code.INVALID_ARGUMENT, text)
    x = array(tensor.data, tensor.type, [-1, tensor.shape[-1]])
    return Statistics(*(f.tolist() for f in (x.min(0), x.max(0), x.mean(0, np.float64), x.std(0, np.float64))))


def array(buffer: standpipe.Buffer, kind: type | str, shape: list[int]) -> NDArray[Any]:
    """A Buffer's memory as an array. Nothing is copied."""
    return np.frombuffer(buffer.view, kind).reshape(shape)


def main() -> None:
    parser = argparse.ArgumentParser(description="an inference engine")
    parser.add_argument("name", nargs="?", default="engine", help="what it is served as")
    name = parser.parse_args().name
    print(f"serving as {name}; end with Ctrl-C", flush=True)
    server.serve(name)


if __name__ == "__main__":
    main()
