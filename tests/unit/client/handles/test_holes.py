"""Holes: punched into files, found by seeking, and what they cost."""

from __future__ import annotations

import errno
import os
import random

import pytest

from memfs.client.filesystem import AsyncFileSystem
from tests.unit.client.fake_cluster import FakeCluster

BLOCK = 4096
SIZE = 6 * BLOCK + 100


def pattern(size: int) -> bytes:
    return bytes(1 + at % 255 for at in range(size))


def stored(cluster: FakeCluster) -> int:
    """Versions on all members."""
    return sum(map(len, cluster.blocks.values()))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, BLOCK),
        (BLOCK, 3 * BLOCK),
        (0, SIZE),
        (0, 10 * SIZE),
        (100, 200),
        (100, BLOCK),
        (100, BLOCK + 1),
        (BLOCK - 1, 3 * BLOCK + 1),
        (BLOCK, BLOCK + 1),
        (2 * BLOCK + 7, SIZE),
        (5 * BLOCK, SIZE - 1),
        (6 * BLOCK, SIZE),
        (6 * BLOCK + 50, SIZE),
        (SIZE, SIZE + BLOCK),
    ],
)
async def test_a_punched_range_reads_as_zeros(
    fs: AsyncFileSystem, cluster: FakeCluster, start: int, end: int
) -> None:
    expected = bytearray(pattern(SIZE))
    await fs.write_bytes("/f", bytes(expected))
    async with fs.open("/f", "r+b") as file:
        await file.punch_hole(start, end - start)
        expected[start:end] = bytes(max(0, min(end, SIZE) - start))
        assert await file.read() == expected
    assert await fs.read_bytes("/f") == expected
    whole = sum(
        start <= at * BLOCK < SIZE and end >= min((at + 1) * BLOCK, SIZE) for at in range(7)
    )
    assert stored(cluster) == 2 * (7 - whole)


