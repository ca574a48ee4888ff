"""Ranges of many files: what they say, how few requests they take, and what failures do."""

from __future__ import annotations

import asyncio
import random

import pytest

from memfs import errors
from memfs.client.filesystem import AsyncFileSystem
from tests.unit.client.fake_cluster import FakeCluster, Gate

CONTENTS = {f"/f{size}": random.Random(size).randbytes(size) for size in (0, 1, 4096, 50_000)}


@pytest.fixture
async def fs(cluster: FakeCluster) -> AsyncFileSystem:
    fs = cluster.connect()
    for path, content in CONTENTS.items():
        await fs.write_bytes(path, content)
    return fs


async def test_they_are_pythons_slices(fs: AsyncFileSystem) -> None:
    dice = random.Random(1)
    places = (None, 0, 1, 4095, 4096, 4097, 49_999, 50_000, 99_999, -1, -4096, -60_000)
    ranges = [
        (dice.choice(list(CONTENTS)), dice.choice(places), dice.choice(places)) for _ in range(300)
    ]
    expected = [CONTENTS[path][start:stop] for path, start, stop in ranges]
    assert await fs.read_ranges(ranges) == expected
    assert await fs.read_ranges([]) == []


async def test_small_ones_take_few_requests(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    cluster.asked.clear()
    ranges = [("/f50000", at, at + 100) for at in range(0, 49_000, 300)]
    assert await fs.read_ranges(ranges) == [CONTENTS["/f50000"][a:b] for _, a, b in ranges]
    crossing = sum(a // 4096 != (b - 1) // 4096 for _, a, b in ranges)
    assert cluster.asked["ReadFiles"] == 1 and cluster.asked["ReadBlocks"] <= 3
    assert cluster.asked["ReadBlock"] == 2 * crossing < 10


async def test_holes_are_zeros(fs: AsyncFileSystem) -> None:
    async with fs.open("/sparse", "wb") as file:
        await file.write(b"begin")
        await file.seek(20_000)
        await file.write(b"end")
    ranges = [("/sparse", 0, 10), ("/sparse", 9000, 9004), ("/sparse", 19_998, None)]
    assert await fs.read_ranges(ranges) == [b"begin" + bytes(5), bytes(4), b"\0\0end"]


async def test_errors_take_their_own_places(fs: AsyncFileSystem) -> None:
    ranges = [("/f1", 0, 1), ("/none", 0, 1), ("/", 0, 1), ("/x" * 3000, 0, 1), ("/none", 5, 6)]
    found = await fs.read_ranges(ranges, return_errors=True)
    assert found[0] == CONTENTS["/f1"]
    kinds = [FileNotFoundError, IsADirectoryError, OSError, FileNotFoundError]
    assert all(isinstance(each, kind) for each, kind in zip(found[1:], kinds, strict=True))
    assert found[1].filename == "/none"
    with pytest.raises(FileNotFoundError):
        await fs.read_ranges(ranges[:2])


async def test_other_copies_stand_in(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    ranges = [("/f50000", at, at + 50) for at in range(0, 49_000, 1000)]
    expected = [CONTENTS["/f50000"][a:b] for _, a, b in ranges]
    for number in (1, 2, 3):
        cluster.corrupt(number)
        assert await fs.read_ranges(ranges) == expected
        cluster.corrupt(number)
    cluster.down.add(2)
    assert await fs.read_ranges(ranges) == expected
    cluster.down.add(3)
    with pytest.raises(errors.UnavailableError):
        await fs.read_ranges(ranges, timeout=0.01)


async def test_of_one_file_they_are_of_one_version(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    """It is replaced by name, or written in place, between the look and the read."""
    ranges = [("/f50000", at, at + 50) for at in range(0, 49_000, 1000)]
    other = cluster.connect()
    for number, change in enumerate((replace, rewrite), 1):
        gate = cluster.gate = Gate()
        reading = asyncio.create_task(fs.read_ranges(ranges))
        await gate.reached.wait()
        cluster.gate = None  # for the change
        await change(other, bytes([number]) * 50_000)
        gate.opened.set()
        assert set(await reading) == {bytes([number]) * 50}


async def replace(fs: AsyncFileSystem, content: bytes) -> None:
    await fs.write_bytes("/f50000", content)


async def rewrite(fs: AsyncFileSystem, content: bytes) -> None:
    async with fs.open("/f50000", "r+b") as file:
        await file.write(content)
