"""Which bytes are fetched, from whom, and what happens when a copy is bad, slow or gone."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from memfs import errors
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.reading import reader
from memfs.client.reading.reader import PARALLEL_BLOCKS
from tests.unit.client.fake_cluster import FakeCluster

BLOCK = 4096
DATA = random.Random(5).randbytes(64 * BLOCK)


@pytest.fixture
async def stored(fs: AsyncFileSystem, cluster: FakeCluster) -> AsyncFileSystem:
    """``fs`` with DATA in /f and the counters at zero."""
    await fs.write_bytes("/f", DATA)
    cluster.asked.clear()
    cluster.read_bytes = 0
    return fs


async def test_random_access_fetches_exactly_what_is_asked(
    stored: AsyncFileSystem, cluster: FakeCluster
) -> None:
    async with stored.open("/f", "rb", buffering=0) as f:
        for at in (50_000, 9, 123_456):
            assert await f.pread(100, at) == DATA[at : at + 100]
    assert cluster.read_bytes == 300


async def test_a_big_read_of_small_blocks_floods_nobody(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_bytes("/f", 10 * DATA)
    cluster.most_waiting = 0
    assert await fs.read_bytes("/f") == 10 * DATA
    assert 1 < cluster.most_waiting <= PARALLEL_BLOCKS


@pytest.mark.parametrize("trouble", [False, True])
def test_memory_becomes_bytes(trouble: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BUFFERS_TROUBLE", trouble)
    for length in (5, 3, 0):
        memory = reader.Memory(5)
        memory.view[:] = b"01234"
        assert memory.finish(length) == b"01234"[:length]


async def test_sequential_reading_runs_ahead(stored: AsyncFileSystem, cluster: FakeCluster) -> None:
    async with stored.open("/f", "rb", buffering=0) as f:
        assert await f.read(1000) == DATA[:1000]
        assert cluster.read_bytes == 1000
        got = DATA[:1000]
        while piece := await f.read(1000):
            got += piece
    assert got == DATA
    assert cluster.asked["ReadBlock"] < 80
    assert cluster.read_bytes < len(DATA) + 2 * BLOCK


async def test_without_readahead(cluster: FakeCluster) -> None:
    fs = cluster.connect(readahead_bytes=0)
    await fs.write_bytes("/f", DATA)
    cluster.read_bytes = 0
    async with fs.open("/f", "rb", buffering=0) as f:
        got = b""
        while piece := await f.read(5000):
            got += piece
    assert got == DATA
    assert cluster.read_bytes == len(DATA)


async def test_readinto_fills_the_callers_memory(stored: AsyncFileSystem) -> None:
    buffer = bytearray(len(DATA) + 10)
    async with stored.open("/f", "rb") as f:
        assert await f.readinto(buffer) == len(DATA)
        assert await f.readinto(buffer) == 0
    assert buffer == DATA + bytes(10)


async def test_another_replica_when_one_is_down(
    stored: AsyncFileSystem, cluster: FakeCluster
) -> None:
    for number in cluster.blocks:
        cluster.down = {number}
        assert await stored.read_bytes("/f") == DATA


async def test_a_corrupt_copy_is_reported_and_not_returned(
    stored: AsyncFileSystem, cluster: FakeCluster
) -> None:
    cluster.corrupt(2)
    for _ in range(4):
        assert await stored.read_bytes("/f") == DATA
    await stored.close()
    assert {report.member for report in cluster.reports} == {2}


async def test_a_lost_file_says_so(stored: AsyncFileSystem, cluster: FakeCluster) -> None:
    for blocks in cluster.blocks.values():
        blocks.clear()
    with pytest.raises(errors.DataLossError) as caught:
        await stored.read_bytes("/f")
    assert caught.value.filename == "/f"


async def test_nodes_that_may_come_back_are_waited_for(
    stored: AsyncFileSystem, cluster: FakeCluster
) -> None:
    cluster.down = set(cluster.blocks)
    with pytest.raises(errors.UnavailableError) as caught:
        await stored.read_bytes("/f", timeout=0.02)
    assert caught.value.filename == "/f"


async def test_a_slow_replica_is_hedged(cluster: FakeCluster) -> None:
    fs = cluster.connect(hedge_seconds=0.01)
    await fs.write_bytes("/f", DATA[: 2 * BLOCK])
    slow = (await fs.block_locations("/f"))[0].members[0]
    cluster.slow = {slow: 5.0}
    for _ in range(4):
        assert await fs.read_bytes("/f", timeout=1.0) == DATA[: 2 * BLOCK]


async def test_the_second_of_two_that_are_asked_stands_in_for_the_first(
    cluster: FakeCluster,
) -> None:
    fs = cluster.connect(hedge_seconds=0.01)
    await fs.write_bytes("/f", DATA[: 2 * BLOCK])
    gone, slow = (await fs.block_locations("/f"))[0].members
    cluster.slow, cluster.down = {gone: 0.05, slow: 0.1}, {gone}
    for _ in range(4):  # whichever is asked first
        assert await fs.read_bytes("/f") == DATA[: 2 * BLOCK]


async def test_a_replica_that_was_too_slow_is_not_lost_because_the_other_is_corrupt(
    cluster: FakeCluster,
) -> None:
    fs = cluster.connect(hedge_seconds=0.01)
    await fs.write_bytes("/f", DATA[: 2 * BLOCK])
    sound, corrupt = (await fs.block_locations("/f"))[0].members
    cluster.corrupt(corrupt)
    cluster.slow, cluster.down = {sound: 0.05}, {sound}  # it fails beside the copy that is no good
    with pytest.raises(errors.UnavailableError):
        await fs.read_bytes("/f", timeout=0.3)
    cluster.slow, cluster.down = {}, set()
    assert await fs.read_bytes("/f") == DATA[: 2 * BLOCK]


async def test_truncated_while_being_read(stored: AsyncFileSystem) -> None:
    reader = await stored.open("/f", "rb", buffering=0)
    await stored.truncate("/f", 10 * BLOCK + 5)
    assert await reader.pread(len(DATA), 0) == DATA[: 10 * BLOCK + 5]
    await reader.close()


async def test_large_files_are_mapped_page_by_page(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs = cluster.connect()
    data = random.Random(1).randbytes(1500 * BLOCK)
    async with fs.open("/big", "wb") as f:
        await f.write(data)
    cluster.asked.clear()
    async with fs.open("/big", "rb", buffering=0) as f:
        assert await f.pread(BLOCK, 1400 * BLOCK) == data[1400 * BLOCK : 1401 * BLOCK]
        assert cluster.asked["GetBlocks"] == 1
        assert await f.read() == data
    assert cluster.asked["GetBlocks"] == 2


@pytest.mark.parametrize("seed", range(6))
async def test_a_handle_reads_what_it_has_written_ahead_of_itself(
    cluster: FakeCluster, fs: AsyncFileSystem, tmp_path: Path, seed: int
) -> None:
    """Beside a local file: reads that run ahead, writes before and behind them, jumps."""
    dice = random.Random(seed)
    content = dice.randbytes(100 * BLOCK)
    await fs.write_bytes("/f", content)
    (tmp_path / "f").write_bytes(content)
    cluster.slow = {1: 0.0005, 2: 0.0001}
    with (tmp_path / "f").open("r+b") as local:
        async with fs.open("/f", "r+b") as ours:
            for _ in range(300):
                match dice.choice("rrrrwws"):
                    case "r":
                        length = dice.randrange(1, 3 * BLOCK)
                        assert await ours.read(length) == local.read(length)
                    case "w":
                        here = local.tell()
                        at = max(0, here + dice.randrange(-BLOCK, 20 * BLOCK))
                        data = dice.randbytes(dice.choice((7, BLOCK, 5 * BLOCK)))
                        for place in (at, here):
                            await ours.seek(place)
                            local.seek(place)
                            if place == at:
                                assert await ours.write(data) == local.write(data)
                    case _:
                        place = dice.randrange(90 * BLOCK)
                        await ours.seek(place)
                        local.seek(place)
            await ours.seek(0)
            local.seek(0)
            assert await ours.read() == local.read()
