"""CRC32C (Castagnoli) over buffers, and over what is made of pieces whose CRCs are known."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from itertools import repeat

from awscrt import checksums as _checksums

from memfs.types import Buffer

try:  # what that module calls: half of the time of a short one is its own
    from _awscrt import checksums_crc32c as _crc32c
except ImportError:
    _crc32c = _checksums.crc32c


def crc32c(data: Buffer, crc: int = 0) -> int:
    """CRC32C of ``data``, continuing from ``crc`` (the CRC of what came before)."""
    return _crc32c(data, crc)  # type: ignore[no-any-return]


def crcs32c(pieces: Iterable[Buffer]) -> list[int]:
    """CRC32C of each of many pieces, without a step of Python for each."""
    return list(map(_crc32c, pieces, repeat(0)))


def combine(first: int, second: int, second_length: int) -> int:
    """CRC32C of two byte strings one after the other, from their CRCs."""
    return _checksums.combine_crc32c(first, second, second_length)  # type: ignore[no-any-return]


@functools.lru_cache(1024)
def crc_of_zeros(length: int) -> int:
    """CRC32C of ``length`` zero bytes, put together from runs that double: nothing is read."""
    total, run, size = 0, crc32c(b"\0"), 1
    while length >= size:
        if length & size:
            total = combine(total, run, size)
        run, size = combine(run, run, size), size * 2
    return total
