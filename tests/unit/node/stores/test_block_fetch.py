"""Which ranges of a block are asked for, and who waits for which."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from memfs.errors import ObjectMissingError
from memfs.node.stores.block_fetch import PART_BYTES, BlockFetch, Take
from memfs.types import Buffer

PIECE = 100_000
TOTAL = 8 * PART_BYTES + 5
CONTENT = random.Random(1).randbytes(TOTAL)


def joined(pieces: Sequence[Buffer] | None) -> bytes:
    assert pieces is not None
    return b"".join(pieces)


def begin(
    fetch: BlockFetch, failing: int = -1, rest: asyncio.Event | None = None
) -> list[tuple[int, int]]:
    """Fetch it, and return what is asked for; what follows the first range waits for ``rest``.

    The range ``failing`` fails.
    """
    asked: list[tuple[int, int]] = []

    async def read(at: int, size: int, take: Take) -> None:
        asked.append((at, size))
        if rest is not None and len(asked) > 1:
            await rest.wait()
        if len(asked) > failing >= 0:
            raise ObjectMissingError("gone")
        for start in range(at, at + size, PIECE):
            take(CONTENT[start : min(start + PIECE, at + size)])

    async def all_of_it() -> tuple[Buffer, int]:
        return b"".join(await fetch.run(read)), 0

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
    assert joined(first) == CONTENT[10:30] and not fetch.whole.done()
    assert joined(await fetch.part(0, PART_BYTES)) == CONTENT[:PART_BYTES]
    for offset, length in ((0, 0), (-1, 1), (TOTAL, 1), (0, TOTAL)):
        assert await fetch.part(offset, length) is None
    across = asyncio.ensure_future(fetch.part(PART_BYTES - 1, 2))
    await asyncio.sleep(0)
    assert not across.done()
    rest.set()
    assert joined(await across) == CONTENT[PART_BYTES - 1 : PART_BYTES + 1]
    await fetch.whole


@pytest.mark.parametrize("wanted", [(0, TOTAL), (10, 20)])
async def test_what_arrives_goes_to_all_who_wait_for_it(wanted: tuple[int, int]) -> None:
    """Also of a block that was first asked for as a whole, or for another part."""
    fetch = BlockFetch(TOTAL, *wanted)
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def read(at: int, size: int, take: Take) -> None:
        if (at, size) == (0, PART_BYTES):
            take(CONTENT[:PART_BYTES])
            return
        start = at
        for end in (3 * PART_BYTES, at + size):
            take(CONTENT[start:end])
            start = end
            arrived.set()
            await ended.wait()

    async def all_of_it() -> tuple[Buffer, int]:
        return b"".join(await fetch.run(read)), 0

    fetch.whole = asyncio.ensure_future(all_of_it())
    fetch.whole.add_done_callback(lambda _: fetch.ended())
    early = [asyncio.ensure_future(fetch.part(2 * PART_BYTES, n)) for n in (1, 5, PART_BYTES)]
    late = asyncio.ensure_future(fetch.part(2 * PART_BYTES, PART_BYTES + 1))
    given_up = asyncio.ensure_future(fetch.part(5 * PART_BYTES, 5))
    await arrived.wait()
    found = await asyncio.gather(*early)
    assert list(map(joined, found)) == [
        CONTENT[2 * PART_BYTES : 2 * PART_BYTES + n] for n in (1, 5, PART_BYTES)
    ]
    before = await fetch.part(3 * PART_BYTES - 1, 1)
    assert joined(before) == CONTENT[3 * PART_BYTES - 1 : 3 * PART_BYTES]
    given_up.cancel()
    await asyncio.sleep(0)
    assert not late.done() and not fetch.whole.done()
    ended.set()
    assert joined(await late) == CONTENT[2 * PART_BYTES : 3 * PART_BYTES + 1]
    assert (await fetch.whole)[0] == CONTENT


async def test_a_fetch_that_breaks_off_is_told_to_all_who_wait() -> None:
    fetch = BlockFetch(TOTAL, 0, TOTAL)
    broken = asyncio.Event()

    async def read(at: int, size: int, take: Take) -> None:
        take(CONTENT[:PIECE])
        await broken.wait()
        raise ObjectMissingError("gone")

    async def all_of_it() -> tuple[Buffer, int]:
        return b"".join(await fetch.run(read)), 0

    fetch.whole = asyncio.ensure_future(all_of_it())
    fetch.whole.add_done_callback(lambda _: fetch.ended())
    waiting = [asyncio.ensure_future(fetch.part(at, 10)) for at in (PIECE, TOTAL - 10)]
    assert joined(await fetch.part(0, 10)) == CONTENT[:10]
    broken.set()
    for each in waiting:
        with pytest.raises(ObjectMissingError):
            await each
    with pytest.raises(ObjectMissingError):
        await fetch.whole
    with pytest.raises(ObjectMissingError):
        await fetch.part(TOTAL - 1, 1)


@pytest.mark.parametrize("failing", [0, 1])
async def test_a_failure_is_told_to_those_whom_it_concerns(failing: int) -> None:
    fetch = BlockFetch(TOTAL, 0, 1)
    begin(fetch, failing)
    if failing:
        assert joined(await fetch.part(0, 1)) == CONTENT[:1]
    else:
        with pytest.raises(ObjectMissingError):
            await fetch.part(0, 1)
    with pytest.raises(ObjectMissingError):
        await fetch.whole
