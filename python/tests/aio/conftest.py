"""What the tests of asyncio share."""

from __future__ import annotations

from ..room.conftest import leaks, name, place

__all__ = ["leaks", "name", "place"]
