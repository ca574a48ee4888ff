"""A node that is told to stop is gone within a bound, whatever is out of reach."""

from __future__ import annotations

import asyncio

import pytest

from memfs.cluster import view as rules
from memfs.cluster.coordinator import StoredView
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run
from memfs.types import Member

SECONDS = 5.0
JOURNAL = {"journal": "/journal", "journal_blocks": True, "ack": "journal"}


def gone(cluster):
    cluster.coordinator.down = True


def refuses(cluster):
    for name in cluster.nodes:
        cluster.coordinator.faults(name).down = True


def swallows(cluster):
    for name in cluster.nodes:
        cluster.coordinator.faults(name).cut_requests = True


def never_answers(cluster):
    for name in cluster.nodes:
        cluster.coordinator.faults(name).cut_replies = True


@pytest.mark.parametrize("name", ["n1", "n2"])
@pytest.mark.parametrize("fault", [gone, refuses, swallows, never_answers])
@pytest.mark.parametrize("drain_blocks", [False, True])
def test_a_stop_does_not_wait_for_a_coordinator_that_is_gone(name, fault, drain_blocks):
    async def main():
        cluster = SimulatedCluster(5, drain_blocks=drain_blocks, **JOURNAL)
        await cluster.start(3)
        fs = await cluster.connect()
        await fs.write_bytes("/f", bytes(10_000))
        await asyncio.sleep(5)
        fault(cluster)
        began = asyncio.get_running_loop().time()
        await cluster.stop(name)
        assert asyncio.get_running_loop().time() - began < SECONDS
        assert cluster.host(name).disk.lock("/journal/lock") is not None

    run(main())


def test_a_stop_waits_for_a_coordinator_that_is_slow():
    """An etcd that chooses a leader is back in a second: the role is passed on."""

    async def main():
        cluster = SimulatedCluster(6)
        await cluster.start(3)
        await asyncio.sleep(5)
        gone(cluster)
        asyncio.get_running_loop().call_later(1.0, cluster.coordinator.heal)
        await cluster.stop("n1")
        view = cluster.coordinator.stored.view
        assert "n1" not in [member.name for member in view.members]
        assert cluster.nodes["n2"].role.handovers + cluster.nodes["n3"].role.handovers == 1

    run(main())


def test_a_coordinator_of_another_cluster_changes_nothing():
    """At the same address there is one now that knows nothing of this cluster."""

    async def main():
        cluster = SimulatedCluster(7, lease_seconds=1.0)
        await cluster.start(3)
        fs = await cluster.connect()
        await fs.write_bytes("/f", b"ours")
        await asyncio.sleep(5)
        member = Member(0, "n2", 99, "n2", 10500)
        view = rules.form("another", member)._replace(epoch=90)
        other = StoredView(cluster.coordinator.stored.revision + 5, view)
        cluster.coordinator.history.append(other)
        await asyncio.sleep(30)
        assert await fs.read_bytes("/f") == b"ours"
        await fs.write_bytes("/f", b"still ours")
        await cluster.stop("n3")
        assert cluster.coordinator.stored == other
        assert all(node.membership.number for node in cluster.nodes.values())

    run(main())
