"""Copying ranges between files: nodes do it where they can, and the bytes are right in any case."""

from __future__ import annotations

import random

import pytest

from memfs import errors
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.writing import range_copy, writer
from memfs.protocol import messages as m
from tests.unit.client.fake_cluster import FakeCluster

BLOCK = 4096


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of any size are worth a message between nodes here."""
    monkeypatch.setattr(range_copy, "COPIED_FROM_BYTES", 100)


def pattern(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


async def copied(fs: AsyncFileSystem, length: int, source_offset: int = 0, offset: int = 0) -> int:
    """From /a into /b."""
    async with fs.open("/a", "rb") as source, fs.open("/b", "r+b") as target:
        return await target.copy_range(source, length, source_offset=source_offset, offset=offset)


@pytest.mark.parametrize(
    ("source_offset", "offset", "length"),
    [
        (0, 0, 10 * BLOCK),
        (0, 0, 3 * BLOCK),
        (BLOCK, 2 * BLOCK, 3 * BLOCK),
        (10, 10, 5 * BLOCK),
        (0, 77, 4 * BLOCK),
        (500, 0, 2 * BLOCK),
        (123, 4567, 3 * BLOCK + 11),
        (7 * BLOCK, 0, 9 * BLOCK),
        (8 * BLOCK + 100, 0, 5),
        (3, 20 * BLOCK + 5, 2 * BLOCK),
    ],
)
async def test_bytes_do_not_pass_the_client(
    fs: AsyncFileSystem, cluster: FakeCluster, source_offset: int, offset: int, length: int
) -> None:
    source, expected = pattern(8 * BLOCK + 100), bytearray(pattern(4 * BLOCK + 9, 2))
    await fs.write_bytes("/a", source)
    await fs.write_bytes("/b", bytes(expected))
    cluster.payload_bytes = cluster.read_bytes = 0
    done = await copied(fs, length, source_offset, offset)
    piece = source[source_offset : source_offset + length]
    assert done == len(piece)
    expected.extend(bytes(max(0, offset + len(piece) - len(expected))))
    expected[offset : offset + len(piece)] = piece
    assert cluster.read_bytes + cluster.payload_bytes <= 3 * BLOCK, "but for the odd ends"
    assert await fs.read_bytes("/b") == expected
    assert await fs.read_bytes("/a") == source


async def test_a_whole_file_takes_no_byte(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    await fs.write_bytes("/a", pattern(40 * BLOCK + 170))
    cluster.payload_bytes = cluster.read_bytes = 0
    await fs.copy("/a", "/b")
    assert (cluster.payload_bytes, cluster.read_bytes) == (0, 0)
    assert await fs.read_bytes("/b") == pattern(40 * BLOCK + 170)
    assert len(await fs.block_locations("/b")) == 41


async def test_holes_stay_holes(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    async with fs.open("/a", "wb") as file:
        await file.pwrite(pattern(BLOCK + 10), 3 * BLOCK)
        await file.truncate(9 * BLOCK)
    await fs.write_bytes("/b", pattern(7 * BLOCK, 2))
    before = sum(map(len, cluster.blocks.values()))
    assert await copied(fs, 9 * BLOCK) == 9 * BLOCK
    assert await fs.read_bytes("/b") == await fs.read_bytes("/a")
    assert sum(map(len, cluster.blocks.values())) == before - 2 * 5
    await fs.copy("/a", "/c")
    assert await fs.read_bytes("/c") == await fs.read_bytes("/a")


async def test_what_was_just_written_is_copied(fs: AsyncFileSystem) -> None:
    async with fs.open("/a", "w+b") as source, fs.open("/b", "wb") as target:
        expected = bytearray(pattern(2 * BLOCK + 5))
        await source.write(bytes(expected))
        assert await target.copy_range(source, 3 * BLOCK) == 2 * BLOCK + 5
        await target.pwrite(b"!", 1)
        expected[1:2] = b"!"
    assert await fs.read_bytes("/b") == expected


async def test_within_one_file(fs: AsyncFileSystem) -> None:
    expected = bytearray(pattern(6 * BLOCK))
    await fs.write_bytes("/a", bytes(expected))
    async with fs.open("/a", "r+b") as file:
        assert await file.copy_range(file, 2 * BLOCK + 7, source_offset=5, offset=3 * BLOCK) > 0
        expected[3 * BLOCK : 5 * BLOCK + 7] = expected[5 : 2 * BLOCK + 12]
        assert await file.copy_range(file, 500, source_offset=0, offset=600) == 500
        expected[600:1100] = expected[:500]
        with pytest.raises(errors.InvalidArgumentError, match="overlap"):
            await file.copy_range(file, 500, source_offset=0, offset=499)
        assert await file.pread(9 * BLOCK, 0) == expected
    assert await fs.read_bytes("/a") == expected


@pytest.mark.parametrize(
    "refusal",
    [
        errors.UnsupportedError("what is that?"),
        errors.UnavailableError("gone"),
        errors.CorruptBlockError("rotten"),
        errors.BlockNotFoundError("not here"),
        errors.NoSpaceError("full"),
    ],
)
async def test_what_nodes_refuse_goes_through_the_client(
    fs: AsyncFileSystem, cluster: FakeCluster, refusal: errors.MemfsError
) -> None:
    source = pattern(5 * BLOCK + 100)
    await fs.write_bytes("/a", source)
    await fs.write_bytes("/b", b"old")
    cluster.refuse[m.CopyRange] = refusal
    assert await copied(fs, 9 * BLOCK, 10, 1) == len(source) - 10
    assert await fs.read_bytes("/b") == b"o" + source[10:]
    await fs.copy("/a", "/c")
    assert await fs.read_bytes("/c") == source


async def test_a_node_that_is_gone_is_not_asked(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    source = pattern(8 * BLOCK)
    await fs.write_bytes("/a", source)
    await fs.write_bytes("/b", b"")
    cluster.lose(2)
    assert await copied(fs, 8 * BLOCK) == 8 * BLOCK
    assert await fs.read_bytes("/b") == source


async def test_a_source_that_changes_meanwhile(fs: AsyncFileSystem) -> None:
    await fs.write_bytes("/a", pattern(4 * BLOCK))
    await fs.write_bytes("/b", b"")
    async with fs.open("/a", "rb") as source, fs.open("/b", "r+b") as target:
        await source.read(1)
        async with fs.open("/a", "r+b") as changing:
            await changing.write(pattern(4 * BLOCK, 2))
        assert await target.copy_range(source, 4 * BLOCK) == 4 * BLOCK
    assert await fs.read_bytes("/b") == pattern(4 * BLOCK, 2)


async def test_a_long_copy_is_published_on_the_way(
    fs: AsyncFileSystem, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_copy, "PUBLISH_BLOCKS", 4)
    monkeypatch.setattr(writer, "PUBLISH_BLOCKS", 4)
    source = pattern(50 * BLOCK + 3)
    await fs.write_bytes("/a", source)
    await fs.write_bytes("/b", b"")
    cluster.asked.clear()
    await copied(fs, 99 * BLOCK)
    assert await fs.read_bytes("/b") == source
    assert cluster.asked["Commit"] > 5


@pytest.mark.parametrize(("length", "offset"), [(-1, 0), (5, -1)])
async def test_senseless_ranges(fs: AsyncFileSystem, length: int, offset: int) -> None:
    await fs.write_bytes("/a", b"x")
    await fs.write_bytes("/b", b"x")
    with pytest.raises(errors.InvalidArgumentError, match="negative"):
        await copied(fs, length, offset=offset)
    assert await copied(fs, 5, source_offset=9) == 0


@pytest.mark.parametrize("seed", range(15))
async def test_any_copies_between_files_of_other_block_sizes(
    cluster: FakeCluster, seed: int
) -> None:
    dice = random.Random(seed)
    fs = cluster.connect()
    contents: dict[str, bytearray] = {}
    for number, size in enumerate((BLOCK, 2 * BLOCK, 3 * BLOCK)):
        path = f"/{number}"
        contents[path] = bytearray(pattern(dice.randrange(9 * BLOCK), seed + number))
        async with fs.open(path, "wb", block_size=size) as file:
            await file.write(bytes(contents[path]))
    for _ in range(12):
        first, second = dice.sample(sorted(contents), 2)
        start, offset = dice.randrange(9 * BLOCK), dice.randrange(9 * BLOCK)
        length = dice.choice((50, 3000, BLOCK, 5 * BLOCK + 1))
        if dice.random() < 0.3:
            cluster.refuse[m.CopyRange] = errors.UnavailableError("gone")
        else:
            cluster.refuse.clear()
        async with fs.open(first, "rb") as source, fs.open(second, "r+b") as target:
            done = await target.copy_range(source, length, source_offset=start, offset=offset)
        piece = contents[first][start : start + length]
        assert done == len(piece)
        if piece:
            held = contents[second]
            held.extend(bytes(max(0, offset + len(piece) - len(held))))
            held[offset : offset + len(piece)] = piece
        assert await fs.read_bytes(second) == contents[second]
