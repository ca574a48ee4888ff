"""Bytes that no file holds: how many there may be, looked at from outside of all nodes.

NoHoarding: what the nodes hold is at most

    committed bytes, at the nodes that files name
    + two versions of each block that an open writer has changed, at each node that has them
    + what came to be neither within the last :data:`GRACE_SECONDS`,
      or is queued at the primary to be forgotten.

Looked at are all nodes four times a second and, up to ten times, when something is committed, and
each version that a node stores at that moment: of one block a node has no more than two that a
writer may still publish, for what a version replaces goes with the message that brings it. While
answers may be lost a writer does not know what it has stored, and only the other two rules are
asked for.

The last line is the bound on what is under way: whoever knows that nothing will come of bytes says
so at once, in one message to the node, which takes no longer.

A fault may take that message, and then only the primary's sweep finds the bytes. So of a copy that
was found to be one too many while messages could be lost, or blocks were moved, or too short a time
after, another bound is asked for: it is gone once :data:`SWEEPS` sweeps of its node have been
completed, however much goes wrong meanwhile. A sweep that fails is no sweep, nor is one of a node
that cannot yet know the primary, since the coordinator's answers to it are lost; more than a few
that succeed, and whose word is lost each time, are no accident. Two things a sweep leaves alone,
and nothing is asked for while they last: what a living writer may still publish (only it knows that
it will not), and what healing brings to where no file names it yet. While there is no primary
nobody can tell what files name, and what was stored is not judged before there is one.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from memfs.node.blocks.holdings import Holdings
from memfs.node.healing.sweep import OrphanSweep
from memfs.node.namespace import Namespace
from memfs.node.server import Node
from memfs.protocol import messages as m
from memfs.testing.patches import followed, replaced
from memfs.types import View
from tests.support.faults.scene import Scene

GRACE_SECONDS = 3.0
"""A command's round, the pause of the discards, one message: with room for slow networks."""
LINGERING_LEASES = 4
"""After the last fault: who was cut off notices, gives up, and says what it has to say."""
SWEEPS = 3
"""Of a node, completed since a copy there was seen to be one too many: it is gone then."""
OPEN_VERSIONS = 2
"""Of a block that an open writer has changed: the newest, and the one that is replacing it."""
HARMLESS = frozenset(
    (
        "drift",
        "wall_clock",
        "client_crash",
        "client_pause",
        "cancel",
        "coordinator_down",
        "coordinator_slow",
        "coordinator_late",
    )
)
"""Faults that take no word between primary and nodes, and let clients say what they know.

A client that hears nothing does not know what came of a write: it gives back what it has stored
when it has noticed, and may be late."""


class Copy(NamedTuple):
    """One version on one node."""

    member: int
    version: m.BlockVersion


class Surplus(NamedTuple):
    """A copy that is one too many."""

    length: int
    swept: bool
    """A sweep takes it: no writer may publish it, and nobody is moving it."""


class Seen:
    """When a copy was first seen to be one too many, and what is asked for."""

    __slots__ = ("quiet", "since")

    def __init__(self, since: float, quiet: bool) -> None:
        self.since = since
        self.quiet = quiet
        """No word of it can have been lost until now."""


