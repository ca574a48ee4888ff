"""Reading and writing one large file through file objects, the same code for every contender."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import harness, wire

MIB = 1024 * 1024
POOL = 64 * MIB


def noise(size: int) -> memoryview:
    """Return ``size`` bytes that no layer could compress, their pages present."""
    buffer = wire.touched(size)
    pattern = random.Random(size).randbytes(min(size, MIB))
    for offset in range(0, size, MIB):
        length = min(len(pattern), size - offset)
        buffer[offset : offset + length] = pattern[:length]
    return buffer


def pieces(size: int) -> list[bytes]:
    """Return ``size`` bytes in blocks of 4 MiB, sixteen different ones taking turns."""
    pool = noise(POOL)
    different = [bytes(block) for block in wire.blocks(pool, min(size, POOL))]
    return list(itertools.islice(itertools.cycle(different), size // wire.BLOCK))


def read_rate(opened: Callable[[], Any], buffer: memoryview, size: int) -> float:
    """Open a file and read it to its end, a buffer at a time; return bytes a second."""
    total = 0
    with harness.Stopwatch() as watch, opened() as file:
        while count := file.readinto(buffer):
            total += count
    assert total == size, f"read {total} bytes of {size}"
    return total / watch.seconds


def write_rate(opened: Callable[[], Any], content: Sequence[bytes]) -> float:
    """Open a file, write the pieces and close it; return bytes a second."""
    with harness.Stopwatch() as watch, opened() as file:
        for piece in content:
            file.write(piece)
    return sum(map(len, content)) / watch.seconds
