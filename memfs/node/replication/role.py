"""What this node is to the namespace: primary, backup or neither; and how one becomes another.

Joins membership and log. Only a view makes a node the primary, or ends that: a node that is no
longer the primary keeps its state as a backup if it still counts as in sync, else it drops it; one
that becomes it reconciles the in-sync members before it serves (ReconcileBeforeServe). When a
backup campaigns for the role is :mod:`memfs.node.replication.candidate`'s, what a primary asks of
it :mod:`memfs.node.replication.backup_service`'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from memfs import errors
from memfs.cluster import view as rules
from memfs.logs import fields
from memfs.node.journal.journal import Journal
from memfs.node.journal.namespace_journal import NamespaceJournal
from memfs.node.log.recent import RecentLog
from memfs.node.membership.members import Membership
from memfs.node.namespace import Namespace, Settings
from memfs.node.replication.backup import Backup
from memfs.node.replication.candidate import Candidate
from memfs.node.replication.commit_observers import CommitObservers
from memfs.node.replication.founding import found
from memfs.node.replication.in_sync import InSyncSet, handed_over
from memfs.node.replication.namespace_room import NamespaceRoom
from memfs.node.replication.object_places import ObjectPlacement
from memfs.node.replication.primary import Decide, Primary
from memfs.node.replication.read_lease import RENEWALS
from memfs.node.replication.reconcile import reconcile
from memfs.node.replication.term import Term
from memfs.node.tasks import Tasks
from memfs.paths import Endpoint
from memfs.transport.pool import Pool
from memfs.types import View

log = logging.getLogger(__name__)

SILENT_HEARTBEATS = 2
"""Beyond the lease time: a member that is no backup has signs of life of the primary by heartbeats
alone."""


class NamespaceRole:
    """What this node is to the namespace, and how that changes."""

    def __init__(
        self,
        membership: Membership,
        pool: Pool,
        tasks: Tasks,
        *,
        settings: Settings,
        discard: Decide,
        lease_seconds: float,
        min_in_sync: int,
        journal: Journal | None = None,
        homes: Sequence[str] | None = None,
        room: NamespaceRoom | None = None,
    ) -> None:
        """``settings`` of a namespace that begins here; ``discard`` is told the blocks that no file
        references any more; ``min_in_sync`` is the setting (MinInSync), 0: as many as
        ``settings.replication``; ``homes``: users that get a home directory in a new cluster, None:
        it begins empty; ``room``: whether there is memory for a command, None: always.
        """
        self.membership = membership
        self.failovers = 0
        """How often this node took over from a primary that was lost."""
        self.handovers = 0
        """How often this node was handed the role."""
        self.candidate = Candidate(membership, lease_seconds)
        self.term = 0
        """First epoch of this node's time as the primary, serving or about to; 0: it is none."""
        self.journal = NamespaceJournal(journal, lambda: membership.is_journaled)
        """Passes what is applied on to the journal."""
        self.backup = self._make_backup()
        """What this node holds while it is not the primary."""
        self._pool = pool
        self._tasks = tasks
        self._settings = settings
        self._discard = discard
        self._places = ObjectPlacement(membership)
        self.observers = CommitObservers()
        """Observers of what is committed while this node is the primary."""
        self._lease_seconds = lease_seconds
        self._wanted = min_in_sync or settings.replication
        self._primary: Primary | None = None
        self._in_sync: InSyncSet | None = None
        self._journal = journal
        self._taking_up: asyncio.Task[None] | None = None
        self._followed = self._predecessor = Term(0, 0)
        self._handed = False
        self._homes = homes
        self._room = room
        self._is_new = False
        membership.followers.append(self._view_changed)

    # --- what others ask --------------------------------------------------------------------

    @property
    def leads(self) -> bool:
        """Is this node the primary, and serving?"""
        return self._primary is not None and self._taking_up is None

    @property
    def primary(self) -> Primary:
        """The log of this node. Raises NotPrimaryError unless it :attr:`leads`."""
        if self._primary is None or self._taking_up is not None:
            raise errors.NotPrimaryError(self._whereabouts())
        return self._primary

    @property
    def in_sync(self) -> InSyncSet:
        """The in-sync set of this node's term. Raises NotPrimaryError unless it :attr:`leads`."""
        if self._in_sync is None or self._taking_up is not None:
            raise errors.NotPrimaryError(self._whereabouts())
        return self._in_sync

    def _whereabouts(self) -> str:
        if self._taking_up is not None:
            return "this node is about to become the primary"
        view = self.membership.latest
        where = rules.member(view, view.primary) if view else None
        at = f"{where.name} ({Endpoint(where.host, where.port)})" if where else "not known yet"
        return f"this node is not the primary; the primary is {at}"

    @property
    def namespace(self) -> Namespace | None:
        """The state this node holds, as primary or as backup."""
        return self._primary.namespace if self._primary else self.backup.namespace

    @property
    def recovered(self) -> Namespace | None:
        """The state that the journal brought back and that is not used: for force-recover."""
        found = self._journal.recovered if self._journal is not None else None
        return found.namespace if found is not None else None

    @property
    def unavailable_reason(self) -> str:
        """Why commands are refused for the journal's sake; empty: they are not."""
        try:
            self.journal.check_room(None)
        except errors.NoSpaceError as error:
            return error.message
        return ""

    @property
    def committed(self) -> int:
        """Log index up to which this node knows commands to be acknowledged."""
        return self._primary.committed if self._primary else self.backup.committed

    @property
    def title(self) -> str:
        """The node's role, in a word or two."""
        if self._taking_up is not None or self.candidate.campaigning:
            return "taking over"
        if self._primary is not None:
            return "primary"
        return "backup" if self.membership.is_in_sync else "member"

    def primary_silent_ms(self) -> int:
        """Milliseconds since the primary's last sign of life, 0 on the primary."""
        if self._primary:
            return 0
        heartbeat_ms = min(1000 * self.membership.primary_silent_seconds, 1e15)
        return max(0, min(self.candidate.silent_ns() // 1_000_000, int(heartbeat_ms)))

    @property
    def recent(self) -> RecentLog:
        """The end of the log that this node keeps in memory."""
        return self._primary.recent if self._primary else self.backup.recent

    def not_serving(self) -> str:
        """Why a client cannot be served through this node's primary now; empty: it can."""
        if self.membership.is_primary:
            return "" if self.leads else self._whereabouts()
        silent = self.primary_silent_ms() / 1000
        if silent > self._lease_seconds + SILENT_HEARTBEATS * self.membership.heartbeat_seconds:
            return f"no primary: it has been silent for {silent:.0f} s"
        return ""

    @property
    def is_journaled(self) -> bool:
        """Does an acknowledgement say that it is on the disk?"""
        return self.membership.is_journaled

    def _make_backup(
        self,
        namespace: Namespace | None = None,
        recent: RecentLog | None = None,
        committed: int = 0,
    ) -> Backup:
        return Backup(namespace, recent, committed, self.journal.append)

    # --- a new view -------------------------------------------------------------------------

    def _view_changed(self, view: View) -> None:
        """The view is the only thing that makes a node primary, or ends it."""
        campaigning = self.candidate.campaigning
        self.candidate.view_changed()
        if view.primary != self._followed.primary:
            self._predecessor = self._followed
            self._handed = self._predecessor.primary in view.in_sync and not campaigning
        self._followed = Term(view.primary, view.primary_since)
        mine = self.membership.is_primary
        if self.term and (not mine or view.primary_since != self.term):
            self._step_down()
        if self.membership.is_in_sync and not self.term and self.backup.namespace is None:
            self._load_recovered()
        if mine and not self.term:
            self._take_up(view)
        if self.leads:
            self.primary.follow(view)
        if not self.membership.number:
            self.backup = self._make_backup()  # it was taken for dead: nothing it has counts

    def _load_recovered(self) -> None:
        """Hold what the journal brought back, if it did."""
        found = self._journal.pop_recovered() if self._journal is not None else None
        if found is not None:
            self.backup = self._make_backup(found.namespace, found.recent)

    def _step_down(self) -> None:
        primary, self._primary, self.term, self._in_sync = self._primary, None, 0, None
        if self._taking_up is not None:
            self._taking_up.cancel()
            self._taking_up = None
        assert primary is not None, "a term has a primary"
        kept = self.membership.is_in_sync  # what only it has is rolled back before it follows
        primary.close("this node is the primary no more; whether the command survived is not known")
        self.candidate.deposed()
        if kept:
            self.backup = self._make_backup(primary.namespace, primary.recent, primary.committed)
        log.warning("stepped down", extra=fields(epoch=self.membership.epoch, kept=kept))

    def _take_up(self, view: View) -> None:
        held, self.backup = self.backup, self._make_backup()
        self.term = view.primary_since
        if held.namespace is None:
            self._load_recovered()  # by an operator's word
            held, self.backup = self.backup, self._make_backup()
        if held.namespace is None:
            assert len(view.in_sync) == 1, "only a founder or survivor begins with nothing"
            wall_ns = self.membership.environment.clock.wall_ns()
            namespace = Namespace(self._settings, wall_ns)
            self._is_new = True
            recent = RecentLog(namespace.applied, namespace.digest)
        else:
            namespace, recent = held.namespace, held.recent
        primary = Primary(
            namespace,
            recent,
            self.membership.environment,
            self._pool,
            epoch=lambda: self.membership.epoch,
            discard=self._discard,
            lost=lambda link: in_sync.lost(link),
            lease_seconds=self._lease_seconds,
            journal=self.journal,
            is_named=lambda: self._is_named(view.primary_since),
            observers=self.observers,
            places=self._places,
            room=self._room,
        )
        in_sync = InSyncSet(primary, self.membership, self._tasks, self.term, self._wanted)
        self._primary, self._in_sync = primary, in_sync
        self.membership.expect_all(0 if self._handed else self._predecessor.primary)
        if len(view.in_sync) > 1:
            primary.committed = min(held.committed, namespace.applied)
            primary.in_sync = 0  # nothing more is committed before all in sync were asked
        if view.in_sync == (view.primary,) and not view.journaled:
            self._serve()
        else:
            self._taking_up = self._tasks.spawn(self._reconcile(primary, in_sync), "take over")

    async def _reconcile(self, primary: Primary, in_sync: InSyncSet) -> None:
        """ReconcileBeforeServe."""
        silent = None if self._handed else self._predecessor
        try:
            await reconcile(primary, in_sync, self.membership, self._lease_seconds / 4, silent)
            await self._until_durable(primary)
        except errors.NotPrimaryError as error:
            log.warning("overtaken by another node", extra=fields(reason=error))
            return
        self._taking_up = None
        self._serve()

    async def _until_durable(self, primary: Primary) -> None:
        """Wait until all that was taken over is durable, if that is asked for; a full disk is
        waited for."""
        while True:
            try:
                return await self.journal.until_durable(primary.namespace)
            except errors.NoSpaceError as error:
                log.error("cannot serve yet", extra=fields(reason=error))
            await asyncio.sleep(self._lease_seconds)

    def _serve(self) -> None:
        view = self.membership.view
        assert self._primary is not None and self._in_sync is not None, "a term has a primary"
        if not self._primary.absent:
            self._primary.committed = self._primary.namespace.applied
        self._primary.follow(view)
        self._primary.opens.begin()
        self._in_sync.look_after_all()
        self._tell_why(view)
        self.membership.announce()
        if self._is_new and self._homes is not None:
            found(self._primary, self._homes)
        self._is_new = False

    def _tell_why(self, view: View) -> None:
        """Log and count how this node became the primary."""
        event = fields(epoch=view.epoch, predecessor=self._predecessor.primary)
        if not self._predecessor.primary:
            log.info("this node is the primary", extra=fields(epoch=view.epoch))
        elif self._handed:
            self.handovers += 1
            log.info("took over by handover", extra=event)
        else:
            self.failovers += 1
            log.warning("failover", extra=event)

    def close(self) -> None:
        """Stop serving."""
        if self._primary is not None:
            self._primary.close("the primary stops")

    # --- passing the role on, and taking it -------------------------------------------------

    async def run(self) -> None:
        """Renew the read lease as primary, watch the primary as backup; forever."""
        while True:
            await asyncio.sleep(self._lease_seconds / RENEWALS / 2)
            if self._primary is not None:
                self._primary.recent.confirmed(self._primary.committed)
                self._renew(self._primary)
            elif self.candidate.may_campaign(self.backup.namespace is not None):
                await self.candidate.campaign()

    def _renew(self, primary: Primary) -> None:
        for number in () if primary.gives_way() else primary.required():
            self._tasks.spawn(primary.renew_lease(number), f"lease of member {number}")

    async def hand_over(self, to: int = 0) -> None:
        """Pass the role of the primary to an in-sync backup (``to`` 0: the one that is furthest).

        Raises UnavailableError when there is none or it does not follow; this node then goes on.
        """
        primary, in_sync = self.primary, self.in_sync
        following = {n: link for n, link in primary.links.items() if link.error is None}
        ready = {n: link.acked for n, link in following.items() if link.required}
        ready = {n: acked for n, acked in ready.items() if self._is_in_sync(n)}
        target = to or max(ready, key=ready.__getitem__, default=0)
        if target not in ready:
            raise errors.UnavailableError(self._why_not(to, sorted(ready)))
        try:
            await primary.quiesce()
            await in_sync.change(lambda view: handed_over(view, target))
        except BaseException:
            primary.reopen()
            raise
        log.info("role handed over", extra=fields(member=target))

    def _why_not(self, number: int, ready: list[int]) -> str:
        """Why member ``number`` cannot take over; 0: why no member can."""
        view = self.membership.view
        names = {member.number: member.name for member in view.members}
        if not number:
            return "no other node holds all of the namespace: there is nobody to take over"
        if number not in names:
            return f"there is no member {number}"
        instead = ", ".join(names[n] for n in ready if n in names)
        offer = f"; {instead} can" if instead else ""
        if self._is_in_sync(number):
            return f"{names[number]} does not follow at the moment{offer}"
        return f"{names[number]} is not in sync, so it cannot take over{offer}"

    async def _is_named(self, since: int) -> bool:
        """Does the view at the coordinator name this node, in the term that began at ``since``?"""
        try:
            view = (await self.membership.publisher.read()).view
        except errors.MemfsError:
            return False
        return view is not None and (view.primary, view.primary_since) == (
            self.membership.number,
            since,
        )

    def _is_in_sync(self, number: int) -> bool:
        return number in self.membership.view.in_sync

    async def force_recover(self) -> View:
        """Become primary of what this node holds, though in-sync members are lost (operator)."""
        member = self.membership.member
        log.error("force-recover: what only lost members knew is given up")
        view = await self.membership.publisher.change(
            lambda view: rules.recover(view, member) if view else None
        )
        if view is None:
            raise errors.UnavailableError("there is no cluster to recover")
        self.membership.announce()
        return view
