"""Whole files that are written out of sight: readers see the old content or the new one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from memfs import errors
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.writing import writer
from tests.unit.client.fake_cluster import FakeCluster

BLOCK = 4096
OLD, NEW = b"o" * 10 * BLOCK, b"n" * 20 * BLOCK


def held(cluster: FakeCluster) -> int:
    """Bytes on all nodes."""
    return sum(len(data) for blocks in cluster.blocks.values() for data in blocks.values())


async def test_a_file_appears_when_the_block_ends_well(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_bytes("/f", OLD)
    async with fs.replacing("/f", permissions=0o600) as draft:
        await draft.write(None, memoryview(NEW))
        await draft.flush()
        assert await fs.read_bytes("/f") == OLD
        assert await fs.listdir("/") == ["f"]
    assert await fs.read_bytes("/f") == NEW
    assert held(cluster) == 2 * len(NEW)
    assert not cluster.namespace.sessions


@pytest.mark.parametrize("flushed", [False, True])
async def test_a_draft_that_fails_changes_nothing(
    fs: AsyncFileSystem, cluster: FakeCluster, flushed: bool
) -> None:
    await fs.write_bytes("/f", OLD)
    with pytest.raises(ZeroDivisionError):
        async with fs.replacing("/f") as draft:
            await draft.write(None, memoryview(NEW))
            if flushed:
                await draft.flush()
            raise ZeroDivisionError
    assert await fs.read_bytes("/f") == OLD
    assert not cluster.namespace.sessions


async def test_what_breaks_off_a_whole_write_changes_nothing(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_bytes("/f", OLD)
    cluster.full = set(cluster.blocks)
    with pytest.raises(errors.NoSpaceError):
        await fs.write_bytes("/f", NEW)
    cluster.full = set()
    cluster.slow = dict.fromkeys(cluster.blocks, 0.01)
    task = asyncio.create_task(fs.write_bytes("/f", bytearray(NEW)))
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await fs.read_bytes("/f") == OLD
    assert not cluster.namespace.sessions


async def test_a_file_with_further_names_is_replaced_in_one_step_too(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_bytes("/f", b"old")
    await fs.link("/f", "/g")
    for content in (NEW, b"small"):
        await fs.write_bytes("/f", content)
        assert await fs.read_bytes("/g") == content
    assert "Create" not in cluster.asked
    async with fs.open("/g", "ab") as f:
        await f.write(b" and more")
    assert await fs.read_bytes("/f") == b"small and more"


async def test_a_draft_of_many_blocks_is_published_once(
    fs: AsyncFileSystem, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PUBLISH_BLOCKS", 8)
    monkeypatch.setattr("memfs.client.reading.block_map.PAGE", 16)
    content = bytes(range(256)) * 16 * 50 + b"tail"
    async with fs.replacing("/f") as draft:
        for at in range(0, len(content), 1000):
            await draft.write(None, memoryview(bytearray(content[at : at + 1000])))
    assert cluster.asked["Commit"] > 3 and cluster.asked["PublishDraft"] == 1
    assert await fs.read_bytes("/f") == content


async def test_its_writer_reads_a_draft_back_from_the_nodes(
    fs: AsyncFileSystem, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is published, whatever of it was committed meanwhile; nobody else can."""
    monkeypatch.setattr(writer, "PUBLISH_BLOCKS", 8)
    monkeypatch.setattr("memfs.client.reading.block_map.PAGE", 16)
    content = bytes(range(256)) * 16 * 50 + b"tail"
    async with fs.replacing("/f") as draft:
        await draft.write(None, memoryview(bytearray(content)))
        assert await draft.read(0, -1) == content
        assert await draft.read(3 * BLOCK - 5, 10) == content[3 * BLOCK - 5 : 3 * BLOCK + 5]
        await draft.write(5, memoryview(b"changed"))
        assert await draft.read(0, 20) == content[:5] + b"changed" + content[12:20]
        for blocks in cluster.blocks.values():
            for version in blocks:
                blocks[version] = bytes(len(blocks[version]))  # not what was written
        with pytest.raises(errors.MemfsError):
            await draft.read(BLOCK, BLOCK)
        assert await fs.listdir("/") == []


async def test_an_empty_draft(fs: AsyncFileSystem) -> None:
    async with fs.replacing("/f"):
        pass
    assert await fs.read_bytes("/f") == b""


async def test_a_copy_is_not_published_when_its_source_has_changed(fs: AsyncFileSystem) -> None:
    await fs.write_bytes("/s", OLD)
    with pytest.raises(errors.StaleHandleError):
        async with fs.replacing("/f") as draft:
            draft.made_from((await fs.stat("/s")).attributes)
            await draft.write(None, memoryview(OLD))
            async with fs.open("/s", "ab") as f:
                await f.write(b"more")
    assert not await fs.exists("/f")


async def test_the_newest_writer_wins_where_that_is_asked_for(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    other = await cluster.connect().open("/f", "wb")
    with pytest.raises(errors.LeaseHeldError):
        async with fs.replacing("/f"):
            pass
    async with fs.replacing("/f", recover=True) as draft:
        await draft.write(None, memoryview(NEW))
    assert await fs.read_bytes("/f") == NEW
    await other.write(b"late")
    with pytest.raises(errors.StaleHandleError):
        await other.close()


LARGE = bytes(200_000)
REPLACING: dict[str, Callable[[AsyncFileSystem, Path], Awaitable[object]]] = {
    "write_bytes, small": lambda fs, _: fs.write_bytes("/f", b"new", recover=True),
    "write_bytes, large": lambda fs, _: fs.write_bytes("/f", LARGE, recover=True),
    "write_text": lambda fs, _: fs.write_text("/f", "new", recover=True),
    "write_many": lambda fs, _: fs.write_many({"/a": b"a", "/f": b"new"}, recover=True),
    "copy": lambda fs, _: fs.copy("/s", "/f", recover=True),
    "put, small": lambda fs, tmp: fs.put(local(tmp, b"new"), "/f", recover=True),
    "put, large": lambda fs, tmp: fs.put(local(tmp, LARGE), "/f", recover=True),
    "open": lambda fs, _: emptied(fs),
    "truncate": lambda fs, _: fs.truncate("/f", 1, recover=True),
}


async def emptied(fs: AsyncFileSystem) -> None:
    async with fs.open("/f", "wb", recover=True):
        pass


def local(directory: Path, data: bytes) -> Path:
    (directory / "f").write_bytes(data)
    return directory / "f"


@pytest.mark.parametrize("act", REPLACING.values(), ids=REPLACING)
async def test_every_replacement_can_end_the_lease_of_another(
    fs: AsyncFileSystem,
    cluster: FakeCluster,
    tmp_path: Path,
    act: Callable[[AsyncFileSystem, Path], Awaitable[object]],
) -> None:
    await fs.write_bytes("/s", OLD)
    other = await cluster.connect().open("/f", "wb")
    await other.write(b"flushed")
    await other.flush()
    await act(fs, tmp_path)
    assert await fs.read_bytes("/f") != b"flushed"
    await other.write(b"late")
    with pytest.raises((errors.StaleHandleError, errors.LeaseLostError)):
        await other.close()


async def test_without_it_the_other_writer_stays(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    async with cluster.connect().open("/f", "wb") as other:
        for data in (b"new", LARGE):
            with pytest.raises(errors.LeaseHeldError):
                await fs.write_bytes("/f", data)
        with pytest.raises(errors.LeaseHeldError):
            await fs.open("/f", "wb")
        await other.write(b"mine")
    assert await fs.read_bytes("/f") == b"mine"
