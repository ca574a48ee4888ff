"""Where the bytes of a file lie: arithmetic between file offsets and blocks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class BlockSpan(NamedTuple):
    """The part of a file range that lies in one block."""

    block: int
    """Number of the block in the file."""
    start: int
    """First byte within the block."""
    length: int
    at: int
    """Where it begins within the range."""


def split(offset: int, length: int, block_size: int) -> Iterator[BlockSpan]:
    """Cut ``length`` bytes from ``offset`` of a file into pieces of one block each, in order."""
    at = 0
    while at < length:
        block, start = divmod(offset + at, block_size)
        size = min(block_size - start, length - at)
        yield BlockSpan(block, start, size, at)
        at += size


def block_count(size: int, block_size: int) -> int:
    """Blocks of a file of ``size`` bytes."""
    return -(-size // block_size)
