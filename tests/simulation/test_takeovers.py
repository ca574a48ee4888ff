"""A takeover that would leave too few in sync keeps the silent primary in the set."""

from __future__ import annotations

import asyncio

import pytest

from memfs.errors import ClusterError, LeaseHeldError
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run

LEASE_SECONDS = 3.0


async def form(seed, nodes=2, **settings):
    cluster = SimulatedCluster(seed, lease_seconds=LEASE_SECONDS, **settings)
    await cluster.start(nodes)
    await asyncio.sleep(10)
    return cluster


def in_sync(cluster):
    return cluster.coordinator.stored.view.in_sync


async def taken_over_from(cluster):
    """The first node stands still until the second one has taken over."""
    cluster.host("n1").process.pause()
    await asyncio.sleep(2 * LEASE_SECONDS)
    assert cluster.nodes["n2"].role.leads
    assert in_sync(cluster) == (2, 1)


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_cluster_goes_on_with_the_former_primary(seed, silent):
    """Its successor is killed before a third node has caught up."""

    async def main():
        cluster = await form(seed)
        fs = await cluster.connect(timeout_seconds=60)
        await fs.mkdir("/kept")
        await taken_over_from(cluster)
        assert await fs.listdir("/") == ["kept"]
        cluster.crash("n2", silent=silent)
        cluster.host("n1").process.resume()
        assert await fs.listdir("/") == ["kept"]
        assert cluster.nodes["n1"].role.leads
        with pytest.raises(ClusterError):
            await fs.mkdir("/alone", timeout=5)
        await cluster.start_node("n3")
        await fs.mkdir("/together")
        assert set(await fs.listdir("/")) >= {"kept", "together"}
        assert in_sync(cluster) == (1, 3)

    run(main())


@pytest.mark.parametrize("seed", range(3))
def test_a_former_primary_that_wakes_up_follows_its_successor(seed):
    async def main():
        cluster = await form(seed)
        fs = await cluster.connect(timeout_seconds=60)
        await taken_over_from(cluster)
        work = asyncio.create_task(fs.mkdir("/waits"))
        await asyncio.sleep(2 * LEASE_SECONDS)
        assert not work.done()
        cluster.host("n1").process.resume()
        await work
        assert in_sync(cluster) == (2, 1)
        cluster.crash("n2")
        assert await fs.listdir("/") == ["waits"]

    run(main())


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.01])
@pytest.mark.parametrize("seed", range(3))
def test_a_lease_that_comes_back_with_the_former_primary_is_given_back(seed, delay):
    """The former primary granted it, and nobody else knew. The client asked the next primary what
    had become of its request: it must not be told that there is no lease."""

    async def main():
        cluster = await form(seed)
        writer = await cluster.connect(timeout_seconds=90)
        other = await cluster.connect(timeout_seconds=90)
        await writer.write_bytes("/f", b"x")
        cluster.fabric.block("n1", "n2")
        opening = asyncio.ensure_future(writer.open("/f", "ab"))
        await asyncio.sleep(0.1)
        assert cluster.nodes["n1"].role.primary.namespace.volume.sessions.writers
        opening.cancel()
        await asyncio.sleep(delay)
        await taken_over_from(cluster)
        assert not cluster.nodes["n2"].role.primary.namespace.volume.sessions.writers
        await asyncio.sleep(LEASE_SECONDS)
        cluster.crash("n2")
        cluster.fabric.heal()
        cluster.host("n1").process.resume()
        await cluster.start_node("n3")
        await asyncio.sleep(2 * LEASE_SECONDS)
        assert not cluster.nodes["n1"].role.primary.namespace.volume.sessions.writers
        try:
            async with other.open("/f", "ab") as file:
                await file.write(b"y")
        except LeaseHeldError:
            pytest.fail("a lease that nobody knows of")

    run(main())


def test_a_primary_that_hears_nobody_leaves_its_successor_in_peace():
    """It counts as in sync and could depose its successor again and again."""

    async def main():
        cluster = await form(1)
        fs = await cluster.connect(timeout_seconds=60)
        await fs.mkdir("/kept")
        cluster.fabric.block("n2", "n1")
        epoch, minutes, served = cluster.coordinator.stored.view.epoch, 5, 0
        for _ in range(60 * minutes):
            try:
                served += await fs.listdir("/", timeout=1) == ["kept"]
            except ClusterError:
                await asyncio.sleep(1)
        assert cluster.coordinator.stored.view.epoch - epoch <= 12
        assert served >= 60 * minutes * 0.8
        cluster.fabric.heal()
        await fs.mkdir("/again")

    run(main())
