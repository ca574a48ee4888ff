"""What no file holds takes no room: superseded versions, failed and refused writes, drafts.

The rule: what nodes hold is what is committed, times copies, and at most two versions of each block
that an open writer has changed.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from memfs import errors
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.writing import unpublished
from memfs.protocol import messages as m
from tests.unit.client.fake_cluster import FakeCluster

BLOCK = 4096
COPIES = 2
SIZE = 64 * BLOCK


def held(cluster: FakeCluster) -> int:
    """Bytes on all nodes."""
    return sum(len(data) for blocks in cluster.blocks.values() for data in blocks.values())


async def test_small_writes_are_gathered_until_a_flush(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    dice, expected = random.Random(1), bytearray(SIZE)
    await fs.write_bytes("/f", bytes(SIZE))
    before = cluster.payload_bytes
    async with fs.open("/f", "r+b", buffering=0) as f:
        for _ in range(2000):
            at = dice.randrange(SIZE - 100)
            data = dice.randbytes(100)
            await f.pwrite(data, at)
            expected[at : at + 100] = data
        assert cluster.payload_bytes == before and held(cluster) == COPIES * SIZE
        await f.flush()
        assert held(cluster) == COPIES * SIZE
        assert cluster.payload_bytes - before < SIZE
    assert await fs.read_bytes("/f") == expected


async def test_a_read_stores_what_was_written_of_its_range_only(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_bytes("/f", bytes(SIZE))
    async with fs.open("/f", "r+b", buffering=0) as f:
        for block in range(0, 60, 5):
            await f.pwrite(b"x" * 100, block * BLOCK + 7)
        cluster.asked.clear()
        assert await f.pread(100, 5 * BLOCK) == bytes(7) + b"x" * 93
        assert await f.pread(3 * BLOCK, BLOCK) == bytes(3 * BLOCK)
        assert cluster.asked["WriteBlock"] == 1


async def test_a_full_buffer_is_sent_block_by_block(
    fs: AsyncFileSystem, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpublished, "GATHERED_BYTES", 8 * BLOCK)
    await fs.write_bytes("/f", bytes(SIZE))
    dice, expected = random.Random(2), bytearray(SIZE)
    async with fs.open("/f", "r+b", buffering=0) as f:
        for _ in range(600):
            at = dice.randrange(SIZE - 1000)
            data = dice.randbytes(1000)
            await f.pwrite(bytearray(data), at)
            expected[at : at + 1000] = data
            assert held(cluster) <= COPIES * 3 * SIZE
        assert cluster.asked["WriteBlock"] > 200
    assert held(cluster) == COPIES * SIZE
    assert await fs.read_bytes("/f") == expected


@pytest.mark.parametrize("failing", [False, True])
async def test_a_superseded_version_goes_with_the_next_one(
    fs: AsyncFileSystem, cluster: FakeCluster, failing: bool
) -> None:
    await fs.write_bytes("/f", bytes(8 * BLOCK))
    async with fs.open("/f", "r+b", buffering=0) as f:
        for round_number in range(20):
            if failing:
                cluster.down = {round_number % 3 + 1} if round_number % 2 else set()
            await f.pwrite(bytes([round_number]) * 8 * BLOCK, 0)
            cluster.down = set()
            most = 6 if failing else 3
            assert held(cluster) <= COPIES * most * 8 * BLOCK
    assert held(cluster) == COPIES * 8 * BLOCK


@pytest.mark.parametrize("how", ["refused", "cancelled", "discarded", "lease lost"])
async def test_what_is_not_published_is_given_back_at_once(
    fs: AsyncFileSystem, cluster: FakeCluster, how: str
) -> None:
    await fs.write_bytes("/f", b"old")
    cluster.slow = {1: 0.001, 2: 0.01, 3: 0.02}
    if how == "discarded":
        with pytest.raises(ZeroDivisionError):
            async with fs.replacing("/f") as draft:
                await draft.write(None, memoryview(bytes(40 * BLOCK)))
                raise ZeroDivisionError
    elif how == "lease lost":
        f = await fs.open("/f", "r+b", buffering=0)
        await f.pwrite(bytearray(40 * BLOCK), 0)
        await cluster.connect().recover_lease("/f")
        with pytest.raises(errors.LeaseLostError):
            await f.close()
    else:
        writing = asyncio.create_task(fs.write_bytes("/f", bytearray(40 * BLOCK)))
        await asyncio.sleep(0.02)
        if how == "refused":
            cluster.full = set(cluster.blocks)
        else:
            writing.cancel()
        with pytest.raises((errors.NoSpaceError, asyncio.CancelledError)):
            await writing
    await asyncio.sleep(0.1)
    assert held(cluster) == COPIES * 3
    assert await fs.read_bytes("/f") == b"old"


async def test_hundreds_of_blocks_are_given_back_too(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with fs.replacing("/f") as draft:
            await draft.write(None, memoryview(bytes(500 * BLOCK)))
            raise ZeroDivisionError
    assert held(cluster) == 0
    f = await fs.open("/f", "wb", buffering=0)
    for down in (1, 2, 3):  # no node of a chain can forget what it does not hear of
        await f.pwrite(bytes(120 * BLOCK), 0)
        cluster.down = {down}
        await f.pwrite(bytes(120 * BLOCK), 0)
        cluster.down = set()
    await f.close()
    assert held(cluster) == COPIES * 120 * BLOCK


async def test_a_batch_that_is_refused_is_given_back(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.mkdir("/d")
    await fs.set_quota("/d", space=1000)
    with pytest.raises(errors.SpaceQuotaError):
        await fs.write_bytes("/d/f", bytes(3000))
    await asyncio.sleep(0.01)
    assert held(cluster) == 0 and not cluster.namespace.statistics().reserved % 63


async def test_what_was_perhaps_committed_is_never_forgotten_on_the_clients_word(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_bytes("/f", bytes(4 * BLOCK))
    f = await fs.open("/f", "r+b", buffering=0)
    await f.pwrite(b"1" * 4 * BLOCK, 0)
    cluster.unanswered.add(m.Commit)
    with pytest.raises(errors.OutcomeUnknownError):
        await f.flush()
    cluster.unanswered.clear()
    await f.pwrite(b"2" * 4 * BLOCK, 0)
    await f.pwrite(b"3" * 4 * BLOCK, 0)
    assert await fs.read_bytes("/f") == b"1" * 4 * BLOCK, "that commit was carried out"
    await f.close()
    assert await fs.read_bytes("/f") == b"3" * 4 * BLOCK
    assert held(cluster) == COPIES * 4 * BLOCK
