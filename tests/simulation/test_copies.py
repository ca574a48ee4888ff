"""Copies within the cluster: nodes make them of what they hold, or pass the bytes to who stores."""

from __future__ import annotations

import random

import pytest

from memfs.client.session.session import Session
from memfs.client.writing import range_copy
from memfs.limits import KIB
from memfs.protocol import messages as m
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run
from tests.support.faults.decay import flip

BLOCK = 64 * KIB
DATA = random.Random(3).randbytes(11 * BLOCK + 1000)


class Counting:
    """What clients send and receive while it is entered."""

    def __init__(self, monkeypatch):
        self.sent = 0
        self.asked = []
        original = Session.ask_member

        async def ask_member(session, number, request, payload=(), **options):
            self.asked.append(type(request))
            self.sent += sum(map(len, payload))
            return await original(session, number, request, payload, **options)

        monkeypatch.setattr(Session, "ask_member", ask_member)


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_no_byte_passes_the_client(monkeypatch, copies):
    async def main():
        cluster = SimulatedCluster(copies, block_size=BLOCK, group_blocks=1, replication=copies)
        await cluster.start(4)
        fs = await cluster.connect()
        await fs.write_bytes("/a", DATA)
        counting = Counting(monkeypatch)
        await fs.copy("/a", "/b")
        assert counting.asked.count(m.CopyRange) == 11
        assert counting.sent <= 1000, "the odd end is sent"
        assert await fs.read_bytes("/b") == DATA
        for location in await fs.block_locations("/b"):
            assert len(set(location.members)) == copies
        for node in cluster.nodes.values():
            node.store.check_invariants()
            assert not node.store.statistics().arriving

    run(main())


def test_ranges_into_blocks_that_are_there(monkeypatch):
    async def main():
        monkeypatch.setattr(range_copy, "COPIED_FROM_BYTES", 1)
        cluster = SimulatedCluster(5, block_size=BLOCK, group_blocks=2)
        await cluster.start(4)
        fs = await cluster.connect()
        await fs.write_bytes("/a", DATA)
        expected = bytearray(random.Random(4).randbytes(9 * BLOCK))
        await fs.write_bytes("/b", bytes(expected))
        counting = Counting(monkeypatch)
        async with fs.open("/a", "rb") as source, fs.open("/b", "r+b") as target:
            done = await target.copy_range(
                source, 3 * BLOCK, source_offset=777, offset=2 * BLOCK + 50
            )
        assert done == 3 * BLOCK and counting.sent == 0
        expected[2 * BLOCK + 50 : 5 * BLOCK + 50] = DATA[777 : 3 * BLOCK + 777]
        assert await fs.read_bytes("/b") == expected

    run(main())


def test_a_rotten_copy_is_not_handed_on():
    async def main():
        cluster = SimulatedCluster(6, block_size=BLOCK, group_blocks=4)
        await cluster.start(4)
        fs = await cluster.connect()
        await fs.write_bytes("/a", DATA)
        first = next(iter(await fs.block_locations("/a"))).members[0]
        node = next(n for n in cluster.nodes.values() if n.membership.number == first)
        for block in node.store.list(None, node.store.count):
            flip(node.store, block.version, 800)
        await fs.copy("/a", "/b")
        assert await fs.read_bytes("/b") == DATA

    run(main())


def test_nodes_that_go_meanwhile(monkeypatch):
    async def main():
        cluster = SimulatedCluster(7, block_size=BLOCK, group_blocks=1)
        await cluster.start(5)
        fs = await cluster.connect()
        await fs.write_bytes("/a", DATA)
        primary = next(name for name, node in cluster.nodes.items() if node.role.leads)
        cluster.crash(next(name for name in cluster.nodes if name != primary))
        await fs.copy("/a", "/b")
        assert await fs.read_bytes("/b") == DATA

    run(main())
