"""The blocks of docs/python.md and of the README run, and print what they say."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from ..room.conftest import leaks, place

__all__ = ["leaks", "place"]

TOP = Path(__file__).parents[3]


def blocks(page: Path) -> list[str]:
    """The code, each block at its own line, so that tracebacks name the page's lines."""
    text = page.read_text(encoding="utf-8")
    return [
        "\n" * text.count("\n", 0, m.start(1)) + m[1]
        for m in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def run(page: Path) -> list[tuple[list[str], list[str]]]:
    """Runs the blocks of a page. For each, what it should print, and what it does."""
    scope: dict[str, Any] = {"__name__": "page"}
    results = []
    try:
        for block in blocks(page):
            code = re.sub(r"^server\.serve\(", "server.start(", block, flags=re.MULTILINE)  # the rest goes on beside it
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(code, str(page), "exec", dont_inherit=True), scope)
            results.append((re.findall(r"# prints: (.*)$", block, re.MULTILINE), out.getvalue().splitlines()))
    finally:
        for name in ("peer", "server"):
            if name in scope:
                scope[name].close()
    return results


def test_tour() -> None:
    results = run(TOP / "docs" / "python.md")
    assert len(results) >= 15
    for expected, printed in results:
        assert printed == expected


def test_readme() -> None:
    results = run(TOP / "python" / "README.md")
    printed = [line for _, lines in results for line in lines]
    assert printed[0].startswith("hello gopher, you are ")
    assert printed[1:] == ["0", "1", "2"]


@pytest.mark.parametrize("page", ["docs/python.md", "python/README.md"])
def test_blocks_are_whole(page: str) -> None:
    text = (TOP / page).read_text(encoding="utf-8")
    assert text.count("```python\n") == len(blocks(TOP / page)) > 1
