"""The injectors themselves: what they promise to do happens, and what they must not do does not."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from memfs.errors import MemfsError
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run
from tests.support.campaign import plan_of
from tests.support.faults import calls, disks, growth
from tests.support.faults.scene import Scene

JOURNAL = {"journal": "/journal", "journal_blocks": True, "journal_segment_size": 65536}
SETTINGS = {"heartbeat_seconds": 0.5, "member_timeout_seconds": 2, "lease_seconds": 2}


async def form(nodes=3, **settings):
    """A cluster, and the scene of a seed on it."""
    cluster = SimulatedCluster(1, **SETTINGS | settings)
    await cluster.start(nodes=nodes)
    return cluster, Scene(cluster, plan_of(1))


async def until(condition, seconds=60):
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.1)


def members(scene):
    return sorted(member.name for member in scene.view.members)


def test_a_node_that_was_decommissioned_is_off_whatever_the_answer_was():
    async def main():
        cluster, scene = await form(nodes=4)
        await scene.operator.write_bytes("/file", b"data")
        cluster.fabric.block(scene.primary_name(), scene.operator.name)
        scene.node = lambda: "n3"
        decommission = asyncio.create_task(growth.decommission(scene))
        await until(lambda: "n3" not in cluster.nodes)
        assert members(scene) == ["n1", "n2", "n4"] and not cluster.host("n3").process.alive
        assert scene.struck["decommission"] == 1
        cluster.fabric.heal()
        await decommission
        await until(lambda: members(scene) == ["n1", "n2", "n3", "n4"])

    run(main())


def test_a_host_is_restarted_by_one_of_those_who_want_to():
    async def main():
        cluster, _ = await form()
        process = cluster.host("n2").process
        cluster.restart("n2")
        assert cluster.host("n2").process is process, "it runs"
        cluster.crash("n2")
        cluster.restart("n2")
        process = cluster.host("n2").process
        cluster.restart("n2")
        assert cluster.host("n2").process is process, "it is starting"
        await until(lambda: not cluster.is_starting("n2"))
        cluster.restart("n2")
        assert cluster.host("n2").process is process

    run(main())


def test_requests_are_cancelled_where_they_are_served():
    async def main():
        _, scene = await form()

        async def work():
            while True:
                with contextlib.suppress(MemfsError):
                    await scene.operator.write_bytes("/file", b"x" * 100_000)

        working = asyncio.create_task(work())
        await calls.cancel_served(scene)
        assert scene.struck["cancelled request"] >= 3
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await scene.operator.write_bytes("/file", b"after")
        assert await scene.operator.read_bytes("/file") == b"after"

    run(main())


def test_power_is_cut_everywhere_where_the_disks_have_all_that_counts():
    async def main():
        cluster, scene = await form(ack="journal", **JOURNAL)
        await scene.operator.write_bytes("/file", b"x" * 10_000)
        before = {node.member.incarnation for node in cluster.nodes.values()}
        await disks.total_power_cut(scene)
        assert await scene.operator.read_bytes("/file") == b"x" * 10_000
        await until(lambda: len(cluster.nodes) == 3)
        assert not before & {node.member.incarnation for node in cluster.nodes.values()}

    run(main())


def test_power_is_not_cut_where_ram_counts():
    async def main():
        cluster, scene = await form(ack="ram", **JOURNAL)
        await disks.total_power_cut(scene)
        assert not scene.struck and len(cluster.nodes) == 3

    run(main())


@pytest.mark.parametrize("kind", [disks.full_disks, disks.failing_syncs, disks.failing_writes])
def test_what_ails_disks_is_over_in_the_end(kind):
    async def main():
        cluster, scene = await form(ack="journal", **JOURNAL)
        for number in range(5):
            fault = asyncio.create_task(kind(scene))
            with contextlib.suppress(MemfsError):
                await scene.operator.write_bytes(f"/{number}", b"x" * 20_000, timeout=20)
            await fault
        for host in cluster.hosts.values():
            host.disk.heal()
        await asyncio.sleep(5)  # a disk that failed is tried again now and then
        await scene.operator.write_bytes("/file", b"after", timeout=30)
        assert scene.struck.total() >= 5

    run(main())
