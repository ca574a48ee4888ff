"""Which ranges of a block are asked for, and who waits for which."""

from __future__ import annotations

import asyncio
import random

import pytest

from memfs.errors import ObjectMissingError
from memfs.node.stores.block_fetch import PART_BYTES, BlockFetch
from memfs.types import Buffer

TOTAL = 8 * PART_BYTES + 5
CONTENT = random.Random(1).randbytes(TOTAL)


def begin(
    fetch: BlockFetch, failing: int = -1, rest: asyncio.Event | None = None
) -> list[tuple[int, int]]:
    """Fetch it, and return what is asked for; what follows the first range waits for ``rest``.

    The range ``failing`` fails.
    """
    asked: list[tuple[int, int]] = []

    async def read(at: int, size: int) -> Buffer:
        asked.append((at, size))
        if rest is not None and len(asked) > 1:
            await rest.wait()
        if len(asked) > failing >= 0:
            raise ObjectMissingError("gone")
        return CONTENT[at : at + size]

    async def all_of_it() -> tuple[Buffer, int]:
        return await fetch.run(read), 0

    fetch.whole = asyncio.ensure_future(all_of_it())
    fetch.whole.add_done_callback(lambda _: fetch.ended())
    return asked


@pytest.mark.parametrize(
    ("offset", "length", "ranges"),
    [
        (0, TOTAL, [(0, TOTAL)]),
        (0, 0, [(0, TOTAL)]),
        (0, 1, [(0, PART_BYTES), (PART_BYTES, TOTAL - PART_BYTES)]),
        (TOTAL - 1, 1, [(8 * PART_BYTES, 5), (0, 8 * PART_BYTES)]),
        (3 * PART_BYTES - 1, 2, [(2 * PART_BYTES, 2 * PART_BYTES), (0, 2 * PART_BYTES)]),
        (PART_BYTES, 3 * PART_BYTES, [(0, TOTAL)]),
        (-1, 5, [(0, TOTAL)]),
        (TOTAL, 5, [(0, TOTAL)]),
    ],
)
async def test_what_is_wanted_is_asked_for_first(
    offset: int, length: int, ranges: list[tuple[int, int]]
) -> None:
    fetch = BlockFetch(TOTAL, offset, length)
    asked = begin(fetch)
    assert (await fetch.whole)[0] == CONTENT
    assert asked[: len(ranges)] == ranges and sum(size for _, size in asked) == TOTAL


async def test_who_waits_for_which() -> None:
    fetch = BlockFetch(TOTAL, 10, 20)
    rest = asyncio.Event()
    begin(fetch, rest=rest)
    first = await fetch.part(10, 20)
    assert first == CONTENT[10:30] and not fetch.whole.done()
    assert await fetch.part(0, PART_BYTES) == CONTENT[:PART_BYTES]
    for offset, length in ((PART_BYTES - 1, 2), (0, 0), (-1, 1), (0, TOTAL)):
        assert await fetch.part(offset, length) is None
    rest.set()
    await fetch.whole


@pytest.mark.parametrize("failing", [0, 1])
async def test_a_failure_is_told_to_those_whom_it_concerns(failing: int) -> None:
    fetch = BlockFetch(TOTAL, 0, 1)
    begin(fetch, failing)
    if failing:
        assert await fetch.part(0, 1) == CONTENT[:1]
    else:
        with pytest.raises(ObjectMissingError):
            await fetch.part(0, 1)
    with pytest.raises(ObjectMissingError):
        await fetch.whole
