"""Bytes over a quota are refused before they travel, and no sooner than there is need to."""

from __future__ import annotations

import pytest

from memfs import errors
from memfs.client.filesystem import AsyncFileSystem
from tests.unit.client.fake_cluster import FakeCluster

BLOCK = 4096
ROOM = 10 * BLOCK
"""Of one file: the quota counts both copies."""


@pytest.fixture
async def quota(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    await fs.mkdir("/d")
    await fs.set_quota("/d", space=2 * ROOM)
    cluster.asked.clear()


@pytest.mark.usefixtures("quota")
async def test_a_file_that_is_given_whole_sends_nothing(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    with pytest.raises(errors.SpaceQuotaError, match="more are wanted"):
        await fs.write_bytes("/d/f", bytes(200 * 1024))
    assert cluster.asked["WriteBlock"] == 0
    assert await fs.listdir("/d") == []


@pytest.mark.usefixtures("quota")
async def test_a_stream_is_stopped_at_its_quota_and_keeps_what_was_written(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    f = await fs.open("/d/f", "wb", buffering=0)
    for _ in range(10):
        await f.write(bytes(BLOCK))
    assert cluster.asked["CheckGrowth"] == 0
    with pytest.raises(errors.SpaceQuotaError):
        await f.write(bytes(3 * BLOCK))
    await f.flush()
    assert cluster.asked["WriteBlock"] == 10
    await f.pwrite(b"inside", BLOCK)
    await f.close()
    assert await fs.read_bytes("/d/f") == bytes(BLOCK) + b"inside" + bytes(9 * BLOCK - 6)
    assert cluster.asked["CheckGrowth"] == 1


@pytest.mark.usefixtures("quota")
async def test_room_that_was_made_since_counts(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    f = await fs.open("/d/f", "wb", buffering=0)
    await f.write(bytes(ROOM))
    await fs.set_quota("/d", space=3 * ROOM)
    await f.write(bytes(BLOCK))
    await f.write(bytes(BLOCK))
    await fs.set_quota("/d", space=-1)
    await f.write(bytes(100 * BLOCK))
    await f.write(bytes(BLOCK))
    await f.close()
    assert (await fs.stat("/d/f")).st_size == ROOM + 103 * BLOCK
    assert cluster.asked["CheckGrowth"] == 2


@pytest.mark.usefixtures("quota")
@pytest.mark.parametrize("blocks", [9, 60], ids=["small", "large"])
async def test_a_copy_over_a_quota_leaves_the_old_target(
    fs: AsyncFileSystem, cluster: FakeCluster, blocks: int
) -> None:
    await fs.write_bytes("/d/f", b"what was there")
    await fs.write_bytes("/source", bytes(blocks * BLOCK))
    await fs.write_bytes("/d/rest", bytes(4 * BLOCK))
    stored = {number: len(held) for number, held in cluster.blocks.items()}
    with pytest.raises(errors.SpaceQuotaError):
        await fs.copy("/source", "/d/f")
    assert await fs.read_bytes("/d/f") == b"what was there"
    assert await fs.listdir("/d") == ["f", "rest"]
    with pytest.raises(errors.SpaceQuotaError):
        await fs.rename("/source", "/d/f")
    assert await fs.read_bytes("/source") == bytes(blocks * BLOCK)
    assert await fs.read_bytes("/d/f") == b"what was there"
    assert {number: len(held) for number, held in cluster.blocks.items()} == stored
