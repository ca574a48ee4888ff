"""Reads of a file that others change all the time: they end, and no bytes are a mixture."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from memfs.client.aiofiles import AsyncFile
from memfs.client.filesystem import AsyncFileSystem
from tests.unit.client.fake_cluster import FakeCluster

BLOCK = 4096
DATA = random.Random(7).randbytes(4 * BLOCK + 99)
MORE = b"more"
CHANGES = 3000
"""After so many changes the reader counts as one that never catches up."""


@contextlib.asynccontextmanager
async def changing(change: Callable[[int], Awaitable[object]]) -> AsyncIterator[list[int]]:
    """``change`` again and again while the block runs; yields the list of what was done."""
    done: list[int] = []
    begun = asyncio.Event()

    async def work() -> None:
        while len(done) < CHANGES:
            await change(len(done))
            done.append(len(done))
            begun.set()

    task = asyncio.create_task(work())
    try:
        await begun.wait()
        yield done
        assert not task.done(), "the reader ended because nothing changed any more"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def appended(file: AsyncFile) -> None:
    await file.write(MORE)
    await file.flush()


READS: dict[str, Callable[[AsyncFileSystem], Awaitable[bytes]]] = {}


def a_read(call: Callable[[AsyncFileSystem], Awaitable[bytes]]) -> None:
    READS[call.__name__] = call


@a_read
async def read(fs: AsyncFileSystem) -> bytes:
    async with fs.open("/f", "rb", buffering=0) as file:
        return await file.read()


@a_read
async def read_in_pieces(fs: AsyncFileSystem) -> bytes:
    async with fs.open("/f", "rb", buffering=0) as file:
        return b"".join([await file.read(5000) for _ in range(len(DATA) // 5000)])


@a_read
async def readinto(fs: AsyncFileSystem) -> bytes:
    async with fs.open("/f", "rb", buffering=0) as file:
        into = bytearray(len(DATA))
        return bytes(into[: await file.readinto(into)])


@a_read
async def view(fs: AsyncFileSystem) -> bytes:
    async with fs.open("/f", "rb", buffering=0) as file:
        return bytes(await file.view())


@a_read
async def read_bytes(fs: AsyncFileSystem) -> bytes:
    return await fs.read_bytes("/f")


@a_read
async def read_many(fs: AsyncFileSystem) -> bytes:
    content: bytes = (await fs.read_many(["/f"]))[0]
    return content


@a_read
async def read_ranges(fs: AsyncFileSystem) -> bytes:
    content: bytes = (await fs.read_ranges([("/f", 0, len(DATA))]))[0]
    return content


@pytest.mark.parametrize("name", READS)
async def test_a_read_of_a_file_that_grows_all_the_time_ends(
    cluster: FakeCluster, fs: AsyncFileSystem, name: str
) -> None:
    await fs.write_bytes("/f", DATA)
    async with (
        cluster.connect().open("/f", "ab") as writer,
        changing(lambda turn: appended(writer)),
    ):
        got = await READS[name](fs)
    whole = DATA + MORE * CHANGES
    assert got == whole[: len(got)] and len(got) >= len(DATA) // 5000 * 5000


async def test_a_read_of_what_is_rewritten_all_the_time_is_of_one_moment(
    cluster: FakeCluster, fs: AsyncFileSystem
) -> None:
    await fs.write_bytes("/f", bytes(len(DATA)))
    async with cluster.connect().open("/f", "r+b") as writer:

        async def rewrite(turn: int) -> None:
            await writer.pwrite(bytes([turn % 251]) * len(DATA), 0)
            await writer.flush()
            for _ in range(200):  # long enough for a read, not for two
                await asyncio.sleep(0)

        async with changing(rewrite), fs.open("/f", "rb", buffering=0) as file:
            for _ in range(5):
                assert len(set(await file.pread(len(DATA), 0))) == 1
