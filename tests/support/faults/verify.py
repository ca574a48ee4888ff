"""After the last fault: does everything work again, and is everything as it must be?

Owns the end of a run: liveness within a bound, settling, and the audit of what is left: files
against copies, copies against files, memory against copies, backups against the primary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from memfs.client.session.held.grants import Lease
from memfs.client.session.held.keepalive import PING_SECONDS
from memfs.cluster import view as rules
from memfs.cluster.ring import accepts_copies
from memfs.errors import BlockNotFoundError, CorruptBlockError, MemfsError, NoSpaceError
from memfs.node.server import Node
from memfs.protocol import messages as m
from memfs.testing.simulation.clients import SimulatedClient
from memfs.testing.simulation.virtual import tasks_of
from memfs.types import BlockRef, Identity
from tests.support.faults.scene import Scene, incarnation
from tests.support.invariants import Observer, all_blocks
from tests.support.placed import placed_blocks

LEASES_UNTIL_SERVED = 10
"""Lease times within which reads and writes work again after the last fault."""
LEASES_UNTIL_TAKEN_OVER = 5
"""... and after the primary has become deaf, when nothing else is wrong."""
MIN_TAKING_OVER = 6.0
"""Seconds, with short leases: heartbeats and a client's own pauses take as long as ever."""
WRITTEN_ELSEWHERE_SECONDS = 12.0
"""... and files are written by who has to learn once which node is deaf: a few attempts of 2 s."""
ATTEMPT_SECONDS = 2.0
"""What a write loses at least to a node that is silent. On slow disks and links each of several
files takes most of a second: that is not what is judged."""
FILES_ELSEWHERE = 12
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
                self._check_stop()
                return False
            try:
                await client.write_bytes("/probe", b"served", timeout=2.0)
                self._check_time("/probe")
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

    def _check_time(self, path: str) -> None:
        """What was written just now has no time that no clock shows yet, whatever they showed."""
        namespace, cluster = self._scene.namespace(), self._scene.cluster
        if namespace is None:
            return
        written = namespace.query(Identity("root"), m.Lookup(path.encode())).attributes
        latest = max(cluster.host(name).clock.wall_ns() for name in cluster.nodes)
        if written.modified_ns > latest:
            ahead = (written.modified_ns - latest) / 1e9
            self._observer.breach("FileTimes", f"{path} was written {ahead:.1f} s from now")

    async def goes_on_without_a_deaf_primary(self, client: SimulatedClient) -> None:
        """What nodes send to the primary is lost, all else arrives: somebody else takes over.

        Breaches SelfFence when nothing can be commanded within a bound; or nothing read, where the
        others are too few to acknowledge and no command was under way. Breaches WritesElsewhere
        when no file can be written then although there are nodes enough beside the deaf one, which
        the ring still has.
        """
        scene, loop = self._scene, asyncio.get_running_loop()
        fabric, deaf, began = scene.cluster.fabric, scene.primary_name(), loop.time()
        fabric.record("FAULT deaf primary", deaf)
        for name in scene.cluster.nodes:
            if name != deaf:
                fabric.block(name, deaf)
        try:
            await asyncio.sleep(scene.plan.lease_seconds)
            seconds = (LEASES_UNTIL_TAKEN_OVER - 1) * scene.plan.lease_seconds
            seconds = max(seconds, MIN_TAKING_OVER)
            if scene.view is not None and len(scene.cluster.nodes) > scene.view.min_in_sync:
                await client.mkdir("/deaf", timeout=seconds)
                await self._writes_beside(deaf, client)
            else:
                await client.listdir("/", timeout=seconds)
        except MemfsError as error:
            text = f"{deaf} heard nobody for {loop.time() - began:.1f} s, nobody took over: {error}"
            if not self._waits_for_the_deaf_one(deaf):
                self._observer.breach("SelfFence", text)
        finally:
            fabric.heal()

    def _waits_for_the_deaf_one(self, deaf: str) -> bool:
        """Did another node take over that has to wait with what it read for a command that was
        under way? With a journal nobody but the deaf node knows whether it has it on its disk."""
        view = self._scene.view
        taker = self._scene.member(view.primary) if view is not None else None
        if view is None or taker is None or taker.config.name == deaf or not view.journaled:
            return False
        spare = len(self._scene.cluster.nodes) > view.min_in_sync
        held = taker.role.namespace
        return not spare and held is not None and taker.role.committed < held.applied

    async def _writes_beside(self, deaf: str, client: SimulatedClient) -> None:
        """Chains that lead over the deaf node are given up in time, and then not tried again."""
        scene, loop = self._scene, asyncio.get_running_loop()
        view = scene.view
        takers = [each for each in view.members if accepts_copies(each)] if view is not None else []
        copies = scene.plan.settings["replication"]
        if len([each for each in takers if each.name != deaf]) < copies:
            return
        if scene.plan.settings["session_timeout_seconds"] <= PING_SECONDS:
            return  # a client that waits for blocks is taken for dead
        content = bytes(3 * scene.plan.settings["block_size"])
        began, left = loop.time(), WRITTEN_ELSEWHERE_SECONDS
        try:
            for number in range(FILES_ELSEWHERE):
                started = loop.time()
                await client.write_bytes(f"/deaf/{number}", content, timeout=left)
                took = loop.time() - started
                left -= took if took >= ATTEMPT_SECONDS else 0.0
        except NoSpaceError:
            return
        except MemfsError as error:
            text = f"{loop.time() - began:.1f} s of writes beside {deaf}, which is deaf: {error}"
            self._observer.breach("WritesElsewhere", text)

    def _nobody_may_serve(self) -> bool:
        """LastServing: no living incarnation of the last in-sync set exists."""
        view = self._scene.view
        if view is None or view.journaled:  # who was in sync comes back with all that it had
            return False
        return not any(self._scene.member(number) for number in view.in_sync)

    def _check_stop(self) -> None:
        """The end is legitimate only if no living node could have served all that was acknowledged:
        if none is left of the last set that was large enough to acknowledge. With one of them
        nothing would be lost, had it not been left out, or dropped what it had."""
        full = self._observer.enough
        for number in full.in_sync if full is not None else ():
            record = rules.member(full, number) if full is not None else None
            node = self._scene.cluster.nodes.get(record.name) if record is not None else None
            if node is None or record is None or incarnation(node) != record.incarnation:
                continue
            text = f"{record.name} held all that was acknowledged, lives, and may not serve"
            self._observer.breach("LastServing", text)

    async def settled(self, seconds: float) -> None:
        """Wait until nothing is left to do; breaches EventuallyR when that takes too long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while unrest := self._unrest():
            if loop.time() >= deadline:
                self._observer.breach("EventuallyR", f"{seconds:.0f} s later: {unrest}")
                return
            await asyncio.sleep(POLL_SECONDS)

    def check_leases(self) -> None:
        """What cancelled calls were granted was given back."""
        namespace = self._scene.namespace()
        if namespace is not None:
            inodes = namespace.volume.tree.inodes
            for slot, client in namespace.volume.sessions.writers.items():
                lease = Lease(inodes.id_of(slot), inodes.generation[slot])
                self._observer.check_lease(client, lease)
            self._observer.check_locks(namespace)

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
        takers = sum(map(accepts_copies, view.members))
        for placed in placed_blocks(namespace):
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
        version = ref.version
        nodes = [self._scene.member(number) for number in ref.replicas]
        codes = {node.config.name: node.store.verify(version) for node in nodes if node}
        return [f"{name} has {_WRONG[code]} copy" for name, code in codes.items() if code]

    def _garbage(self) -> str:
        namespace = self._scene.namespace()
        assert namespace is not None
        if namespace.reclaiming:
            return f"{namespace.reclaiming} inodes of deleted trees"
        if namespace.unlinked():
            return f"{len(namespace.unlinked())} deleted files that nobody has open"
        for node in self._scene.cluster.nodes.values():
            for block in node.store.list(None, node.store.count):
                version = block.version
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
