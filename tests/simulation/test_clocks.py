"""What people read on their files is the primary's clock, whatever it showed before."""

from __future__ import annotations

import asyncio

import pytest

from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run

DAY_NS = 86_400 * 10**9
JOURNAL = {"journal": "/journal", "journal_blocks": True, "ack": "journal"}


def clock_of_the_primary(cluster):
    (primary,) = [name for name, node in cluster.nodes.items() if node.role.leads]
    return cluster.host(primary).clock


async def check_times(cluster, fs, name):
    """What is made, written or touched now has the time that the primary's clock shows now."""
    clock = clock_of_the_primary(cluster)
    for change, path in (
        (fs.mkdir(name), name),
        (fs.write_bytes(f"{name}/f", b"new"), f"{name}/f"),
        (fs.write_bytes("/f", b"again"), "/f"),
        (fs.touch("/f"), "/f"),
        (fs.remove(f"{name}/f"), name),
    ):
        before = clock.wall_ns()
        await change
        stat = await fs.stat(path)
        assert before <= stat.st_mtime_ns <= clock.wall_ns()
        assert before <= stat.st_ctime_ns <= clock.wall_ns()


@pytest.mark.parametrize("journal", [False, True])
def test_a_clock_that_was_ahead_for_three_seconds_leaves_nothing_behind(journal):
    async def main():
        cluster = SimulatedCluster(7, lease_seconds=1.0, **(JOURNAL if journal else {}))
        await cluster.start(3)
        await asyncio.sleep(5)
        fs = await cluster.connect(timeout_seconds=60)
        clock = clock_of_the_primary(cluster)
        clock.wall_offset_ns += DAY_NS
        await fs.write_bytes("/f", b"ahead")
        await asyncio.sleep(3)
        clock.wall_offset_ns -= DAY_NS
        await check_times(cluster, fs, "/returned")
        if journal:
            cluster.power_cut()
            for name in ("n1", "n2", "n3"):
                cluster.restart(name)
        else:
            await cluster.stop("n1")
        await fs.write_bytes("/f", b"by the next primary")
        await check_times(cluster, fs, "/later")

    run(main())
