"""A system without segments: bytes are copied."""

from __future__ import annotations

import errno
import os
from typing import NoReturn

KIND = ""
close = os.close


def create(size: int) -> NoReturn:
    raise OSError(errno.ENOTSUP, "this system has no memory that can be handed over")


def map_received(handle: int, size: int) -> NoReturn:
    raise OSError(errno.ENOTSUP, "this system has no memory that can be handed over")


def unmap(address: int, size: int) -> None:
    """There is nothing to unmap."""
