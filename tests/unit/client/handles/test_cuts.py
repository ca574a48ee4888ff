"""Blocks that are cut and written again under one lease: nothing of what was there comes back.

Versions of a lease are told apart by their sequence, so a copy that a node kept is never taken for
a later one; here it is the client that must not believe what it knew before.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from memfs import limits
from memfs.client.calls import modes
from memfs.client.handles.handle import Handle
from memfs.client.reading import block_map
from memfs.protocol import messages as m
from tests.unit.client.fake_cluster import FakeCluster, Gate

BLOCK = 4096
OLD, NEW = b"o" * 40 * BLOCK, b"new bytes"
AT = 20 * BLOCK + 100


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_map, "PAGE", 16)


@pytest.fixture(params=[False, True], ids=["forgotten", "kept by nodes"])
def cluster(request: pytest.FixtureRequest) -> FakeCluster:
    cluster = FakeCluster()
    cluster.stale = request.param
    return cluster


async def opened(cluster: FakeCluster) -> Handle:
    """The old content, by a client that knows little of it."""
    await cluster.connect().write_bytes("/f", OLD)
    return await cluster.connect().open_handle("/f", modes.parse("r+b"))


@pytest.mark.parametrize("size", [0, 5 * BLOCK, 20 * BLOCK])
@pytest.mark.parametrize("when", ["before the commit", "after the commit"])
async def test_a_block_map_that_arrives_late_brings_nothing_back(
    cluster: FakeCluster, size: int, when: str
) -> None:
    """A read that overlaps the truncation had asked for the blocks before."""
    handle = await opened(cluster)
    asked, committed = Gate(), Gate()
    cluster.late[m.GetBlocks] = asked
    reading = asyncio.create_task(handle.read(AT, 10))
    await asked.reached.wait()
    del cluster.late[m.GetBlocks]
    if when == "before the commit":
        cluster.late[m.Commit] = committed
        truncating = asyncio.create_task(handle.truncate(size))
        await committed.reached.wait()
        asked.opened.set()
        await asyncio.wait([reading])
        committed.opened.set()
        del cluster.late[m.Commit]
        await truncating
    else:
        await handle.truncate(size)
        asked.opened.set()
        await asyncio.wait([reading])
    await handle.write(AT, memoryview(NEW))
    expected = OLD[:size].ljust(AT, b"\0") + NEW
    assert await handle.read(0, -1) == expected
    await handle.close()
    assert await cluster.connect().read_bytes("/f") == expected


async def test_what_is_asked_while_a_commit_cuts_brings_nothing_back(cluster: FakeCluster) -> None:
    """The primary still has all blocks: only the writer knows what it is about to cut."""
    handle = await opened(cluster)
    cluster.held[m.Commit] = Gate()
    truncating = asyncio.create_task(handle.truncate(BLOCK))
    await cluster.held[m.Commit].reached.wait()
    deadline = asyncio.get_running_loop().time() + 5
    expected = block_map.hole(handle.file.attributes.inode, 20)
    assert await handle.file.ref(20, deadline) == expected
    cluster.held[m.Commit].opened.set()
    await truncating
    await handle.write(AT, memoryview(NEW))
    await handle.close()
    assert await cluster.connect().read_bytes("/f") == OLD[:BLOCK].ljust(AT, b"\0") + NEW


@pytest.mark.parametrize("seed", range(12))
async def test_random_changes_and_cuts_under_one_lease(
    cluster: FakeCluster, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partial writes, copies made by nodes, holes, cuts and flushes, beside plain bytes."""
    monkeypatch.setattr("memfs.client.writing.range_copy.COPIED_FROM_BYTES", 1)
    dice = random.Random(seed)
    fs = cluster.connect()
    other = bytes(dice.randrange(1, 256) for _ in range(6 * BLOCK))
    await fs.write_bytes("/s", other)
    source = await fs.open_handle("/s", modes.parse("rb"))
    handle, model = await opened(cluster), bytearray(OLD)
    for _ in range(120):
        at, length = dice.randrange(45 * BLOCK), dice.randrange(1, 3 * BLOCK)
        match dice.choice(("write", "copy", "cut", "hole", "flush", "read")):
            case "write":
                data = dice.randbytes(length)
                await handle.write(at, memoryview(data))
                model[len(model) :] = bytes(max(0, at + length - len(model)))
                model[at : at + length] = data
            case "copy":
                start = dice.randrange(3 * BLOCK)
                await handle.copy_range(source, start, at, length)
                model[len(model) :] = bytes(max(0, at + length - len(model)))
                model[at : at + length] = other[start : start + length]
            case "cut":
                size = min(at, len(model)) if dice.random() < 0.8 else at
                await handle.truncate(size)
                model[size:] = bytes(max(0, size - len(model)))
            case "hole":
                await handle.zero(at, length)
                end = min(at + length, len(model))
                model[at:end] = bytes(max(0, end - at))
            case "flush":
                await handle.flush()
            case "read":
                assert await handle.read(at, length) == model[at : at + length]
    await handle.close()
    assert await cluster.connect().read_bytes("/f") == bytes(model)


async def test_the_records_of_one_page_are_of_one_version(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader's: the file is written anew while the second record of a page is under way."""
    await cluster.connect().write_bytes("/f", OLD)
    writer = await cluster.connect().open_handle("/f", modes.parse("r+b"))
    monkeypatch.setattr(limits, "BLOCKS_PER_RECORD", 8)
    handle = await cluster.connect().open_handle("/f", modes.parse("rb"))
    deadline = asyncio.get_running_loop().time() + 5
    cluster.held[m.GetBlocks] = first = Gate()
    looking = asyncio.create_task(handle.file.ref(20, deadline))
    await first.reached.wait()
    cluster.held[m.GetBlocks] = second = Gate()
    first.opened.set()
    await second.reached.wait()
    del cluster.held[m.GetBlocks]
    await writer.write(0, memoryview(b"n" * 40 * BLOCK))
    await writer.close()
    second.opened.set()
    await looking
    assert await handle.read(20 * BLOCK, BLOCK) == b"n" * BLOCK
