"""The messages of the primary to its backups, answered by this node's backup.

Owns the fence around them (ReceiverFence), and that an answer about what is held waits until that
counts (``ack = journal``). What it holds is the role's.
"""

from __future__ import annotations

import asyncio
from typing import Any

from memfs import errors
from memfs.cluster import view as rules
from memfs.node.membership import Membership
from memfs.node.namespace_role import NamespaceRole
from memfs.protocol import messages as m
from memfs.transport.server import Call, Reply

_NOTHING = m.ReconcileReply(-1, 0)


class BackupService:
    """What a primary asks of this node."""

    def __init__(self, membership: Membership, role: NamespaceRole) -> None:
        """``role`` holds the backup, for as long as it is one."""
        self._membership = membership
        self._role = role

    def new_view(self, call: Call) -> m.Empty:
        """Adopt what the primary announces."""
        self._membership.adopt(call.request.view)
        return m.Empty()

    def renew_lease(self, call: Call) -> m.Empty:
        """Promise the primary not to take over before the lease time has passed."""
        self._fence(call)
        return m.Empty()

    def reconcile(self, call: Call) -> Any:
        """Follow a primary that takes up its role: say where the log ends."""
        self._membership.adopt(call.request.view)
        self._fence(call)
        namespace = self._role.backup.namespace
        if namespace is None:
            return _NOTHING
        return self._when_durable(m.ReconcileReply(namespace.applied, namespace.digest))

    def fetch_log(self, call: Call) -> Reply:
        """Entries for a new primary that lacks them."""
        self._fence(call)
        return self._role.backup.entries(call.request.first)

    def install(self, call: Call) -> Any:
        """One piece of a snapshot from the primary."""
        self._fence(call)
        reply = self._role.backup.install(call.request, call.payload)
        return self._when_durable(reply) if call.request.last else reply

    def replicate(self, call: Call) -> Any:
        """Log entries from the primary."""
        self._fence(call)
        return self._when_durable(self._role.backup.replicate(call.request, call.payload))

    def _when_durable(self, reply: Any) -> Any:
        """A reply about what this backup holds, once that counts."""
        if not self._role.feed.required:
            return reply
        return asyncio.ensure_future(self._durable(reply))

    async def _durable(self, reply: Any) -> Any:
        namespace = self._role.backup.namespace
        if namespace is None:
            raise errors.UnavailableError("this node holds no namespace any more")
        await self._role.feed.settle(namespace)
        return reply

    def _fence(self, call: Call) -> None:
        """ReceiverFence: nothing of a former primary's epoch, nothing from who is not the primary.

        A lower epoch of the same primary is no danger: its log has one order, and frames that
        were under way when it published a view must not count as lost. What passes is a sign of
        the primary's life.
        """
        view = self._membership.view
        if view is None or call.header.epoch < view.primary_since:
            raise errors.StaleEpochError(
                f"epoch {call.header.epoch} is over, {view.epoch if view else 0} is known here"
            )
        primary, sender = rules.member(view, view.primary), call.connection.peer.incarnation
        if primary is None or sender != primary.incarnation or self._role.reign:
            raise errors.StaleEpochError(f"the sender is not the primary of epoch {view.epoch}")
        if self._role.candidate.standing:
            raise errors.StaleEpochError("this backup is taking over: the primary was silent")
        self._role.candidate.heard()
