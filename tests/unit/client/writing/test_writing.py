"""What writers do when nodes fail, fill up or leave."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from memfs import errors
from memfs.client.filesystem import AsyncFileSystem
from memfs.protocol import messages as m
from memfs.testing.simulation import virtual
from tests.unit.client.fake_cluster import FakeCluster, Gate

BLOCK = 4096
DATA = random.Random(6).randbytes(12 * BLOCK + 99)


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_block_goes_to_other_nodes_when_one_fails(
    fs: AsyncFileSystem, cluster: FakeCluster, number: int
) -> None:
    cluster.down = {number}
    async with fs.open("/f", "wb") as f:
        await f.write(DATA)
    await fs.write_bytes("/small", b"abc")
    for path in ("/f", "/small"):
        for location in await fs.block_locations(path):
            assert len(location.members) == 2 and number not in location.members
    cluster.down.clear()
    assert await fs.read_bytes("/f") == DATA


async def test_blocks_are_appended_in_pieces(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    async with fs.open("/f", "wb", buffering=0) as f:
        handle = f._handle
        for at in range(0, 12 * BLOCK, BLOCK):
            cluster.down = {1 + at // BLOCK % 3}
            edges = (at, at + 1, at + 1000, at + BLOCK)
            pieces = [memoryview(DATA)[a:b] for a, b in itertools.pairwise(edges)]
            await handle.append_block(tuple(pieces))
        await handle.write(None, memoryview(DATA[12 * BLOCK :]))
        with pytest.raises(AssertionError, match="not a block in its place"):
            await handle.append_block((DATA[:BLOCK],))
    cluster.down.clear()
    assert await fs.read_bytes("/f") == DATA


async def test_a_full_node_is_avoided(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    cluster.full = {3}
    await fs.write_bytes("/f", DATA)
    assert await fs.read_bytes("/f") == DATA
    cluster.full = {2, 3}
    with pytest.raises(errors.NoSpaceError) as caught:
        await fs.write_bytes("/g", DATA)
    assert caught.value.filename == "/g"
    with pytest.raises(errors.NoSpaceError):
        await fs.write_bytes("/g", b"small")


async def test_never_fewer_copies_while_the_view_has_more_nodes(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    cluster.down = {2, 3}
    with pytest.raises(errors.UnavailableError):
        await fs.write_bytes("/f", b"abc", timeout=0.05)
    cluster.lose(2)
    cluster.lose(3)
    await fs.write_bytes("/f", b"abc")
    assert (await fs.block_locations("/f"))[0].members == (1,)


async def test_an_append_survives_the_loss_of_the_bases_nodes(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_bytes("/f", b"x" * 1000)
    holder = (await fs.block_locations("/f"))[0].members[1]
    f = await fs.open("/f", "ab")
    cluster.lose(holder)
    await f.write(b"y" * 1000)
    await f.close()
    assert await fs.read_bytes("/f") == b"x" * 1000 + b"y" * 1000
    location = (await fs.block_locations("/f"))[0]
    assert len(location.members) == 2 and holder not in location.members


async def test_an_update_survives_a_node_that_is_down(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_bytes("/f", DATA)
    for number in cluster.blocks:
        cluster.down = {number}
        async with fs.open("/f", "r+b") as f:
            await f.seek(5)
            await f.write(bytes([number]))
    cluster.down.clear()
    assert await fs.read_bytes("/f") == DATA[:5] + b"\x03" + DATA[6:]


async def test_blocks_that_came_by_concat_are_rewritten(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_bytes("/a", DATA[: 2 * BLOCK])
    await fs.write_bytes("/b", DATA[2 * BLOCK :])
    await fs.concat("/a", ["/b"])
    assert await fs.read_bytes("/a") == DATA
    async with fs.open("/a", "r+b") as f:
        await f.seek(3 * BLOCK)
        await f.write(b"new")
    assert await fs.read_bytes("/a") == DATA[: 3 * BLOCK] + b"new" + DATA[3 * BLOCK + 3 :]
    async with fs.open("/a", "ab") as f:
        await f.write(b"tail")
    assert (await fs.read_bytes("/a"))[-103:] == DATA[-99:] + b"tail"


async def test_a_long_stream_publishes_on_the_way(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    data = random.Random(8).randbytes(1100 * BLOCK)
    async with fs.open("/f", "wb") as f:
        for at in range(0, len(data), 50 * BLOCK):
            await f.write(data[at : at + 50 * BLOCK])
        await f.seek(7)
        await f.write(b"seven")
    assert cluster.asked["Commit"] == 3
    assert await fs.read_bytes("/f") == data[:7] + b"seven" + data[12:]


def test_a_slow_stream_is_published_in_time() -> None:
    async def story() -> None:
        cluster = FakeCluster()
        fs = cluster.connect()
        f = await fs.open("/f", "w+b", buffering=0)
        await f.write(DATA[:100])
        await asyncio.sleep(60)
        assert cluster.asked["Commit"] == 0, "nothing lies on a node that could be lost"
        await f.write(DATA[100 : 2 * BLOCK + 5])
        await asyncio.sleep(60)
        assert cluster.asked["Commit"] == 1
        assert await fs.read_bytes("/f") == DATA[: 2 * BLOCK], "whole blocks, nothing else"
        await f.seek(0)
        assert await f.read() == DATA[: 2 * BLOCK + 5]
        await f.write(DATA[2 * BLOCK + 5 : 2 * BLOCK + 9])
        await asyncio.sleep(60)
        assert await fs.read_bytes("/f") == DATA[: 2 * BLOCK + 5], "what that read had stored"
        await f.write(DATA[2 * BLOCK + 9 :])
        await f.close()
        assert await fs.read_bytes("/f") == DATA
        await asyncio.sleep(60)
        assert cluster.asked["Commit"] == 3

    virtual.run(story())


def test_what_cannot_be_published_now_is_published_later() -> None:
    async def story() -> None:
        cluster = FakeCluster()
        fs = cluster.connect()
        f = await fs.open("/f", "wb", buffering=0)
        await f.write(DATA[:BLOCK])
        cluster.headless = True
        await asyncio.sleep(120)
        assert cluster.asked["Commit"] > 3
        cluster.headless = False
        await asyncio.sleep(60)
        assert await fs.read_bytes("/f") == DATA[:BLOCK]
        await f.close()

    virtual.run(story())


def test_what_overwrites_waits_for_a_flush() -> None:
    async def story() -> None:
        cluster = FakeCluster()
        fs = cluster.connect()
        await fs.write_bytes("/f", DATA)
        f = await fs.open("/f", "r+b", buffering=0)
        await f.write(bytes(3 * BLOCK))
        await asyncio.sleep(60)
        assert await fs.read_bytes("/f") == DATA
        await f.flush()
        await f.seek(0, 2)
        await f.write(bytes(BLOCK))
        await asyncio.sleep(60)
        full = len(DATA) // BLOCK + 1
        expected = bytes(3 * BLOCK) + DATA[3 * BLOCK :] + bytes(BLOCK)
        assert await fs.read_bytes("/f") == expected[: full * BLOCK]
        await f.close()
        assert await fs.read_bytes("/f") == expected

    virtual.run(story())


async def test_an_append_waits_for_copies_that_are_out_of_reach_for_a_moment(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_bytes("/f", b"begin")
    f = await fs.open("/f", "ab")
    await f.write(b"end")
    cluster.down = set(cluster.blocks)
    asyncio.get_running_loop().call_later(0.2, cluster.down.clear)
    await f.flush()
    await f.close()
    assert await fs.read_bytes("/f") == b"beginend"


async def test_a_block_that_is_written_anew_while_it_is_published_stays_until_the_next_commit(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    """What was published is not left over because a newer version came before the answer."""

    def contents(letter: bytes) -> memoryview:
        return memoryview(bytearray(letter * BLOCK))

    async with fs.open("/f", "wb", buffering=0) as f:
        handle = f._handle
        assert handle.writer is not None
        for at, letter in enumerate((b"a", b"b", b"c")):
            assert handle.write_now(at * BLOCK, contents(letter))
        await handle.writer.drain()
        gate = cluster.held[m.Commit] = Gate()
        publishing = asyncio.create_task(handle.publish_settled())
        await gate.reached.wait()
        assert handle.write_now(0, contents(b"A"))
        await asyncio.sleep(0.01)
        del cluster.held[m.Commit]
        gate.opened.set()
        await publishing
        assert await fs.read_bytes("/f") == b"a" * BLOCK + b"b" * BLOCK + b"c" * BLOCK
        for letter in (b"x", b"y"):
            assert handle.write_now(0, contents(letter))
            await handle.writer.drain()
            assert (await fs.read_bytes("/f"))[:BLOCK] == b"a" * BLOCK
    assert await fs.read_bytes("/f") == b"y" * BLOCK + b"b" * BLOCK + b"c" * BLOCK


@pytest.mark.parametrize("seed", range(8))
async def test_a_file_that_is_published_while_it_is_written_can_be_read_at_any_time(
    fs: AsyncFileSystem, cluster: FakeCluster, seed: int
) -> None:
    dice, model = random.Random(seed), bytearray()
    publishing: list[asyncio.Task[None]] = []

    async def published() -> None:
        if gate := cluster.held.pop(m.Commit, None):
            gate.opened.set()
        await asyncio.gather(*publishing)
        publishing.clear()

    async with fs.open("/f", "wb", buffering=0) as f:
        handle = f._handle
        for _ in range(120):
            at = dice.randrange(min(len(model), 3 * BLOCK) + 1)
            at = len(model) if dice.random() < 0.3 else at
            at -= at % BLOCK if dice.random() < 0.8 else 0
            data = dice.randbytes(dice.choice((BLOCK, BLOCK, BLOCK, 3)))
            if not handle.write_now(at, memoryview(bytearray(data))):
                await published()  # it waits for that
                await handle.write(at, memoryview(data))
            model[at : at + len(data)] = data
            if dice.random() < 0.6:
                await asyncio.sleep(0.01)
            if dice.random() < 0.3 and m.Commit not in cluster.held:
                cluster.held[m.Commit] = Gate()
                publishing.append(asyncio.create_task(handle.publish_settled()))
                await asyncio.sleep(0)
            elif dice.random() < 0.4:
                await published()
            found = await fs.read_bytes("/f")
            assert len(found) <= len(model)
            if m.Commit not in cluster.held and dice.random() < 0.1:
                await handle.flush()
                assert await fs.read_bytes("/f") == model
        await published()
    assert await fs.read_bytes("/f") == model
