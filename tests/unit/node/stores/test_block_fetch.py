"""Which ranges of a block are asked for, and who waits for which."""

from __future__ import annotations

import asyncio
import random

import pytest

from memfs.checksum import crc32c
from memfs.errors import InvalidArgumentError, ObjectMissingError, StoreUnreachableError
from memfs.limits import CHUNK_BYTES
from memfs.node.stores.block_fetch import PART_BYTES, Arrived, BlockFetch, Read

PIECE = 100_000
TOTAL = 8 * PART_BYTES + 5
CONTENT = random.Random(1).randbytes(TOTAL)


def new(offset: int, length: int) -> BlockFetch:
    return BlockFetch(memoryview(bytearray(TOTAL)), offset, length)


def send(into: memoryview, at: int, arrived: Arrived) -> None:
    """All that is wanted from ``at``, a piece at a time."""
    for start in range(0, len(into), PIECE):
        end = min(start + PIECE, len(into))
        into[start:end] = CONTENT[at + start : at + end]
        arrived(end - start)


def run(fetch: BlockFetch, read: Read) -> None:
    fetch.task = asyncio.ensure_future(fetch.run(read))
    fetch.task.add_done_callback(lambda _: fetch.ended())


def begin(
    fetch: BlockFetch, failing: int = -1, rest: asyncio.Event | None = None
) -> list[tuple[int, int]]:
    """Fetch it, and return what is asked for; what follows the first range waits for ``rest``.

    The range ``failing`` fails.
    """
    asked: list[tuple[int, int]] = []

    async def read(at: int, into: memoryview, arrived: Arrived) -> None:
        asked.append((at, len(into)))
        if rest is not None and len(asked) > 1:
            await rest.wait()
        if len(asked) > failing >= 0:
            raise ObjectMissingError("gone")
        send(into, at, arrived)

    run(fetch, read)
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
    fetch = new(offset, length)
    asked = begin(fetch)
    await fetch.task
    assert fetch.memory == CONTENT == await fetch.part(0, TOTAL)
    assert not len(await fetch.part(0, 0))
    assert asked[: len(ranges)] == ranges and sum(size for _, size in asked) == TOTAL


async def test_who_waits_for_which() -> None:
    fetch = new(10, 20)
    rest = asyncio.Event()
    begin(fetch, rest=rest)
    first = await fetch.part(10, 20)
    assert first == CONTENT[10:30] and not fetch.task.done()
    assert await fetch.part(0, PART_BYTES) == CONTENT[:PART_BYTES]
    for offset, length in ((-1, 1), (TOTAL, 1), (0, TOTAL + 1), (5, -1)):
        with pytest.raises(InvalidArgumentError):
            await fetch.part(offset, length)
    for length in (0, TOTAL):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await fetch.part(0, length)
    across = asyncio.ensure_future(fetch.part(PART_BYTES - 1, 2))
    await asyncio.sleep(0)
    assert not across.done()
    rest.set()
    assert await across == CONTENT[PART_BYTES - 1 : PART_BYTES + 1]
    await fetch.task


@pytest.mark.parametrize("wanted", [(0, TOTAL), (10, 20)])
async def test_what_arrives_goes_to_all_who_wait_for_it(wanted: tuple[int, int]) -> None:
    """Also of a block that was first asked for as a whole, or for another part."""
    fetch = new(*wanted)
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def read(at: int, into: memoryview, tell: Arrived) -> None:
        if (at, len(into)) == (0, PART_BYTES):
            send(into, at, tell)
            return
        start = 0
        for end in (3 * PART_BYTES - at, len(into)):
            send(into[start:end], at + start, tell)
            start = end
            arrived.set()
            await ended.wait()

    run(fetch, read)
    early = [asyncio.ensure_future(fetch.part(2 * PART_BYTES, n)) for n in (1, 5, PART_BYTES)]
    late = asyncio.ensure_future(fetch.part(2 * PART_BYTES, PART_BYTES + 1))
    given_up = asyncio.ensure_future(fetch.part(5 * PART_BYTES, 5))
    await arrived.wait()
    found = await asyncio.gather(*early)
    assert found == [CONTENT[2 * PART_BYTES : 2 * PART_BYTES + n] for n in (1, 5, PART_BYTES)]
    before = await fetch.part(3 * PART_BYTES - 1, 1)
    assert before == CONTENT[3 * PART_BYTES - 1 : 3 * PART_BYTES]
    given_up.cancel()
    await asyncio.sleep(0)
    assert not late.done() and not fetch.task.done()
    ended.set()
    assert await late == CONTENT[2 * PART_BYTES : 3 * PART_BYTES + 1]
    await fetch.task
    assert fetch.memory == CONTENT


async def test_a_fetch_that_breaks_off_is_told_to_all_who_wait() -> None:
    fetch = new(0, TOTAL)
    broken = asyncio.Event()

    async def read(at: int, into: memoryview, arrived: Arrived) -> None:
        send(into[:PIECE], at, arrived)
        await broken.wait()
        raise ObjectMissingError("gone")

    run(fetch, read)
    waiting = [asyncio.ensure_future(fetch.part(at, 10)) for at in (PIECE, TOTAL - 10)]
    assert await fetch.part(0, 10) == CONTENT[:10]
    broken.set()
    for each in waiting:
        with pytest.raises(ObjectMissingError):
            await each
    with pytest.raises(ObjectMissingError):
        await fetch.task
    with pytest.raises(ObjectMissingError):
        await fetch.part(TOTAL - 1, 1)


@pytest.mark.parametrize("failing", [0, 1])
async def test_a_failure_is_told_to_those_whom_it_concerns(failing: int) -> None:
    fetch = new(0, 1)
    begin(fetch, failing)
    if failing:
        assert await fetch.part(0, 1) == CONTENT[:1]
    else:
        with pytest.raises(ObjectMissingError):
            await fetch.part(0, 1)
    with pytest.raises(ObjectMissingError):
        await fetch.task


@pytest.mark.parametrize("wanted", [(0, TOTAL), (3 * PART_BYTES, 1)])
async def test_checksums_are_of_what_is_asked_for(wanted: tuple[int, int]) -> None:
    """Of whole chunks, of parts of chunks, and of the last chunk, which is short."""
    fetch = new(*wanted)
    begin(fetch)
    await fetch.task
    dice = random.Random(2)
    places = [0, CHUNK_BYTES, 5 * CHUNK_BYTES, 5, TOTAL - 5, TOTAL - 1, TOTAL]
    places += [dice.randrange(TOTAL) for _ in range(10)]
    for start in places:
        for stop in places:
            if start <= stop:
                assert fetch.crc(start, stop - start) == crc32c(CONTENT[start:stop])
    assert fetch.crcs == [
        crc32c(CONTENT[at : at + CHUNK_BYTES]) for at in range(0, TOTAL, CHUNK_BYTES)
    ]


async def test_a_store_that_sends_less_than_it_was_asked_for_is_noticed() -> None:
    fetch = new(0, TOTAL)

    async def read(at: int, into: memoryview, arrived: Arrived) -> None:
        arrived(len(into) - 1)

    run(fetch, read)
    with pytest.raises(StoreUnreachableError):
        await fetch.task
    for at, length in ((TOTAL - 1, 1), (0, 0), (0, TOTAL)):
        with pytest.raises(StoreUnreachableError):
            await fetch.part(at, length)