class Hoarding:
    """Weighs, at every look, what a cluster holds against what it may."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._seen: dict[Copy, Seen] = {}
        self._sweeps: dict[int, list[float]] = defaultdict(list)
        """When completed sweeps of each member began."""
        self._troubled = 0.0
        """Until when words may be lost, and the consequences last."""
        self._begun = 0
        self._members: tuple[int, tuple[int, ...]] | None = None
        """The primary, and all members, as of the last look."""
        self._excess = ""
        """What is wrong with a version that was stored since the last look."""
        self.stored = 0
        """Versions that were looked at when they were stored."""

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Count sweeps, and look at every version that is stored, meanwhile."""
        discard_orphans = OrphanSweep._discard_orphans

        async def observed(sweep: OrphanSweep, number: int, held: set[int] | None) -> int:
            began = self._scene.cluster.fabric.now()
            found = await discard_orphans(sweep, number, held)
            view = self._scene.view
            led = view is not None and sweep._role.membership.number == view.primary
            if view is not None and led and self._follows(number, view):
                self._sweeps[number] = [*self._sweeps[number][1 - SWEEPS :], began]
            return found

        def published(_none: None, holdings: Holdings, inode: int, index: int, *_: Any) -> None:
            self._look_at(holdings, inode, index)

        with (
            replaced(OrphanSweep, "_discard_orphans", observed),
            followed(Holdings, "publish", published),
        ):
            yield

    def _follows(self, number: int, view: View) -> bool:
        """Does a member know who the primary is? Otherwise it refuses to be told anything."""
        node = self._scene.member(number)
        latest = node.membership.latest if node is not None else None
        return latest is not None and latest.primary_since == view.primary_since

    def _look_at(self, holdings: Holdings, inode: int, index: int) -> None:
        """A node has stored a version of a block: how many may still be published?"""
        namespace, view = self._scene.namespace(), self._scene.view
        now = self._scene.cluster.fabric.now()
        if namespace is None or view is None or self._is_troubled(now, view):
            return
        self.stored += 1
        held = [m.BlockVersion(inode, index, *v.age) for v in holdings.index.versions(inode, index)]
        open_ = [v for v in held if namespace.block(v) is None and namespace.is_live(v)]
        if len(open_) > OPEN_VERSIONS and not self._excess:
            self._excess = f"{len(open_)} versions of one block, of which no file has any: {open_}"

    def look(self) -> str | None:
        """What is wrong, "" if nothing is; None: nobody can tell, for there is no primary."""
        scene, now = self._scene, self._scene.cluster.fabric.now()
        namespace, view = scene.namespace(), scene.view
        if namespace is None or view is None:
            self._note_trouble(now, view)
            return None
        if self._excess:
            found, self._excess = self._excess, ""
            return found
        quiet = not self._is_troubled(now, view)
        surplus = dict(self._surplus(namespace))
        self._seen = {copy: self._seen.get(copy) or Seen(now, quiet) for copy in surplus}
        for seen in self._seen.values():
            seen.quiet = seen.quiet and quiet
        late = [
            copy for copy, seen in self._seen.items() if self._is_late(copy, seen, surplus, now)
        ]
        if not late:
            return ""
        held, first = sum(surplus[copy].length for copy in late), late[0]
        seconds = now - self._seen[first].since
        return f"{held} bytes that no file holds, the first for {seconds:.1f} s: {first}"

    def _is_late(self, copy: Copy, seen: Seen, surplus: dict[Copy, Surplus], now: float) -> bool:
        if seen.quiet:
            return now - seen.since > GRACE_SECONDS
        sweeps = self._sweeps[copy.member]
        swept = len(sweeps) >= SWEEPS and sweeps[-SWEEPS] > seen.since
        return surplus[copy].swept and swept and now - sweeps[-1] > GRACE_SECONDS

    def _note_trouble(self, now: float, view: View | None) -> None:
        """The consequences of what goes wrong last for a while."""
        self._troubled = now + LINGERING_LEASES * self._scene.plan.lease_seconds
        numbers = tuple(member.number for member in view.members) if view else ()
        self._members = (view.primary, numbers) if view else None

    def _is_troubled(self, now: float, view: View) -> bool:
        """Has something taken words, or moved blocks, too short a time ago?"""
        scene, plan = self._scene, self._scene.plan
        if plan.conditions.loss_chance or plan.conditions.reset_chance:
            return True
        begun = sum(count for kind, count in scene.begun.items() if kind not in HARMLESS)
        lasting = [kind for kind in scene.lasting.elements() if kind not in HARMLESS]
        node = scene.member(view.primary)
        moving = node is None or node.healing.copies.state != "idle"
        members = view.primary, tuple(member.number for member in view.members)
        if begun != self._begun or lasting or moving or self._members not in (None, members):
            self._note_trouble(now, view)
        self._begun, self._members = begun, members
        return now < self._troubled

    def _surplus(self, namespace: Namespace) -> Iterator[tuple[Copy, Surplus]]:
        """Copies beyond those that files name and open writers may have."""
        queued, primary = self._queued(), self._primary()
        assert primary is not None, "it has the namespace"
        unpublished: dict[tuple[int, int, int], list[tuple[int, Copy]]] = defaultdict(list)
        for member, node in self._nodes():
            for block in node.store.list(None, node.store.count):
                ref = namespace.block(block.version)
                if ref is not None and member in ref.replicas:
                    continue
                copy = Copy(member, block.version)
                if copy in queued:
                    continue
                if ref is None and namespace.is_live(block.version):
                    place = (member, block.version.inode, block.version.index)
                    unpublished[place].append((block.length, copy))
                else:
                    moved = primary.healing.copies.is_copying(block.version, member)
                    yield copy, Surplus(block.length, not moved)
        for versions in unpublished.values():
            for length, copy in sorted(versions)[:-OPEN_VERSIONS]:
                yield copy, Surplus(length, False)

    def _primary(self) -> Node | None:
        assert self._scene.view is not None
        return self._scene.member(self._scene.view.primary)

    def _nodes(self) -> Iterator[tuple[int, Node]]:
        assert self._scene.view is not None
        for member in self._scene.view.members:
            node = self._scene.member(member.number)
            if node is not None:
                yield member.number, node

    def _queued(self) -> set[Copy]:
        """What the primary is about to have forgotten."""
        node = self._primary()
        queues = node.parts.discards._queues if node is not None else {}
        return {Copy(member, version) for member, queue in queues.items() for version, _ in queue}
