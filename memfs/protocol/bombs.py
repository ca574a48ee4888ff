"""How much memory a record would take, before it is decoded.

64 KiB of msgpack can claim 100 MB: an array's memory is taken when its header is read, headers
nest a thousand deep, and an array of one element takes one byte on the wire and 56 in memory.
Nearly every record is cleared by counting the bytes that could be costly headers, at the speed of
``bytes.translate``; only what looks costly is walked object by object.

Invariant: decoding what passes takes less than ``limits.RECORD_MEMORY``.
"""

from __future__ import annotations

import re
from typing import Final

from memfs import limits
from memfs.errors import ProtocolError
from memfs.types import Buffer

# Sizes of CPython objects on 64 bits, rounded up to 16, with the 8 bytes of the slot in the array.
_SLOT: Final = 8
_NUMBER: Final = 32 + _SLOT
_ARRAY: Final = 48 + _SLOT
_TEXT: Final = 80 + _SLOT  # and up to 4 bytes per byte: one emoji makes a text four bytes wide
_BINARY: Final = 48 + _SLOT

_SMALL_BYTES: Final = 200
"""A record up to here is harmless: 200 / 3 headers of the largest array are half a megabyte."""
assert _SMALL_BYTES // 3 * (_ARRAY + _SLOT * limits.ARRAY_ELEMENTS) < limits.RECORD_MEMORY

# An upper bound from counting bytes. Any byte costs at most _BYTE_COST, besides those that may be
# headers: of short arrays; of short texts, binaries and negative numbers; of long arrays, which
# claim their elements at once. Arrays of 16 to 31 elements are in every listing.
_BYTE_COST: Final = 15
_SHORT_ARRAYS: Final = bytes(range(0x91, 0xA0))
_SHORT_ARRAY_COST: Final = _ARRAY - _BYTE_COST + _SLOT
_DENSE: Final = bytes([*range(0xA2, 0xA6), 0xD0, 0xD9, 0xDA, *range(0xE0, 0xFB)])
_DENSE_COST: Final = _TEXT - 3 * _BYTE_COST
_LONG_ARRAYS: Final = (re.compile(rb"\xdc[\x00-\x04]"), re.compile(rb"\xdd\x00\x00[\x00-\x04]"))
_LONG_ARRAY_COST: Final = _ARRAY + _SLOT * limits.ARRAY_ELEMENTS
_RECORD_ARRAYS: Final = re.compile(rb"\xdc\x00[\x10-\x1f]")
_RECORD_ARRAY_COST: Final = _ARRAY + _SLOT * 31
_NESTED_COST: Final = 1024 * _SLOT * 15
"""Short arrays that have begun and not ended: msgpack nests no deeper than 1024."""


class BombError(ProtocolError):
    """A record made to exhaust the receiver: the connection is closed."""


def check_cost(raw: Buffer, limit: int = limits.RECORD_BYTES) -> None:
    """Raises BombError for a record that is too long or would take too much memory."""
    size = len(raw)
    if size <= _SMALL_BYTES:
        return
    if size > limit:
        raise BombError(f"a record of {size} bytes, {limit} is the limit")
    data = bytes(raw)
    if _upper_bound(data) > limits.RECORD_MEMORY:
        _walk(data)


def _upper_bound(data: bytes) -> int:
    """An upper bound of the memory that decoding ``data`` takes."""
    long_arrays = sum(len(pattern.findall(data)) for pattern in _LONG_ARRAYS)
    record_arrays = len(_RECORD_ARRAYS.findall(data))
    return (
        _NESTED_COST
        + _BYTE_COST * len(data)
        + _SHORT_ARRAY_COST * _count(data, _SHORT_ARRAYS)
        + _DENSE_COST * _count(data, _DENSE)
        + _RECORD_ARRAY_COST * record_arrays
        + _LONG_ARRAY_COST * (long_arrays - record_arrays)
    )


def _count(data: bytes, those: bytes) -> int:
    return len(data) - len(data.translate(None, those))


def _tables() -> tuple[list[int], list[int], dict[int, tuple[int, int, int]]]:
    """Per first byte: size on the wire and cost; and those with a length of their own.

    The latter map to (bytes of the length, wire bytes per unit, cost per unit).
    """
    sizes, costs = [1] * 256, [_SLOT] * 256
    for byte in range(0x80, 0x90):  # maps occur in no record: the decoder refuses them
        costs[byte] = _ARRAY
    for count in range(16):
        costs[0x90 + count] = _ARRAY + _SLOT * count
    for length in range(1, 32):
        sizes[0xA0 + length] = 1 + length
        costs[0xA0 + length] = _TEXT + 4 * length
    for byte in range(0xE0, 0xFB):
        costs[byte] = _NUMBER
    for byte, size in zip(range(0xCA, 0xD4), (5, 9, 2, 3, 5, 9, 2, 3, 5, 9), strict=True):
        sizes[byte], costs[byte] = size, _NUMBER
    counted = {}
    for first, cost, unit_size, unit_cost, widths in (
        (0xC4, _BINARY, 1, 1, (1, 2, 4)),
        (0xD9, _TEXT, 1, 4, (1, 2, 4)),
        (0xDC, _ARRAY, 0, _SLOT, (2, 4)),
    ):
        for byte, width in enumerate(widths, first):
            sizes[byte], costs[byte] = 1 + width, cost
            counted[byte] = (width, unit_size, unit_cost)
    return sizes, costs, counted


_SIZES, _COSTS, _COUNTED = _tables()


def _walk(data: bytes) -> None:
    """Add up the objects in ``data``. Raises BombError when they take too much."""
    sizes, costs, counted = _SIZES, _COSTS, _COUNTED
    at = cost = 0
    while at < len(data):
        byte = data[at]
        if byte in counted:
            width, unit_size, unit_cost = counted[byte]
            count = int.from_bytes(data[at + 1 : at + 1 + width], "big")
            if count > (limits.RECORD_BYTES if unit_size else limits.ARRAY_ELEMENTS):
                raise BombError(f"a record that announces {count} elements")
            at += unit_size * count
            cost += unit_cost * count
        at += sizes[byte]
        cost += costs[byte]
        if cost > limits.RECORD_MEMORY:
            raise BombError("a record that would take too much memory")
