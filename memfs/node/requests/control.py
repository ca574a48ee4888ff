"""What any node says of itself, and what an operator may order of it: with or without a primary.

Owns the messages GetNodeState, HandOver and ForceRecover.
"""

from __future__ import annotations

from memfs import errors
from memfs.node.membership.bootstrap import Bootstrap
from memfs.node.membership.members import Membership
from memfs.node.replication.role import NamespaceRole
from memfs.protocol import messages as m
from memfs.transport.server import IncomingCall
from memfs.types import View


class Control:
    """An operator's hold on one node."""

    def __init__(
        self, name: str, membership: Membership, role: NamespaceRole, bootstrap: Bootstrap
    ) -> None:
        """``name`` of the node."""
        self._name = name
        self._membership = membership
        self._role = role
        self._bootstrap = bootstrap

    def state(self, call: IncomingCall[m.GetNodeState]) -> m.NodeStateReply:
        """What this node knows."""
        namespace = self._role.namespace or self._role.recovered
        return m.NodeStateReply(
            self._name,
            self._membership.number,
            self._role.title,
            self._membership.latest,
            namespace.applied if namespace else 0,
            self._membership.coordinator_reachable,
            self._role.primary_silent_ms(),
            self.unavailable_reason(),
        )

    def unavailable_reason(self) -> str:
        """Why there is no service, as far as this node knows; empty: nothing known."""
        view = self._membership.latest
        if self._bootstrap.unavailable_reason or view is None:
            return self._bootstrap.unavailable_reason
        absent = self._role.primary.absent if self._role.leads else ()
        in_sync, wanted = len(view.in_sync) - len(absent), view.min_in_sync
        if absent or in_sync < wanted:
            text = f"{in_sync} of {wanted} required copies of the namespace are in sync"
            names = [each.name for each in view.members if each.number in absent]
            return f"{text}: no word from {' and '.join(names)}" if names else text
        if self._role.leads and (reason := self._role.unavailable_reason):
            return reason
        if self._role.leads and not self._role.primary.has_lease():
            return self._unconfirmed(view)
        return ""

    def _unconfirmed(self, view: View) -> str:
        """Who keeps the primary from answering, by name."""
        silent = self._role.primary.unconfirmed()
        names = [member.name for member in view.members if member.number in silent]
        verb = "does" if len(names) == 1 else "do"
        return f"{', '.join(names) or 'the backups'} {verb} not confirm the primary"

    async def hand_over(self, call: IncomingCall[m.HandOver]) -> m.ViewReply:
        """Pass the primary's role to an in-sync backup."""
        await self._role.hand_over(call.request.member)
        return m.ViewReply(self._membership.view)

    async def force_recover(self, call: IncomingCall[m.ForceRecover]) -> m.ViewReply:
        """Begin with what this node holds, though in-sync members are lost."""
        if not call.request.accept_data_loss:
            raise errors.InvalidArgumentError(
                "what only lost members knew would be given up: say --accept-data-loss"
            )
        return m.ViewReply(await self._role.force_recover())
