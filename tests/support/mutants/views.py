"""Guards of the view: who may be the primary, who is whom, and whose word counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memfs import errors
from memfs.cluster import view as rules
from memfs.node.membership.members import Membership
from memfs.node.membership.publisher import Publisher
from memfs.node.replication.backup_service import BackupService
from memfs.node.replication.candidate import Candidate
from memfs.node.replication.read_lease import Promise
from memfs.testing.patches import replaced
from memfs.types import Member, View
from tests.support.mutants.registry import mutant, without


@mutant(
    "MaximalInSync",
    "an unanswered change of the view counts as not made",
    shown_by="coordinator_loses_replies",
)
def doubt_is_failure() -> Iterator[None]:
    async def publish(self: Any, proposed: View) -> bool:
        try:
            stored = await self._coordinator.swap_view(self._stored.revision, proposed)
        except errors.OutcomeUnknownError as error:
            raise errors.UnavailableError("taken for not made") from error
        stored = stored or await self._coordinator.read_view()
        self._stored = stored
        self._adopt(stored.view)
        return bool(stored.view == proposed)

    with replaced(Publisher, "_publish", publish):
        yield


@mutant(
    "ReceiverFence",
    "a backup takes log entries from whoever sends them",
    shown_by="lonely_primary pause one_way isolate",
)
def no_receiver_fence() -> Iterator[None]:
    def heard(self: Any, _call: Any) -> None:
        self._role.candidate.note_heartbeat()

    with replaced(BackupService, "_fence", heard):
        yield


@mutant(
    "ReceiverFence",
    "a backup that is taking over goes on following the old primary",
    shown_by="lonely_primary pause one_way one_link coordinator_slow coordinator_late",
)
def candidates_follow() -> Iterator[None]:
    fence = BackupService._fence

    def lenient(self: Any, call: Any) -> None:
        candidate = self._role.candidate
        campaigning, candidate.campaigning = candidate.campaigning, False
        try:
            fence(self, call)
        finally:
            candidate.campaigning = campaigning

    with replaced(BackupService, "_fence", lenient):
        yield


@mutant(
    "NoStaleRead",
    "a backup takes over before its promise is over",
    shown_by="lonely_primary one_way isolate",
)
def broken_promises() -> Iterator[None]:
    def over(self: Any, now_ns: int, patience: float = 0.0) -> bool:
        return bool(self.silent_ns(now_ns) > self._promised_ns * 0.3)

    with replaced(Promise, "is_over", over):
        yield


without(
    "NoStaleRead",
    "a read lease lasts longer than the promises behind it",
    "leases-outlive-promises",
    "memfs.node.replication.read_lease.SHARE",
    3.0,
    shown_by="lonely_primary one_way isolate",
)


@mutant(
    "IncarnationIdentity",
    "a restarted node takes itself for the member of the same name",
    shown_by="quick_restarts crash",
)
def names_are_identity() -> Iterator[None]:
    def by_name(view: View, name: str, _incarnation: int) -> Member | None:
        return next((member for member in view.members if member.name == name), None)

    with replaced(rules, "incarnation_of", by_name):
        yield


@mutant(
    "LastServing",
    "a member that is not in sync takes over",
    shown_by="pause isolate one_way partition lonely_primary",
)
def anybody_takes_over() -> Iterator[None]:
    def may_campaign(self: Any, holds_namespace: bool) -> bool:
        held = holds_namespace and self._membership.number > 0
        return bool(held and self._promise.is_over(self._now_ns()))

    async def campaign(self: Any) -> None:
        membership = self._membership
        me = membership.number

        def propose(view: View | None) -> View | None:
            if view is None or rules.member(view, me) is None or view.primary == me:
                return None
            return rules.promote(view._replace(in_sync=(*view.in_sync, me)), me)

        try:
            await membership.publisher.read()
            await membership.publisher.change(propose)
        except errors.MemfsError:
            return

    with (
        replaced(Candidate, "may_campaign", may_campaign),
        replaced(Candidate, "campaign", campaign),
    ):
        yield


without(
    "MinInSync",
    "the in-sync set shrinks below what an acknowledgement needs",
    "shrinks-too-far",
    "memfs.cluster.view.can_spare",
    lambda view: True,
    shown_by="pause isolate one_way deaf_primary partition",
)


@mutant(
    "MinInSync",
    "a takeover leaves the silent primary out though it cannot be spared",
    shown_by="pause isolate lonely_primary deaf_primary copies=2",
)
def takeover_shrinks() -> Iterator[None]:
    def promote(view: View, number: int) -> View:
        left = view._replace(in_sync=tuple(n for n in view.in_sync if n != view.primary))
        return rules.hand_over(left, number)

    with replaced(rules, "promote", promote):
        yield


without(
    "SelfFence",
    "a primary that hears nobody goes on claiming its role",
    "deaf-primary-stays",
    "memfs.node.replication.read_lease.ReadLease.gives_way",
    lambda self, required, since_ns, now_ns: False,
    shown_by="deaf_primary",
)


@mutant(
    "EpochMonotone",
    "a node goes back to an older view",
    shown_by="coordinator_cut isolate one_way partition",
)
def views_go_back() -> Iterator[None]:
    adopt = Membership.adopt

    def any_view(self: Any, view: View) -> bool:
        known = self.view
        if known is not None and view.epoch < known.epoch:
            self.view = None
        return adopt(self, view)

    with replaced(Membership, "adopt", any_view):
        yield


without(
    "WritesElsewhere",
    "a client forgets with each write which nodes were silent",
    "forgets-silent-nodes",
    "memfs.client.session.suspects.Silent.blame",
    lambda self, chain: None,
    shown_by="deaf_primary",
)