async def test_only_zeros_between_stored_bytes_travel(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_bytes("/f", pattern(SIZE))
    async with fs.open("/f", "r+b", buffering=0) as file:
        cluster.payload_bytes = 0
        await file.punch_hole(10, 4 * BLOCK)
        await file.flush()
    assert cluster.payload_bytes == 10  # of the block that the range ends in


async def test_what_is_gathered_or_stored_is_punched_too(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    async with fs.open("/f", "w+b") as file:
        await file.write(pattern(3 * BLOCK))
        await file.pwrite(b"end", 5 * BLOCK)
        await file.punch_hole(BLOCK // 2, 5 * BLOCK)
        expected = bytearray(5 * BLOCK + 3)
        expected[: BLOCK // 2] = pattern(BLOCK // 2)
        assert await file.pread(SIZE, 0) == expected
        await file.pwrite(b"again", 2 * BLOCK + 5)
        expected[2 * BLOCK + 5 : 2 * BLOCK + 10] = b"again"
    assert await fs.read_bytes("/f") == expected
    assert stored(cluster) == 2 * 2


async def test_a_huge_hole_is_published_in_parts(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    await fs.write_bytes("/f", pattern(700 * BLOCK))
    async with fs.open("/f", "r+b") as file:
        await file.punch_hole(0, 699 * BLOCK)
    assert await fs.read_bytes("/f") == bytes(699 * BLOCK) + pattern(700 * BLOCK)[-BLOCK:]
    assert stored(cluster) == 2


async def test_zeroing_may_let_the_file_grow(fs: AsyncFileSystem) -> None:
    await fs.write_bytes("/f", pattern(10))
    async with fs.open("/f", "r+b") as file:
        await file._handle.zero(4, 2 * BLOCK, grow=True)
        await file._handle.zero(1, 1, grow=True)
    assert await fs.read_bytes("/f") == b"\1\0\3\4" + bytes(2 * BLOCK)


@pytest.mark.parametrize(("offset", "length"), [(-1, 5), (0, 0), (3, -1)])
async def test_senseless_ranges(fs: AsyncFileSystem, offset: int, length: int) -> None:
    async with fs.open("/f", "wb") as file:
        with pytest.raises(ValueError, match="range"):
            await file.punch_hole(offset, length)


# --- seeking -------------------------------------------------------------------------------------


async def test_seeking_data_and_holes(fs: AsyncFileSystem) -> None:
    async with fs.open("/f", "w+b") as file, fs.open("/f", "rb") as reader:
        await file.pwrite(b"x" * 10, 2 * BLOCK)
        await file.pwrite(pattern(BLOCK), 3 * BLOCK)
        await file.truncate(6 * BLOCK)
        for look in (file, reader):
            assert await look.seek(0, os.SEEK_HOLE) == 0
            assert await look.seek(0, os.SEEK_DATA) == 2 * BLOCK == look.tell()
            assert await look.seek(2 * BLOCK + 3, os.SEEK_DATA) == 2 * BLOCK + 3
            assert await look.seek(2 * BLOCK + 3, os.SEEK_HOLE) == 2 * BLOCK + 10
            assert await look.seek(2 * BLOCK + 10, os.SEEK_DATA) == 3 * BLOCK
            assert await look.seek(3 * BLOCK, os.SEEK_HOLE) == 4 * BLOCK
            assert await look.seek(6 * BLOCK - 1, os.SEEK_HOLE) == 6 * BLOCK - 1
            for offset, whence in ((4 * BLOCK, os.SEEK_DATA), (6 * BLOCK, os.SEEK_HOLE)):
                with pytest.raises(OSError, match="no data or hole") as raised:
                    await look.seek(offset, whence)
                assert raised.value.errno == errno.ENXIO
    await fs.write_bytes("/g", pattern(BLOCK + 7))
    async with fs.open("/g", "rb") as file:
        assert await file.seek(3, os.SEEK_HOLE) == BLOCK + 7


async def test_a_reader_sees_where_data_is_now(fs: AsyncFileSystem) -> None:
    await fs.write_bytes("/f", pattern(3 * BLOCK))
    reader = await fs.open("/f", "rb")
    async with fs.open("/f", "r+b") as file:
        await file.punch_hole(0, BLOCK)
        assert await file.seek(0, os.SEEK_DATA) == BLOCK
    assert await reader.seek(0, os.SEEK_DATA) == BLOCK
    await reader.close()


@pytest.mark.parametrize("seed", range(20))
async def test_any_changes_and_looks(fs: AsyncFileSystem, seed: int) -> None:
    dice, expected = random.Random(seed), bytearray()
    async with fs.open("/f", "w+b", buffering=0) as file:
        for _ in range(60):
            offset = dice.randrange(5 * BLOCK)
            length = dice.choice((1, 100, BLOCK, 2 * BLOCK + 1))
            kind = dice.choice(("write", "write", "zero", "zero", "cut", "flush", "grow"))
            if kind == "write":
                await file.pwrite(b"\7" * length, offset)
                expected.extend(bytes(max(0, offset + length - len(expected))))
                expected[offset : offset + length] = b"\7" * length
            elif kind in ("zero", "grow"):
                await file._handle.zero(offset, length, grow=kind == "grow")
                if kind == "grow":
                    expected.extend(bytes(max(0, offset + length - len(expected))))
                end = min(offset + length, len(expected))
                expected[offset:end] = bytes(max(0, end - offset))
            elif kind == "cut":
                await file.truncate(offset)
                expected.extend(bytes(max(0, offset - len(expected))))
                del expected[offset:]
            else:
                await file.flush()
            assert await file.pread(8 * BLOCK, 0) == expected
            await check_map(file, expected)
    assert await fs.read_bytes("/f") == expected


async def check_map(file: object, expected: bytearray) -> None:
    """Holes hold zeros only, and data and holes follow one another to the end."""
    at, size = 0, len(expected)
    while at < size:
        hole = await file._handle.hole_from(at)  # type: ignore[attr-defined]
        data = await file._handle.data_from(at)  # type: ignore[attr-defined]
        assert hole is not None and at in (hole, data)
        end = size if data is None else data
        assert not any(expected[at:end])
        at = hole if data == at else end
