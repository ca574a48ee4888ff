"""Copies of files that change meanwhile, and of holes."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from memfs import errors
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.handles.versions import PASSES
from memfs.protocol import messages as m
from tests.unit.client.fake_cluster import FakeCluster

BLOCK = 4096
DATA = random.Random(7).randbytes(12 * BLOCK + 99)
SIZE = 1 << 36


class Interrupted:
    """A sink; ``between`` runs before the write with a number that it takes."""

    def __init__(self, between: Callable[[int], Awaitable[object]]) -> None:
        self.data = bytearray()
        self.writes = 0
        self._between = between

    async def write(self, offset: int, data: memoryview) -> None:
        self.writes += 1
        await self._between(self.writes)
        self.data.extend(bytes(max(0, offset - len(self.data))))
        self.data[offset : offset + len(data)] = data

    async def truncate(self, size: int) -> None:
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))


async def copied(fs: AsyncFileSystem, sink: Interrupted) -> bytes:
    await fs.copy_into("/f", sink, piece=BLOCK)
    return bytes(sink.data)


async def test_a_copy_of_a_growing_file_has_the_length_of_its_beginning(
    cluster: FakeCluster, fs: AsyncFileSystem
) -> None:
    await fs.write_bytes("/f", DATA)
    writer = cluster.connect()

    async def grow(turn: int) -> None:
        async with writer.open("/f", "ab") as f:
            await f.write(b"more" * 300)

    sink = Interrupted(grow)
    assert await copied(fs, sink) == DATA
    assert sink.writes <= 15, "every append costs the last block again at most"


async def test_a_copy_is_of_one_version(cluster: FakeCluster, fs: AsyncFileSystem) -> None:
    await fs.write_bytes("/f", DATA)
    writer = cluster.connect()

    async def change(turn: int) -> None:
        if turn in (3, 9):
            async with writer.open("/f", "r+b") as f:
                for block in (1, 4, 8, 11):
                    await f.seek(block * BLOCK)
                    await f.write(bytes([turn]) * 10)

    data = await copied(fs, Interrupted(change))
    assert data == await fs.read_bytes("/f") and data != DATA


async def test_a_file_that_is_cut_is_copied_as_it_is_then(
    cluster: FakeCluster, fs: AsyncFileSystem
) -> None:
    await fs.write_bytes("/f", DATA)
    writer = cluster.connect()

    async def cut(turn: int) -> None:
        if turn == 3:
            await writer.truncate("/f", 5 * BLOCK + 1)

    assert await copied(fs, Interrupted(cut)) == DATA[: 5 * BLOCK + 1]


async def test_what_is_replaced_meanwhile_is_copied_anew(
    cluster: FakeCluster, fs: AsyncFileSystem
) -> None:
    await fs.write_bytes("/f", DATA)
    writer = cluster.connect()
    new = DATA[::-1]

    async def replace(turn: int) -> None:
        if turn == 4:
            await writer.write_bytes("/f", new)

    assert await copied(fs, Interrupted(replace)) in (DATA, new)


async def test_a_file_that_never_rests_is_given_up(
    cluster: FakeCluster, fs: AsyncFileSystem
) -> None:
    await fs.write_bytes("/f", DATA)
    writer = cluster.connect()

    async def change(turn: int) -> None:
        await writer.write_bytes("/f", bytes([turn % 256]) * len(DATA))

    sink = Interrupted(change)
    with pytest.raises(errors.BusyError, match="faster than it can be copied"):
        await copied(fs, sink)
    assert sink.writes <= 2 * PASSES * 14


async def sparse(fs: AsyncFileSystem) -> None:
    """64 GiB with data in three places."""
    async with fs.open("/f", "wb") as f:
        for at in (0, SIZE // 2 + 5, SIZE - BLOCK - 50):
            await f.seek(at)
            await f.write(b"data")
        await f.truncate(SIZE)


async def test_copies_keep_holes(cluster: FakeCluster, fs: AsyncFileSystem, tmp_path: Path) -> None:
    await sparse(fs)
    cluster.asked.clear()
    await fs.copy("/f", "/copy")
    there = tmp_path / "sparse"
    await fs.get("/f", there)
    await fs.put(there, "/back")
    assert cluster.payload_bytes < 20 * BLOCK and cluster.asked["GetBlocks"] < 50
    assert there.stat().st_size == SIZE and there.stat().st_blocks * 512 < 1 << 20
    for path in ("/copy", "/back"):
        async with fs.open(path, "rb") as f:
            assert await f.seek(0, os.SEEK_END) == SIZE
            for at in (0, SIZE // 2 + 5, SIZE - BLOCK - 50):
                await f.seek(at)
                assert await f.read(8) == b"data\0\0\0\0"


@pytest.mark.parametrize("size", [1 << 20, 1000])
async def test_the_local_file_that_shrinks_is_an_error(
    fs: AsyncFileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    local, real = tmp_path / "log", os.fstat
    local.write_bytes(bytes([1]) * size)

    def cut_after_the_look(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        if found.st_ino == local.stat().st_ino:
            os.truncate(local, 500)
        return found

    monkeypatch.setattr(os, "fstat", cut_after_the_look)
    with pytest.raises(OSError, match="shorter"):
        await fs.put(local, "/log")
    assert not await fs.exists("/log")


async def test_a_read_by_path_looks_again_when_the_file_is_replaced(
    cluster: FakeCluster, fs: AsyncFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fs.write_bytes("/f", DATA)
    writer, real, turns = cluster.connect(), fs._session.primary.call, 0

    async def replaced_after_the_answer(request: Any, *args: Any) -> Any:
        nonlocal turns
        answer = await real(request, *args)
        if isinstance(request, m.ReadMany | m.ReadFiles):
            turns += 1
            if turns <= 5:
                await writer.write_bytes("/f", bytes([turns]) * len(DATA))
        return answer

    monkeypatch.setattr(fs._session.primary, "call", replaced_after_the_answer)
    assert await fs.read_bytes("/f") == bytes([5]) * len(DATA)


@pytest.mark.parametrize("size", [100, 3 * BLOCK], ids=["in a batch", "alone"])
async def test_no_space_names_the_file_as_its_source_does(
    cluster: FakeCluster, fs: AsyncFileSystem, tmp_path: Path, size: int
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(bytes(size))
    await fs.mkdir("/t")
    cluster.full = set(cluster.blocks)
    with pytest.raises(errors.NoSpaceError) as caught:
        await fs.put(tmp_path, "/t/new", return_errors=True)
    assert caught.value.filename in {str(tmp_path / "a"), str(tmp_path / "b")}
