"""What a node reports of itself: in heartbeats, and when asked whether it is ready.

Owns nothing; looks at the parts when it is asked.
"""

from __future__ import annotations

from memfs.node.blocks import BlockStore
from memfs.node.journal.journal import Journal
from memfs.node.membership.members import Membership
from memfs.node.replication.role import NamespaceRole
from memfs.node.requests.control import Control
from memfs.node.resources.footprint import FootprintWatch
from memfs.node.resources.shares import Shortages
from memfs.node.stores.cached_blocks import ObjectBlocks
from memfs.types import NodeUsage


class SelfReport:
    """The reports of one node."""

    def __init__(
        self,
        store: BlockStore,
        membership: Membership,
        role: NamespaceRole,
        control: Control,
        shortages: Shortages,
        footprint: FootprintWatch,
        journal: Journal | None,
        objects: ObjectBlocks,
    ) -> None:
        """``journal`` is None on a node that keeps none."""
        self._store = store
        self._membership = membership
        self._role = role
        self._control = control
        self._shortages = shortages
        self._footprint = footprint
        self._journal = journal
        self._objects = objects

    def usage(self) -> NodeUsage:
        """What the primary is told with every heartbeat."""
        namespace = self._role.namespace
        return NodeUsage(
            self._membership.number,
            self._store.used,
            self._store.limit,
            self._store.count,
            namespace.applied if namespace else 0,
            namespace.digest if namespace else 0,
            self._trouble(),
            self._store.overhead,
            self._store.spare,
            self._footprint.resident,
            self._footprint.last.container,
            self._footprint.last.container_limit,
            self._objects.cached_bytes(),
        )

    def _trouble(self) -> str:
        journal = self._journal.trouble if self._journal is not None else ""
        every = (journal, self._footprint.trouble, *self._shortages.troubles)
        return "; ".join(filter(None, every))

    def not_ready(self) -> str:
        """Why this node is not ready to serve; empty: it is."""
        if not self._membership.number:
            return "not a member of the cluster"
        if self._journal is not None and self._journal.loading:
            return "loading blocks from the journal"
        return self._control.unavailable_reason() or self._role.not_serving()
