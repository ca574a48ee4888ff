"""What passes through a pipe's thread."""

from __future__ import annotations

import asyncio
import os

import pytest

from memfs.cli.pipes import Pipe


class Pattern:
    """Bytes of which each differs from its neighbours; given in parts as long as asked for, or
    ``most``."""

    def __init__(self, size: int, most: int) -> None:
        self.content = bytes(number * 7 % 251 for number in range(size))
        self.at = 0
        self._most = most

    def read(self, into: memoryview) -> int:
        part = self.content[self.at : self.at + min(len(into), self._most)]
        into[: len(part)] = part
        self.at += len(part)
        return len(part) or -1


@pytest.mark.parametrize(
    ("size", "most", "count"),
    [(0, 10, 5), (1000, 7, 1000), (1000, 5000, 999), (300_000, 1 << 20, 400_000)],
)
async def test_what_is_read_is_written_until_nothing_is_read(
    size: int, most: int, count: int
) -> None:
    out, into = os.pipe()
    source, pipe = Pattern(size, most), Pipe(into)

    def drain() -> bytes:
        with open(out, "rb") as file:
            return file.read()

    draining = asyncio.create_task(asyncio.to_thread(drain))
    written = await pipe.write_from(source.read, count)
    os.close(into)
    assert written == min(size, count)
    assert await draining == source.content[:count]


async def test_who_does_not_read_any_more_is_told() -> None:
    out, into = os.pipe()
    os.close(out)
    try:
        with pytest.raises(BrokenPipeError):
            await Pipe(into).write_from(Pattern(10, 10).read, 10)
    finally:
        os.close(into)
