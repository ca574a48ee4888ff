"""Bytes that no file holds: how many there may be, looked at from outside of all nodes.

NoHoarding: what the nodes hold is at most

    committed bytes, at the nodes that files name
    + two versions of each block that an open writer has changed, at each node that has them
    + what came to be neither within the last :data:`GRACE_SECONDS`,
      or is queued at the primary to be forgotten.

The last line is the bound on what is under way: whoever knows that nothing will come of bytes says
so at once, in one message to the node, which takes no longer. It holds while nothing is wrong. A
message that a fault takes leaves bytes to the sweep, so after a fault nothing is asked for until
each member was swept twice; nor while blocks are copied for healing or balance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from memfs.node.namespace import Namespace
from memfs.node.server import Node
from memfs.protocol import messages as m
from memfs.types import View
from tests.support.faults.scene import Scene

GRACE_SECONDS = 3.0
"""A command's round, the pause of the discards, one message: with room for slow networks."""
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
"""Faults that take no word between primary and nodes."""


class Copy(NamedTuple):
    """One version on one node."""

    member: int
    version: m.BlockVersion


class Hoarding:
    """Weighs, at every look, what a cluster holds against what it may."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._since: dict[Copy, float] = {}
        """When a copy was first seen to be one too many."""
        self._troubled = 0.0
        """Until when nothing is asked for."""
        self._begun = 0
        self._members: tuple[int, tuple[int, ...]] | None = None
        """The primary, and all members, as of the last look."""

    def look(self) -> str | None:
        """What is wrong, "" if nothing is; None: there is nothing to be asked for now."""
        scene, now = self._scene, self._scene.cluster.fabric.now()
        namespace, view = scene.namespace(), scene.view
        if namespace is None or view is None or self._is_troubled(now, view):
            self._since.clear()
            return None
        surplus = dict(self._surplus(namespace))
        self._since = {copy: self._since.get(copy, now) for copy in surplus}
        late = [copy for copy, since in self._since.items() if now - since > GRACE_SECONDS]
        if not late:
            return ""
        held = sum(surplus[copy] for copy in late)
        return f"{held} bytes that no file holds for {GRACE_SECONDS} s, the first: {late[0]}"

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
        changed = self._members not in (None, members)
        if begun != self._begun or lasting or moving or changed:
            sweep: float = plan.settings["orphan_sweep_seconds"]
            self._troubled = now + 2 * sweep + plan.lease_seconds
        self._begun, self._members = begun, members
        return now < self._troubled

    def _surplus(self, namespace: Namespace) -> Iterator[tuple[Copy, int]]:
        """Copies beyond those that files name and open writers may have, with their lengths."""
        queued = self._queued()
        unpublished: dict[tuple[int, int, int], list[tuple[int, Copy]]] = defaultdict(list)
        for member, node in self._nodes():
            for block in node.store.list(None, node.store.count):
                copy, ref = Copy(member, block.version), namespace.block(block.version)
                if copy in queued or (ref is not None and member in ref.replicas):
                    continue
                if ref is None and namespace.is_live(block.version):
                    place = (member, block.version.inode, block.version.index)
                    unpublished[place].append((block.length, copy))
                else:
                    yield copy, block.length
        for versions in unpublished.values():
            for length, copy in sorted(versions)[:-OPEN_VERSIONS]:
                yield copy, length

    def _nodes(self) -> Iterator[tuple[int, Node]]:
        assert self._scene.view is not None
        for member in self._scene.view.members:
            node = self._scene.member(member.number)
            if node is not None:
                yield member.number, node

    def _queued(self) -> set[Copy]:
        """What the primary is about to have forgotten."""
        assert self._scene.view is not None
        node = self._scene.member(self._scene.view.primary)
        queues = node.parts.discards._queues if node is not None else {}
        return {Copy(member, version) for member, queue in queues.items() for version, _ in queue}
