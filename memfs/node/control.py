"""What any node says of itself, and what an operator may order of it: with or without a primary.

Owns the messages GetNodeState, HandOver and ForceRecover.
"""

from __future__ import annotations

from memfs import errors
from memfs.node.entry import Entry
from memfs.node.membership import Membership
from memfs.node.namespace_role import NamespaceRole
from memfs.protocol import messages as m
from memfs.transport.server import Call
from memfs.types import View


class Control:
    """An operator's hold on one node."""

    def __init__(
        self, name: str, membership: Membership, role: NamespaceRole, entry: Entry
    ) -> None:
        """``name`` of the node."""
        self._name = name
        self._membership = membership
        self._role = role
        self._entry = entry

    def state(self, call: Call) -> m.NodeStateReply:
        """What this node knows."""
        namespace = self._role.namespace or self._role.recovered
        return m.NodeStateReply(
            self._name,
            self._membership.number,
            self._role.title,
            self._membership.view,
            namespace.applied if namespace else 0,
            self._membership.coordinator_reachable,
            self._role.primary_silent_ms(),
            self.obstacle(),
        )

    def obstacle(self) -> str:
        """Why there is no service, as far as this node knows; empty: nothing known."""
        view = self._membership.view
        if self._entry.obstacle or view is None:
            return self._entry.obstacle
        in_sync, wanted = len(view.in_sync), view.min_in_sync
        if in_sync < wanted:
            return f"{in_sync} of {wanted} required copies of the namespace are in sync"
        if self._role.leads and (refusal := self._role.refusal):
            return refusal
        if self._role.leads and not self._role.primary.has_lease():
            return "the backups do not confirm the primary"
        return ""

    async def hand_over(self, call: Call) -> m.ViewReply:
        """Pass the primary's role to an in-sync backup."""
        await self._role.hand_over(call.request.member)
        return m.ViewReply(self._view())

    async def force_recover(self, call: Call) -> m.ViewReply:
        """Begin with what this node holds, though in-sync members are lost."""
        if not call.request.accept_data_loss:
            raise errors.InvalidArgumentError(
                "what only lost members knew would be given up: say --accept-data-loss"
            )
        return m.ViewReply(await self._role.force_recover())

    def _view(self) -> View:
        view = self._membership.view
        assert view is not None, "a node that led a cluster has a view"
        return view
