"""Arguments of fsspec's calls that need a look before they are used. Pure."""

from __future__ import annotations

import operator
from typing import SupportsIndex

CACHED_BLOCK_BYTES = 4 << 20
"""A block of memfs; fsspec's own default is of this order, too."""


def creates_only(mode: object) -> bool:
    """Whether fsspec's ``mode`` of whole files wants new ones only."""
    if not isinstance(mode, str):
        raise TypeError(f"mode is text, not {type(mode).__name__}")
    if mode not in ("create", "overwrite"):
        raise ValueError(f'mode is "overwrite" or "create", not {mode!r}')
    return mode == "create"


def block_bytes(size: object) -> int:
    """What a cache of fsspec's fetches at a time; memfs's own buffers are as memfs chooses."""
    if size is None or size == "default":
        return CACHED_BLOCK_BYTES
    if isinstance(size, bool) or not isinstance(size, SupportsIndex):
        raise TypeError(f"block_size is a number of bytes, not {size!r}")
    if operator.index(size) < 1:
        raise ValueError(f"block_size is at least 1, not {size!r}")
    return operator.index(size)
