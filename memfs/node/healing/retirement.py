"""The end of a member that was decommissioned: it does not join anew, it stops.

Owns the primary's word that it will be removed on purpose. It serves until the view says so.
"""

from __future__ import annotations

from memfs.node.healing.copier import Copier
from memfs.node.membership.members import Membership
from memfs.protocol import messages as m
from memfs.transport.server import IncomingCall


class Retirement:
    """What this node knows of its own decommission."""

    def __init__(self, membership: Membership, copier: Copier) -> None:
        """``copier`` keeps the fence around the primary's orders."""
        self._membership = membership
        self._copier = copier
        self._told = False

    def order(self, call: IncomingCall[m.Retire]) -> m.Empty:
        """The primary is about to remove this node, which holds nothing any more (Retire)."""
        self._copier.check_primary(call)
        self._told = True
        return m.Empty()

    def is_over(self) -> bool:
        """Has this node left for good? A decommission that was called off is forgotten."""
        if self._membership.number and not self._membership.member.leaving:
            self._told = False
        return self._told and not self._membership.number
