"""WordLlama, a small model of sentences: vectors of tokens, learnt from a large language model.

They travel in the package wordllama.
"""

import json
import struct

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

import packaged


class Embedding:
    """Turns texts into vectors of `size` numbers, of length 1: the product of two says how near their meanings are."""

    def __init__(self) -> None:
        with packaged.file("wordllama", "weights/l2_supercat_256.safetensors").open("rb") as f:
            (n,) = struct.unpack("<Q", f.read(8))
            about = json.loads(f.read(n))["embedding.weight"]
            if about["dtype"] != "F16":
                raise ValueError(f"the weights are {about['dtype']}; this program reads F16")
            self._vectors = np.frombuffer(f.read(), np.float16).reshape(about["shape"]).astype(np.float32)
        self._tokenizer = Tokenizer.from_file(
            str(packaged.file("wordllama", "tokenizers/l2_supercat_tokenizer_config.json"))
        )
        self.size: int = self._vectors.shape[1]

    def embed(self, texts: list[str], out: NDArray[np.float32]) -> None:
        """Writes a row to out for each text."""
        for row, encoded in zip(
            out,
            self._tokenizer.encode_batch(texts, add_special_tokens=False),
            strict=True,
        ):
            if encoded.ids:
                self._vectors[encoded.ids].mean(0, out=row)
                row /= np.linalg.norm(row)
            else:
                row[:] = 0
