"""The cluster's status as the primary reports it: members, the log, healing, counts of files."""

from __future__ import annotations

from collections.abc import Callable

from memfs.node.healing.service import Healing
from memfs.node.membership.members import Membership
from memfs.node.replication.role import NamespaceRole
from memfs.node.requests.control import Control
from memfs.protocol import messages as m
from memfs.transport.server import IncomingCall


class ClusterStatus:
    """Puts the status together when it is asked for."""

    def __init__(
        self,
        membership: Membership,
        role: NamespaceRole,
        healing: Healing,
        control: Control,
        security: Callable[[], tuple[str, int, str]],
    ) -> None:
        """``security``: the fields of that name of ``StatusReply``."""
        self._membership = membership
        self._role = role
        self._healing = healing
        self._control = control
        self._security = security

    def get(self, call: IncomingCall[m.GetStatus]) -> m.StatusReply:
        """The status. Raises NotPrimaryError."""
        primary, view = self._role.primary, self._membership.view
        namespace, now = primary.namespace, self._membership.environment.clock.monotonic()
        nodes = []
        for member in view.members:
            number = member.number
            life = self._membership.life(number)
            silent = min(max(0.0, now - life.at), 1e9)  # its own sign of life is newer than `now`
            nodes.append(
                m.NodeStatus(
                    member,
                    life.usage,
                    self._membership.is_alive(number),
                    number in view.in_sync,
                    int(silent * 1000),
                )
            )
        counts = namespace.statistics()
        return m.StatusReply(
            view,
            namespace.applied,
            primary.committed,
            tuple(nodes),
            counts.files,
            counts.directories,
            counts.bytes,
            len(namespace.sessions),
            namespace.reclaiming,
            self._healing.status(),
            self._membership.coordinator_reachable,
            self._control.unavailable_reason(),
            self._membership.departures.told(),
            primary.recent.entries,
            primary.recent.bytes,
            *self._security(),
        )
