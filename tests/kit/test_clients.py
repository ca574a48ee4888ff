"""Simulated applications: what happens to their calls when host, process or task goes away."""

from __future__ import annotations

import asyncio

import pytest

from memfs.errors import OutcomeUnknownError
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import Process, ProcessKilledError, run


async def cluster_of_one():
    cluster = SimulatedCluster(1, replication=1, block_size=4096)
    await cluster.start(nodes=1)
    return cluster


def test_a_client_works_and_iterates():
    async def main():
        client = (await cluster_of_one()).client()
        await client.makedirs("/a/b")
        async with client.open("/a/b/c", "wb") as file:
            await file.write(b"content")
        walked = [names async for _, _, names in client.walk("/a")]
        found = await client.read_bytes("/a/b/c"), walked
        await client.close()
        return found

    content, walked = run(main())
    assert content == b"content"
    assert ["c"] in [list(names) for names in walked]


def test_a_killed_client_leaves_its_call_unknown_and_comes_back():
    async def main():
        cluster = await cluster_of_one()
        client = cluster.client()
        await client.write_bytes("/a", b"1")
        file = await client.open("/b", "wb")
        cluster.fabric.isolate(client.name)
        call = asyncio.ensure_future(client.write_bytes("/a", b"2"))
        await asyncio.sleep(0.1)
        network = cluster.host(client.name).network
        network.crash()
        with pytest.raises(OutcomeUnknownError, match="killed"):
            await call
        network.restart()
        cluster.fabric.heal()
        with pytest.raises(OutcomeUnknownError):
            await file.write(b"by a handle of the dead")
        return await client.read_bytes("/a")

    assert run(main()) in (b"1", b"2")


def test_a_call_cancelled_from_elsewhere_is_unknown_and_one_cancelled_by_its_caller_is_cancelled():
    async def main():
        cluster = await cluster_of_one()
        client = cluster.client()
        await client.exists("/")
        cluster.fabric.isolate(client.name)
        process = cluster.host(client.name).process
        call = asyncio.ensure_future(client.exists("/"))
        await asyncio.sleep(0.01)
        next(iter(process.calls.values())).cancel()
        with pytest.raises(OutcomeUnknownError, match="cancelled"):
            await call
        call = asyncio.ensure_future(client.exists("/"))
        await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert not process.calls

    run(main())


def test_what_a_dead_process_was_to_do_ends_for_those_who_wait():
    async def main():
        process = Process("p")
        ran = []

        async def work():
            try:
                await asyncio.sleep(10)
            finally:
                ran.append("finally")

        waiting = asyncio.ensure_future(process.perform(work()))
        await asyncio.sleep(1)
        process.kill()
        with pytest.raises(ProcessKilledError):
            await waiting
        with pytest.raises(ProcessKilledError):
            await process.perform(work())
        await asyncio.sleep(20)
        return list(ran)

    assert run(main()) == []
