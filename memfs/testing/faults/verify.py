"""After the last fault: does everything work again, and is everything as it must be?

Owns the end of a run: liveness within a bound, settling, and the audit of what is left: files
against copies, copies against files, memory against copies, backups against the primary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from memfs.cluster.ring import takes
from memfs.errors import BlockNotFoundError, CorruptBlockError, MemfsError
from memfs.node.server import Node
from memfs.protocol import messages as m
from memfs.testing.clients import SimulatedClient
from memfs.testing.faults.scene import Scene
from memfs.testing.invariants import Observer, all_blocks
from memfs.testing.virtual import tasks_of
from memfs.types import BlockRef

LEASES_UNTIL_SERVED = 10
"""Lease times within which reads and writes work again after the last fault."""
POLL_SECONDS = 0.5
_WRONG = {BlockNotFoundError.code: "no", CorruptBlockError.code: "a corrupt"}
TASKS_PER_NODE = 60
"""A node at rest has about fifteen."""


class Audit:
    """Looks at a healed cluster."""

    def __init__(self, scene: Scene, observer: Observer) -> None:
        self._scene = scene
        self._observer = observer
        self.stopped = False
        """The last in-sync member is lost: nobody may serve, and nobody does."""
        self.recovery_seconds = 0.0
        """Until the first write and read after the last fault."""

    async def served(self, client: SimulatedClient) -> bool:
        """Wait until a file can be written and read; breaches Liveness when that takes long."""
        scene, loop = self._scene, asyncio.get_running_loop()
        began = loop.time()
        deadline = began + LEASES_UNTIL_SERVED * scene.plan.lease_seconds
        reason: Exception | None = None
        while loop.time() < deadline:
            if self._nobody_may_serve():
                self.stopped = True
                return False
            try:
                await client.write_bytes("/probe", b"served", timeout=2.0)
                assert await client.read_bytes("/probe", timeout=2.0) == b"served"
                await client.remove("/probe", timeout=2.0)
            except MemfsError as error:
                reason = error
                await asyncio.sleep(POLL_SECONDS)
            else:
                self.recovery_seconds = loop.time() - began
                return True
        self._observer.breach("Liveness", f"no service {loop.time() - began:.1f} s later: {reason}")
        return False

    def _nobody_may_serve(self) -> bool:
        """LastServing: no living incarnation of the last in-sync set exists."""
        view = self._scene.view
        if view is None or view.journaled:  # who was in sync comes back with all that it had
            return False
        return not any(self._scene.member(number) for number in view.in_sync)

    async def settled(self, seconds: float) -> None:
        """Wait until nothing is left to do; breaches EventuallyR when that takes too long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while unrest := self._unrest():
            if loop.time() >= deadline:
                self._observer.breach("EventuallyR", f"{seconds:.0f} s later: {unrest}")
                return
            await asyncio.sleep(POLL_SECONDS)

    def _unrest(self) -> str:
        """What is still to be done, empty when nothing is."""
        steps: tuple[Callable[[], str], ...] = (self._members, self._copies, self._garbage)
        return next((what for step in steps if (what := step())), "")

    def _members(self) -> str:
        scene, view = self._scene, self._scene.view
        cluster = scene.cluster
        if view is None or scene.namespace() is None:
            return "no primary"
        if any(map(cluster.is_starting, cluster.nodes)):
            return "a node has not started"
        numbers = [node.membership.number for node in cluster.nodes.values()]
        if 0 in numbers:
            return "a node has not joined"
        if sorted(numbers) != [member.number for member in view.members]:
            return f"nodes {sorted(numbers)} and members {[n.number for n in view.members]} differ"
        digests = {
            (node.role.namespace.applied, node.role.namespace.digest)
            for number in view.in_sync
            if (node := scene.member(number)) and node.role.namespace
        }
        return "" if len(digests) == 1 else f"in-sync members differ: {digests}"

    def _copies(self) -> str:
        view, namespace = self._scene.view, self._scene.namespace()
        assert view is not None and namespace is not None
        members = {member.number for member in view.members}
        takers = sum(map(takes, view.members))
        after: tuple[int, int] | None = (0, 0)
        while after is not None:
            page, after = namespace.blocks(after)
            for placed in page:
                if placed.ref.length:
                    there = members.intersection(placed.ref.replicas)
                    wanted = min(placed.replication, takers)
                    if len(there) != wanted or len(there) != len(placed.ref.replicas):
                        return f"{sorted(there)} hold {placed.ref}, {wanted} copies are wanted"
                    if bad := self._bad_copies(placed.ref):
                        return f"{bad} of {placed.ref}"
        return ""

    def _bad_copies(self, ref: BlockRef) -> list[str]:
        """What is wrong with copies that a file names."""
        version = m.BlockVersion(*ref[:4])
        nodes = [self._scene.member(number) for number in ref.replicas]
        codes = {node.config.name: node.store.verify(version) for node in nodes if node}
        return [f"{name} has {_WRONG[code]} copy" for name, code in codes.items() if code]

    def _garbage(self) -> str:
        namespace = self._scene.namespace()
        assert namespace is not None
        if namespace.reclaiming:
            return f"{namespace.reclaiming} inodes of deleted trees"
        for node in self._scene.cluster.nodes.values():
            for block in node.store.list(None, node.store.count):
                version = m.BlockVersion(*block[:4])
                ref = namespace.block(version)
                if ref is None or node.membership.number not in ref.replicas:
                    born = "unborn" if ref is None and namespace.is_live(version) else "orphan"
                    kind = born if ref is None else "surplus copy"
                    return f"{kind} {block} on {node.config.name}"
        return ""

    def check(self) -> None:
        """The audit proper: nothing moves any more."""
        namespace = self._scene.namespace()
        if namespace is None:
            return
        self._observer.inspect()
        for ref in all_blocks(namespace):
            if bad := self._bad_copies(ref):
                self._observer.breach("fsck", f"{bad} of {ref}")
        for name, node in self._scene.cluster.nodes.items():
            self._check_node(name, node)

    def _check_node(self, name: str, node: Node) -> None:
        try:
            node.store.check_invariants()
        except AssertionError as error:
            self._observer.breach("Accounting", f"{name}: {error}")
        statistics = node.store.statistics()
        if statistics.arriving:
            self._observer.breach("Accounting", f"{name}: {statistics.arriving} writes never end")
        if not statistics.versions and statistics.used:
            self._observer.breach("Accounting", f"{name}: {statistics.used} bytes hold nothing")
        process = self._scene.cluster.host(name).process
        tasks = tasks_of(process)
        if len(tasks) > TASKS_PER_NODE:
            names = sorted({getattr(task.get_coro(), "__qualname__", "?") for task in tasks})
            self._observer.breach("TaskLeak", f"{name} has {len(tasks)} tasks: {names}")
