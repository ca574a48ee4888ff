"""Members join and leave, on the primary; a heartbeat may make a member a backup.

Owns the messages Join, Leave and Heartbeat. The rules of the view say what happens to a member, the
in-sync set which members follow the log.
"""

from __future__ import annotations

import logging

from memfs import errors
from memfs.cluster import view as rules
from memfs.logs import fields
from memfs.node.membership.members import Membership
from memfs.node.replication.role import NamespaceRole
from memfs.node.requests.authentication import check_host
from memfs.protocol import messages as m
from memfs.transport.server import IncomingCall
from memfs.types import Member, NodeUsage, View

log = logging.getLogger(__name__)


class Admission:
    """What members ask of the primary about their membership."""

    def __init__(self, membership: Membership, role: NamespaceRole) -> None:
        """Every request is refused (NotPrimaryError) while ``role`` is another."""
        self._membership = membership
        self._role = role

    async def join(self, call: IncomingCall[m.Join]) -> m.ViewReply:
        """Take a node in as a member; it becomes a backup in the background."""
        primary, member = self._role.primary, call.request.member
        check_host(call.connection.peer.principal, member.host)
        view = await self._role.in_sync.change(lambda view: _joined(view, member))
        for number in set(primary.links) - {known.number for known in view.members}:
            primary.remove_backup(number)
        joined = rules.incarnation_of(view, member.name, member.incarnation)
        if joined is None:
            raise errors.UnavailableError("the member left before it had joined")
        self._membership.note_heartbeat(NodeUsage(joined.number, 0, 0, 0))
        log.info("member joined", extra=fields(member=joined.number, name=joined.name))
        return m.ViewReply(view)

    async def leave(self, call: IncomingCall[m.Leave]) -> m.Empty:
        """Let a member go."""
        self._membership.departures.because(call.request.member, "stopped")
        await self._role.in_sync.remove(call.request.member)
        return m.Empty()

    def heartbeat(self, call: IncomingCall[m.Heartbeat]) -> m.ViewReply:
        """Note a member's sign of life; a member without a role may become a backup."""
        in_sync, view = self._role.in_sync, self._membership.view
        usage = call.request.usage
        if rules.member(view, usage.member) is not None:
            self._membership.note_heartbeat(usage)
            self._role.primary.heard(usage.member)
            in_sync.consider(usage.member)
        return m.ViewReply(view)


def _joined(view: View, member: Member) -> View:
    """The view with a node, under the number that it holds blocks for if it holds any."""
    was_given = 0 < member.number < view.next_number
    replaced = rules.named(view, member.name) is not None
    if was_given and not replaced and rules.member(view, member.number) is None:
        return rules.revive(view, member.number, member, complete=False)
    return rules.join(view, member)
