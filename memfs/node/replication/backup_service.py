"""The messages of the primary to its backups, answered by this node's backup.

Owns the fence around them (ReceiverFence); under ``ack = journal`` an answer waits until what it
acknowledges is on the disk. The state belongs to the role.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

from memfs import errors
from memfs.node.membership.members import Membership
from memfs.node.membership.receiver_fence import check_from_primary
from memfs.node.replication.role import NamespaceRole
from memfs.protocol import messages as m
from memfs.transport.server import IncomingCall, Reply, Served
from memfs.types import View

R = TypeVar("R")

_NOTHING = m.ReconcileReply(-1, 0)


class BackupService:
    """What a primary asks of this node."""

    def __init__(self, membership: Membership, role: NamespaceRole) -> None:
        """``role`` holds the backup, for as long as it is one."""
        self._membership = membership
        self._role = role

    async def new_view(self, call: IncomingCall[m.NewView]) -> m.Empty:
        """Adopt what the primary announces."""
        await self._learn_view(call.request.view)
        return m.Empty()

    async def _learn_view(self, view: View) -> None:
        """Learn a view. Raises InvalidArgumentError for an impossible one."""
        try:
            await self._membership.learn_view(view)
        except errors.ProtocolError as error:
            raise errors.InvalidArgumentError(
                f"the view is not followed: {error.message}"
            ) from None

    def renew_lease(self, call: IncomingCall[m.RenewLease]) -> m.Empty:
        """Promise the primary not to take over before the lease time has passed."""
        self._fence(call)
        self._role.backup.note_committed(call.request.committed)
        return m.Empty()

    async def reconcile(self, call: IncomingCall[m.Reconcile]) -> m.ReconcileReply:
        """Follow a primary that takes up its role: say where the log ends."""
        await self._learn_view(call.request.view)
        self._fence(call)
        namespace = self._role.backup.namespace
        if namespace is None:
            return _NOTHING
        reply = m.ReconcileReply(namespace.applied, namespace.digest)
        return await self._durable(reply) if self._role.journal.required else reply

    def fetch_log(self, call: IncomingCall[m.FetchLog]) -> Reply[m.FetchLogReply]:
        """Entries for a new primary that lacks them."""
        self._fence(call)
        return self._role.backup.entries(call.request.first)

    def install(self, call: IncomingCall[m.InstallSnapshot]) -> Served[m.ReplicateReply]:
        """One piece of a snapshot from the primary."""
        self._fence(call)
        reply = self._role.backup.install(call.request, call.payload)
        return self._when_durable(reply) if call.request.last else reply

    def replicate(self, call: IncomingCall[m.Replicate]) -> Served[m.ReplicateReply]:
        """Log entries from the primary."""
        self._fence(call)
        return self._when_durable(self._role.backup.replicate(call.request, call.payload))

    def _when_durable(self, reply: R) -> R | asyncio.Future[R]:
        """The reply, once what it acknowledges counts."""
        if not self._role.journal.required:
            return reply
        return asyncio.ensure_future(self._durable(reply))

    async def _durable(self, reply: R) -> R:
        namespace = self._role.backup.namespace
        if namespace is None:
            raise errors.UnavailableError("this node holds no namespace any more")
        await self._role.journal.until_durable(namespace)
        return reply

    def _fence(self, call: IncomingCall[object]) -> None:
        """ReceiverFence; what passes is a sign of the primary's life. Raises StaleEpochError."""
        view = check_from_primary(self._membership.latest, call)
        if self._role.term:
            raise errors.StaleEpochError(f"the sender is not the primary of epoch {view.epoch}")
        if self._role.candidate.campaigning:
            raise errors.StaleEpochError("this backup is taking over: the primary was silent")
        self._role.candidate.note_heartbeat()
