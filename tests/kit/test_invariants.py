"""What the omniscient side takes for a broken invariant, and what not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from memfs.cluster import view as rules
from memfs.node.server import Node
from memfs.protocol import messages as m
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.network_conditions import Conditions
from memfs.testing.simulation.virtual import run
from memfs.types import BlockRef
from tests.support.faults.decay import flip
from tests.support.faults.plan import choose
from tests.support.faults.scene import Scene
from tests.support.invariants import Observer, _around_apply, all_blocks
from tests.unit.node.namespace.machine import Machine

SETTINGS = {"lease_seconds": 1.0, "member_timeout_seconds": 2.0, "removal_seconds": 3.0}


class Stealings:
    """Stands for the observer: the clients of whom something was taken."""

    def __init__(self) -> None:
        self.robbed: list[tuple[int, int]] = []
        """Client, and generation of the lease that it had."""

    def applied(self, *_what: object) -> None:
        pass

    def stolen(self, _namespace: object, reply: m.LeaseReply, writers: dict[int, int]) -> None:
        self.robbed += [(client, reply.attributes.generation - 1) for client in writers.values()]


@pytest.fixture
def observer() -> Iterator[Stealings]:
    observer = Stealings()
    with _around_apply(observer):  # type: ignore[arg-type]
        yield observer


def test_a_repeated_command_takes_no_lease(observer: Stealings) -> None:
    machine = Machine()
    machine.run(m.Create(b"/f", 0o644), client=1)
    theft = m.AcquireLease(b"/f", steal=True)
    first = machine.entry(theft, client=2, request_id=7)
    machine.apply(first, theft)
    machine.run(theft, client=3)
    again = first._replace(index=machine.namespace.applied + 1)
    assert machine.apply(again, theft).record.attributes.generation == 2
    assert observer.robbed == [(1, 1), (2, 2)]


class CutOff:
    """A cluster with one block: a copy of it is rotten, and the node of the other one cut off."""

    def __init__(self) -> None:
        settings = SETTINGS | {"replication": 2}
        self.cluster = SimulatedCluster(1, **settings)
        plan = replace(choose(1, (), ()), conditions=Conditions(), settings=settings)
        self.scene = Scene(self.cluster, plan)
        self.observer = Observer(self.scene)
        self.ref: BlockRef
        self.name = ""
        """The node that is cut off."""

    async def begin(self) -> None:
        """Write the block, and let what is wrong be wrong."""
        await self.cluster.start(4)
        fs = await self.cluster.connect()
        primary = self.scene.primary_name()
        while not self.name:
            await fs.write_bytes("/f", b"content")
            namespace = self.scene.namespace()
            assert namespace is not None
            (self.ref,) = all_blocks(namespace)
            others = [n for n, node in self._holders() if n != primary]
            self.name = others[0] if len(others) == 2 else ""
        self.cluster.fabric.isolate(self.name)
        for name, node in self._holders():
            if name != self.name:
                flip(node.store, self.ref.version, 3)

    def _holders(self) -> list[tuple[str, Node]]:
        nodes = self.cluster.nodes.items()
        return [(name, node) for name, node in nodes if node.member.number in self.ref.replicas]

    async def until_member(self, wanted: bool) -> None:
        """The cluster takes the node that it does not hear for dead, or lets it in again."""
        async with asyncio.timeout(60):
            while True:
                view = self.scene.view
                if view is not None and wanted == (rules.named(view, self.name) is not None):
                    return
                await asyncio.sleep(0.1)

    def breaches(self) -> int:
        """How many the judge finds now."""
        namespace = self.scene.namespace()
        assert namespace is not None
        self.observer.breaches.clear()
        self.observer.check_visible(namespace)
        return len(self.observer.breaches)


def test_a_block_that_only_a_node_taken_for_dead_holds_is_not_lost_and_is_whole_again() -> None:
    async def main() -> None:
        cut = CutOff()
        await cut.begin()
        assert cut.breaches() == 0
        await cut.until_member(False)
        for _ in range(50):
            assert cut.breaches() == 0
            await asyncio.sleep(0.1)
        cut.cluster.fabric.heal()
        await cut.until_member(True)
        assert cut.breaches() == 0
        fs = await cut.cluster.connect()
        assert await fs.read_bytes("/f") == b"content"

    run(main())


def crashes(cut: CutOff) -> None:
    cut.cluster.crash(cut.name)


def is_stopped(cut: CutOff) -> None:
    cut.cluster.stopping[cut.name] = None


def rots(cut: CutOff) -> None:
    flip(cut.cluster.nodes[cut.name].store, cut.ref.version, 3)


def forgets(cut: CutOff) -> None:
    cut.cluster.nodes[cut.name].store.clear()


@pytest.mark.parametrize("fate", [crashes, is_stopped, rots, forgets])
def test_what_nobody_brings_back_is_lost(fate: Callable[[CutOff], None]) -> None:
    async def main() -> None:
        cut = CutOff()
        await cut.begin()
        await cut.until_member(False)
        fate(cut)
        assert cut.breaches() == 1

    run(main())


def test_a_new_process_of_a_node_brings_nothing_back() -> None:
    async def main() -> None:
        cut = CutOff()
        await cut.begin()
        cut.cluster.crash(cut.name)
        cut.cluster.restart(cut.name)
        await cut.until_member(False)
        await asyncio.sleep(1)
        assert cut.name in cut.cluster.nodes and cut.breaches() == 1

    run(main())
