"""A backup that watches its primary, and campaigns for the role when it was silent too long.

Owns this node's promise to the primary. Only a backup in sync ever takes over (LastServing); not
before the promise is over (NoStaleRead); only by a compare-and-swap of the view, and from the
moment it campaigns it refuses the old primary. What becomes of the role then is no business of this
module: the new view decides.
"""

from __future__ import annotations

import logging

from memfs import errors
from memfs.cluster import view as rules
from memfs.logs import Seldom, fields
from memfs.node.membership.members import Membership
from memfs.node.replication.read_lease import Promise
from memfs.types import View

log = logging.getLogger(__name__)

PATIENCE_SHARE = 0.1
"""Of the lease time: how much longer each further backup waits before it campaigns for the role."""
DEPOSED_LEASES = 3.0
"""Lease times that a deposed primary waits longer: it may be the one that hears nobody. Twice as
long each time that it had the role and lost it again, and has heard no other primary meanwhile."""


class Candidate:
    """What this node has promised, and how it takes over."""

    def __init__(self, membership: Membership, lease_seconds: float) -> None:
        """``lease_seconds``: how long a promise lasts."""
        self.campaigning = False
        """From the decision to campaign until its outcome is known."""
        self._membership = membership
        self._lease_seconds = lease_seconds
        self._now_ns = membership.environment.clock.boottime_ns
        self._promise = Promise(lease_seconds, self._now_ns())
        self._heartbeats = 0
        self._silent_looks = 0
        self._depositions = 0
        self._news = Seldom(membership.environment.clock.monotonic)

    def note_heartbeat(self) -> None:
        """The primary showed life: promise it anew not to take over for the lease time."""
        self._heartbeats += 1
        self._depositions = 0
        self._promise.renew(self._now_ns())

    def deposed(self) -> None:
        """This node was the primary and is one no more: what its successor needs is time."""
        self._depositions += 1
        self._promise.renew(self._now_ns())

    def silent_ns(self) -> int:
        """Nanoseconds since the primary's last sign of life."""
        return self._promise.silent_ns(self._now_ns())

    def view_changed(self) -> None:
        """A newer view came, and with it new promises."""
        self.campaigning = False
        self._news.forget()

    def may_campaign(self, holds_namespace: bool) -> bool:
        """Is this a backup in sync whose primary was silent for the lease time, twice looked at?

        Between the two looks what waited in sockets while this process was stopped is received.
        """
        membership, over = self._membership, False
        if membership.is_in_sync and holds_namespace:
            view = membership.view
            others = [number for number in view.in_sync if number != view.primary]
            patience = others.index(membership.number) * PATIENCE_SHARE
            if self._depositions and not membership.has_ended(view.primary):
                patience += DEPOSED_LEASES * 2.0 ** (self._depositions - 1)
            over = self._promise.is_over(self._now_ns(), patience * self._lease_seconds)
        self._silent_looks = self._silent_looks + 1 if over else 0
        return self._silent_looks > 1

    async def campaign(self) -> None:
        """Take over by compare-and-swap; refuse the old primary before the proposal is sent."""
        membership = self._membership
        began_in = membership.view
        if self._news.is_news("silent"):
            log.warning("the primary is silent", extra=fields(member=began_in.primary))
        self.campaigning = True

        def propose(view: View | None) -> View | None:
            if view is None or view.primary_since != began_in.primary_since:
                return None
            if membership.number not in view.in_sync or not self.campaigning:
                return None  # a newer view came with new promises
            return rules.promote(view, membership.number)

        heartbeats = self._heartbeats
        try:
            await membership.publisher.read()
            # A newer view of the same term does not end the silence, but what came with it may:
            # after it this node no longer refused the primary, and has perhaps promised anew.
            self.campaigning = self._heartbeats == heartbeats
            await membership.publisher.change(propose)
        except errors.MemfsError as error:
            if self._news.is_news(error.message):
                log.warning("cannot take over", extra=fields(reason=error))
        finally:
            self.campaigning = False
