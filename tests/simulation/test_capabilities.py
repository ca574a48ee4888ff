"""Capabilities expire, keys roll, primaries and nodes come and go: who may, reads and writes on."""

from __future__ import annotations

import asyncio
import os

import pytest

from memfs.errors import CapabilityError, LeaseLostError
from memfs.protocol import messages as m
from memfs.testing.simulation.cluster import CAPABILITY_SECONDS, SimulatedCluster
from memfs.testing.simulation.virtual import run

KEYS_ROLL_SECONDS = 8 * CAPABILITY_SECONDS
BLOCK = 64 << 10


def refusals(cluster: SimulatedCluster) -> int:
    """What all nodes together have turned away."""
    return sum(node.parts.listeners._guard.refused for node in cluster.nodes.values())


async def at_work(cluster: SimulatedCluster, seconds: float) -> None:
    """Read and write by handles that were opened before, for so long."""
    fs = await cluster.connect()
    content = os.urandom(3 * BLOCK)
    async with fs.open("/old", "wb", block_size=BLOCK) as file:
        await file.write(content)
    loop = asyncio.get_running_loop()
    end, written = loop.time() + seconds, b""
    async with fs.open("/old", "rb", buffering=0) as reader, fs.open("/log", "wb") as writer:
        while loop.time() < end:
            at = len(written) % (2 * BLOCK)
            await reader.seek(at)
            assert await reader.read(1000) == content[at : at + 1000]
            line = b"line %d\n" % len(written)
            await writer.write(line)
            await writer.flush()
            written += line
            await asyncio.sleep(1.7)
    assert await fs.read_bytes("/log") == written


def test_handles_outlive_capabilities_and_keys() -> None:
    async def main() -> None:
        cluster = SimulatedCluster(1)
        await cluster.start(3)
        await at_work(cluster, 3 * KEYS_ROLL_SECONDS)
        expiries = 3 * KEYS_ROLL_SECONDS / CAPABILITY_SECONDS
        assert 0 < refusals(cluster) < 8 * expiries, (
            "a refusal for each that expired, not for each request"
        )

    run(main())


def test_a_new_primary_goes_on_with_the_keys_that_are_there() -> None:
    async def main() -> None:
        cluster = SimulatedCluster(2, capability_seconds=600.0)
        await cluster.start(4)
        work = asyncio.create_task(at_work(cluster, 60))
        await asyncio.sleep(10)
        cluster.crash("n1")
        await work
        assert not refusals(cluster)

    run(main())


def test_restarted_nodes_learn_the_keys() -> None:
    async def main() -> None:
        cluster = SimulatedCluster(3)
        await cluster.start(4)
        work = asyncio.create_task(at_work(cluster, 3 * KEYS_ROLL_SECONDS))
        for name in ("n3", "n2", "n1", "n4"):
            await asyncio.sleep(20)
            cluster.crash(name)
            await asyncio.sleep(2)
            cluster.restart(name)
        await work

    run(main())


def test_a_writer_whose_lease_went_to_another_gets_no_new_capability() -> None:
    async def main() -> None:
        cluster = SimulatedCluster(4)
        await cluster.start(3)
        fs, other = await cluster.connect(), await cluster.connect()
        former = await fs.open("/a", "wb")
        await former.write(b"x" * 100)
        await former.flush()
        await other.recover_lease("/a")
        inode = (await other.stat("/a")).st_ino
        with pytest.raises(LeaseLostError):
            await fs._session.ask(m.Authorize((inode,)))
        await asyncio.sleep(2 * CAPABILITY_SECONDS)
        with pytest.raises(LeaseLostError):
            await former.write(b"y" * 100)
            await former.close()
        assert await other.read_bytes("/a") == b"x" * 100

    run(main())


def test_where_the_primary_wants_none_nobody_does() -> None:
    async def main() -> None:
        cluster = SimulatedCluster(5, capability_seconds=0.0)
        await cluster.start(2)
        await cluster.start_node("n3", capability_seconds=600.0)
        await at_work(cluster, 40)
        fs = await cluster.connect()
        reply = await fs._session.ask(m.GetBlocks(b"/old"))
        assert not reply.capability
        for ref in reply.blocks:
            bare = m.ReadBlock(*ref.version, 0, ref.length)
            for number in ref.replicas:
                deadline = fs._session.deadline(5)
                assert (await fs._session.members.attempt(number, bare, (), deadline)).payload

    run(main())


def test_who_shows_nothing_gets_nothing() -> None:
    async def main() -> None:
        cluster = SimulatedCluster(6)
        await cluster.start(2)
        fs = await cluster.connect()
        await fs.write_bytes("/a", b"x" * BLOCK)
        (ref,) = (await fs._session.ask(m.GetBlocks(b"/a"))).blocks
        bare = m.ReadBlock(*ref.version, 0, ref.length)
        for number in ref.replicas:
            with pytest.raises(CapabilityError):
                await fs._session.members.attempt(number, bare, (), fs._session.deadline(5))

    run(main())


def test_blocks_that_came_by_concat_are_their_new_file_s() -> None:
    async def main() -> None:
        cluster = SimulatedCluster(7)
        await cluster.start(2)
        fs = await cluster.connect(local_descriptors=False)
        for name in ("/a", "/b"):
            async with fs.open(name, "wb", block_size=BLOCK) as file:
                await file.write(name[1:].encode() * BLOCK)
        async with fs.open("/b", "ab") as file:
            await file.write(b"c" * 100)
        await fs.concat("/a", ["/b"])
        content = b"a" * BLOCK + b"b" * BLOCK + b"c" * 100
        other = await cluster.connect()
        async with other.open("/a", "rb", buffering=0) as reader:
            for _ in range(3):
                await reader.seek(0)
                assert await reader.read(len(content)) == content
                await asyncio.sleep(2 * CAPABILITY_SECONDS)
        third = await cluster.connect()
        async with third.open("/a", "ab") as file:
            await file.write(b"d" * 100)
        assert await other.read_bytes("/a") == content + b"d" * 100

    run(main())


def test_the_writer_of_a_draft_reads_it_back_whatever_expired_meanwhile() -> None:
    async def main() -> None:
        cluster = SimulatedCluster(6)
        await cluster.start(3)
        root = await cluster.connect()
        await root.mkdir("/d", 0o777)
        ann = await cluster.connect(user="ann", groups=("ann",))
        content = os.urandom(3 * BLOCK)
        async with ann.replacing("/d/f", block_size=BLOCK) as draft:
            await draft.write(None, memoryview(content))
            assert await draft.read(0, -1) == content
            await draft.flush()
            await asyncio.sleep(3 * CAPABILITY_SECONDS)
            assert await draft.read(0, -1) == content and refusals(cluster)
            assert await ann.listdir("/d") == []
        assert await root.read_bytes("/d/f") == content

    run(main())
