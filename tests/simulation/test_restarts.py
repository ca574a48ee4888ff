"""A node is restarted thirty times: nobody keeps anything of what it was before.

What is counted is everything that can be reached from a client, or from a node that stayed: the
connections, and whatever else is of memfs. The recent log is bounded, and grows until it is full.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from memfs.node.log.entries import Entry
from memfs.node.log.recent import RecentLog
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run
from memfs.transport.connection import Connection
from tests.support.held import grown, held_by

RESTARTS = 30
COUNTED = (10, RESTARTS)
JOURNAL = {
    "journal": "/journal",
    "journal_blocks": True,
    "ack": "journal",
    "journal_segment_size": 65_536,
}


@pytest.mark.parametrize("settings", [{}, JOURNAL], ids=["in memory", "with a journal"])
def test_nothing_of_former_incarnations_is_kept(settings: dict[str, Any]) -> None:
    async def main() -> None:
        cluster = SimulatedCluster(5, lease_seconds=1.0, member_timeout_seconds=2.0, **settings)
        await cluster.start(3)
        fs = await cluster.connect()

        async def use() -> None:
            for number in range(6):
                await fs.write_bytes(f"/f{number}", bytes(50_000))
            for number in range(6):
                assert len(await fs.read_bytes(f"/f{number}")) == 50_000

        counts = []
        for number in range(1, RESTARTS + 1):
            if number % 2:
                cluster.crash("n3")
            else:
                await cluster.stop("n3")
            await asyncio.sleep(0.3)
            cluster.restart("n3")
            await asyncio.sleep(12)
            await use()
            if number in COUNTED:
                gc.collect()
                roots = {"client": fs, "n1": cluster.nodes["n1"], "n2": cluster.nodes["n2"]}
                held = {name: held_by(root, RecentLog, Entry) for name, root in roots.items()}
                counts.append(held)
        for name, before in counts[0].items():
            more = grown(before, counts[1][name])
            assert not more, f"{name} keeps {more}"
            assert counts[1][name][f"{Connection.__module__}.Connection"] <= 8

    run(main())
