"""Inputs that are nearly right, drawn from a seed: what a short run has instead of coverage."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, (1 << 63) - 1)


def mutated(seeds: Sequence[bytes], count: int, dice: random.Random) -> Iterator[bytes]:
    """``count`` inputs, each made of one or two seeds by a few changes."""
    for _ in range(count):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randint(1, 4)):
            _change(data, dice.choice(seeds), dice)
        yield bytes(data)


def _change(data: bytearray, other: bytes, dice: random.Random) -> None:
    at = dice.randint(0, len(data))
    length = dice.randint(0, min(16, len(data) - at))
    match dice.randrange(6):
        case 0 if at < len(data):
            data[at] ^= 1 << dice.randrange(8)
        case 1:
            del data[at : at + length]
        case 2:
            data[at:at] = data[at : at + length] * dice.randint(1, 20)
        case 3:
            size = dice.choice((1, 2, 4, 8))
            number = dice.choice(_NUMBERS) & ((1 << 8 * size) - 1)
            data[at : at + size] = number.to_bytes(size, "big")
        case 4:
            start = dice.randint(0, len(other))
            data[at:] = other[start:]
        case _:
            data[at:at] = dice.randbytes(dice.randint(1, 8))
