"""How a node comes to be a member: it forms a cluster or joins the one there is.

Owns the order of attempts and the reason that is shown while none succeeds. Invariants: a restarted
process is a new member (IncarnationIdentity) and never takes up what an earlier one was, unless its
journal holds all that the earlier one ever acknowledged; nobody forms a second cluster beside a
view that exists (LastServing).

A process that was taken for dead and lives holds blocks that nobody else may have. It comes back
under its former number, so that what files name there counts again; the rest is swept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from memfs import errors
from memfs.cluster import view as rules
from memfs.logs import Seldom, fields
from memfs.node.journal.journal import Journal
from memfs.node.membership.members import Membership
from memfs.protocol import messages as m
from memfs.types import Member, View

log = logging.getLogger(__name__)


class Bootstrap:
    """Enters the cluster, at the start and again after this node was taken for dead."""

    def __init__(
        self,
        membership: Membership,
        drop: Callable[[], None],
        journal: Journal | None = None,
        *,
        journaled: bool = False,
    ) -> None:
        """``drop`` forgets all blocks; ``journaled``: a cluster that begins here acknowledges what
        is on the disk."""
        self.unavailable_reason = ""
        """Why this node is no member yet."""
        self._membership = membership
        self._drop = drop
        self._journal = journal
        self._journaled = journaled
        self._news = Seldom(membership.environment.clock.monotonic)

    async def join(self, member: Member, deadline: float) -> bool:
        """Form a cluster or join the one there is; True if this node formed it.

        While the cluster has no primary this waits; without a word from the coordinator until
        ``deadline`` (monotonic), then it raises UnavailableError.
        """
        membership = self._membership
        membership.member = member
        while True:
            try:
                formed = await self._enter_once(member)
            except errors.ClusterError as error:
                lost = membership.latest is None and not isinstance(error, errors.NotPrimaryError)
                if lost and membership.environment.clock.monotonic() >= deadline:
                    raise
                self._tell(error)
            else:
                self.unavailable_reason = ""
                return formed
            await asyncio.sleep(membership.heartbeat_seconds / 4)

    def _tell(self, error: errors.MemfsError) -> None:
        self.unavailable_reason = error.message
        if self._news.is_news(error.message):
            log.info("waiting for the cluster", extra=fields(reason=error))

    async def _enter_once(self, member: Member) -> bool:
        membership = self._membership
        view = (await membership.publisher.read()).view
        if membership.number:  # e.g. an operator made it the primary while it waited
            return False
        self._check_journal(view)
        former = self._former_number(view) if view is not None else 0
        if view is not None and view.journaled and rules.member(view, former) is not None:
            await self._revive(former, member)
            return False
        if view is None or _is_sole(view, member.name):
            return await self._found(member)
        primary = rules.member(view, view.primary)
        assert primary is not None, "a view names its primary"
        if primary.name == member.name:
            raise errors.UnavailableError(_former_primary(view))
        reply = await membership.ask(primary, m.Join(member._replace(number=former)))
        await membership.learn_view(reply.view)
        if not membership.number:
            raise errors.UnavailableError("the primary did not take this node in")
        return False

    def _former_number(self, view: View) -> int:
        """The number under which files name what this node holds, in memory or on disk; 0: none."""
        left = self._membership.taken_out
        if left is not None and not rules.has_met(view, left):
            # All others are new: what they call by the names of these blocks may be something else.
            self._drop()
            left = self._membership.taken_out = None
        if left is not None:
            own = rules.named(left, self._membership.member.name)
            return own.number if own is not None else 0
        owner = self._journal.owner if self._journal is not None else None
        return owner.member if owner is not None and view.journaled else 0

    def _check_journal(self, view: View | None) -> None:
        """Does the journal fit the cluster? Raises ConfigError, UnavailableError."""
        journal = self._journal
        owner = journal.owner if journal is not None else None
        if owner is not None and view is None:
            raise errors.ConfigError(
                f"the coordinator knows no cluster, the journal here belongs to {owner.cluster}: "
                "bring the coordinator's data back, or move the journal away to form a new cluster"
            )
        if owner is not None and view is not None and owner.cluster != view.cluster:
            raise errors.ConfigError(
                f"this node's journal belongs to cluster {owner.cluster}, the coordinator's is "
                f"{view.cluster}: name the right coordinator, or move the journal away"
            )
        if view is not None and view.journaled and (journal is None or not journal.keeps_blocks):
            raise errors.ConfigError(
                "this cluster acknowledges what is on disk (ack = journal): start the node with "
                "--journal DIRECTORY --journal-blocks"
            )
        if owner is not None and view is not None and _is_sole(view, self._membership.member.name):
            self._check_sole(view)

    def _check_sole(self, view: View) -> None:
        assert self._journal is not None
        if self._journal.recovered is not None and not view.journaled:
            raise errors.UnavailableError(
                "this node was the only one, and acknowledged what was in RAM (ack = ram): its "
                "journal has names, the contents are gone. To begin with the names, run `memfs "
                "cluster force-recover`; to begin with nothing, move the journal away"
            )

    async def _revive(self, number: int, member: Member) -> None:
        """Take up the membership that this node's journal holds."""
        journal = self._journal
        assert journal is not None, "only a journal revives"

        def propose(view: View | None) -> View | None:
            if view is None:
                raise errors.UnavailableError("the cluster's view is gone")
            known = rules.member(view, number)
            if known is not None and known.incarnation == member.incarnation:
                return None  # it is published, only the answer was lost
            complete = journal.recovered is not None
            if number == view.primary and not complete:
                raise errors.UnavailableError(_former_primary(view))
            return rules.revive(view, number, member, complete=complete)

        await self._membership.publisher.change(propose)
        in_sync = number in self._membership.view.in_sync
        log.warning("membership revived", extra=fields(member=number, in_sync=in_sync))

    async def _found(self, member: Member) -> bool:
        """Form a cluster, or begin anew after its only member ever restarted."""
        dice = self._membership.environment.random
        cluster = f"{dice.getrandbits(64):016x}"

        def propose(view: View | None) -> View:
            if view is None:
                return rules.form(cluster, member, journaled=self._journaled)
            if not _is_sole(view, member.name):
                raise errors.UnavailableError("another node formed the cluster first")
            log.warning(
                "the only member restarted: its former contents are gone, the cluster begins anew"
            )
            return rules.reform(view, member, journaled=self._journaled)

        await self._membership.publisher.change(propose)
        return True


def _is_sole(view: View, name: str) -> bool:
    """Was there never another node than this one?"""
    return all(known.name == name and known.number == view.primary for known in view.members) and (
        len(view.in_sync) == 1 and view.primary_since == view.epoch
    )


def _former_primary(view: View) -> str:
    others = [number for number in view.in_sync if number != view.primary]
    if others:
        return f"this node was the primary and restarted empty; member {others[0]} takes over soon"
    return (
        "this node was the last in-sync member and restarted empty: what the namespace held is "
        "lost. To begin with what another node still has, run `memfs cluster force-recover`"
    )
