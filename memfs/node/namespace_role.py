"""This node's part in the namespace: primary, backup, or neither; and how one becomes another.

Joins membership and log. A backup in sync takes over when the primary was silent for the lease time
(LastServing: nobody else ever does), reconciles the in-sync members before it serves
(ReconcileBeforeServe), and steps down as soon as a view says so. Until its promise is over a backup
stands by (NoStaleRead); from the moment it stands for the role it refuses the old primary.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from memfs import errors
from memfs.cluster import view as rules
from memfs.logs import Seldom, fields
from memfs.node.backup import Backup
from memfs.node.in_sync import InSyncSet, handed_over
from memfs.node.journal.feed import Feed
from memfs.node.journal.journal import Journal
from memfs.node.membership import Membership
from memfs.node.namespace import Namespace, Settings
from memfs.node.primary import Primary
from memfs.node.read_lease import RENEWALS, Promise
from memfs.node.recent_log import RecentLog
from memfs.node.reconcile import reconcile
from memfs.node.tasks import Tasks
from memfs.protocol import messages as m
from memfs.transport.pool import Pool
from memfs.transport.server import Call, Reply
from memfs.types import BlockRef, Member, NodeUsage, View

log = logging.getLogger(__name__)

PATIENCE_SHARE = 0.1
"""Of the lease time: how much longer each further backup waits before it stands for the role."""


class NamespaceRole:
    """What this node is to the namespace, and how that changes."""

    def __init__(
        self,
        membership: Membership,
        pool: Pool,
        tasks: Tasks,
        *,
        settings: Settings,
        discard: Callable[[tuple[BlockRef, ...]], None],
        lease_seconds: float,
        min_in_sync: int,
        journal: Journal | None = None,
    ) -> None:
        """``settings`` of a namespace that begins here; ``discard`` is told the blocks that no
        file references any more; ``min_in_sync`` is the setting (MinInSync), 0: as many as
        ``settings.replication``.
        """
        self.membership = membership
        self.failovers = 0
        """How often this node took over from a primary that was lost."""
        self.handovers = 0
        """How often this node was handed the role."""
        self._pool = pool
        self._tasks = tasks
        self._settings = settings
        self._discard = discard
        self._lease_seconds = lease_seconds
        self._wanted = min_in_sync or settings.replication
        self._now_ns = membership.environment.clock.boottime_ns
        self._primary: Primary | None = None
        self._in_sync: InSyncSet | None = None
        self._journal = journal
        self._feed = Feed(journal, self._is_journaled)
        self._backup = self._make_backup()
        self._promise = Promise(lease_seconds, self._now_ns())
        self._standing = False
        self._taking_up: asyncio.Task[None] | None = None
        self._reign = 0
        self._followed = 0
        self._predecessor = 0
        self._handed = False
        self._news = Seldom(membership.environment.clock.monotonic)
        self._silent_looks = 0
        membership.on_view = self._view_changed

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

    def _whereabouts(self) -> str:
        view = self.membership.view
        if self._taking_up is not None:
            return "this node is about to become the primary"
        where = rules.member(view, view.primary) if view else None
        at = f"{where.name} ({where.host}:{where.port})" if where else "not known yet"
        return f"this node is not the primary; the primary is {at}"

    @property
    def namespace(self) -> Namespace | None:
        """The state this node holds, as primary or as backup."""
        return self._primary.namespace if self._primary else self._backup.namespace

    @property
    def recovered(self) -> Namespace | None:
        """The state that the journal brought back and nobody took up: for force-recover."""
        found = self._journal.recovered if self._journal is not None else None
        return found.namespace if found is not None else None

    @property
    def refusal(self) -> str:
        """Why commands are refused for the journal's sake; empty: they are not."""
        try:
            self._feed.check_room(None)
        except errors.NoSpaceError as error:
            return error.message
        return ""

    @property
    def committed(self) -> int:
        """Log index up to which this node knows commands to be acknowledged."""
        return self._primary.committed if self._primary else self._backup.committed

    @property
    def title(self) -> str:
        """What this node is, in a word or two."""
        if self._taking_up is not None or self._standing:
            return "taking over"
        if self._primary is not None:
            return "primary"
        return "backup" if self.membership.is_in_sync else "member"

    def primary_silent_ms(self) -> int:
        """Milliseconds since the primary was heard of, 0 on the primary."""
        silent_ns = 0 if self._primary else self._promise.silent_ns(self._now_ns())
        return max(0, silent_ns // 1_000_000)

    def _is_journaled(self) -> bool:
        """Does an acknowledgement say that it is on the disk?"""
        return self.membership.view is not None and self.membership.view.journaled

    def _make_backup(
        self,
        namespace: Namespace | None = None,
        recent: RecentLog | None = None,
        committed: int = 0,
    ) -> Backup:
        return Backup(namespace, recent, committed, self._feed.append)

    # --- a new view -------------------------------------------------------------------------

    def _view_changed(self, view: View) -> None:
        """The view is the only thing that makes a node primary, or ends it."""
        self._standing = False
        self._news.forget()
        if view.primary != self._followed:
            self._predecessor, self._followed = self._followed, view.primary
            self._handed = self._predecessor in view.in_sync
        mine = self.membership.is_primary
        if self._reign and (not mine or view.primary_since != self._reign):
            self._step_down()
        if self.membership.is_in_sync and not self._reign and self._backup.namespace is None:
            self._take_recovered()
        if mine and not self._reign:
            self._take_up(view)
        if self.leads:
            self.primary.follow(view)
        if not self.membership.number:
            self._backup = self._make_backup()  # it was taken for dead: nothing it has counts

    def _take_recovered(self) -> None:
        """Hold what the journal brought back, if it did."""
        found = self._journal.take_recovered() if self._journal is not None else None
        if found is not None:
            self._backup = self._make_backup(found.namespace, found.recent)

    def _step_down(self) -> None:
        primary, self._primary, self._reign, self._in_sync = self._primary, None, 0, None
        if self._taking_up is not None:
            self._taking_up.cancel()
            self._taking_up = None
        assert primary is not None, "a reign has a primary"
        complete = self.membership.is_primary or (
            self.membership.is_in_sync and primary.committed == primary.namespace.applied
        )
        primary.close("this node is the primary no more; whether the command survived is not known")
        self._promise.renew(self._now_ns())
        if complete:  # a handover, nothing was taken since; or the same node by an operator's word
            self._backup = self._make_backup(primary.namespace, primary.recent, primary.committed)
        log.warning("stepped down", extra=fields(epoch=self.membership.epoch, kept=complete))

    def _take_up(self, view: View) -> None:
        held, self._backup = self._backup, self._make_backup()
        self._reign = view.primary_since
        if held.namespace is None:
            self._take_recovered()  # by an operator's word
            held, self._backup = self._backup, self._make_backup()
        if held.namespace is None:
            assert len(view.in_sync) == 1, "only a founder or survivor begins with nothing"
            wall_ns = self.membership.environment.clock.wall_ns()
            namespace = Namespace(self._settings, wall_ns)
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
            feed=self._feed,
        )
        in_sync = InSyncSet(primary, self.membership, self._tasks, self._reign, self._wanted)
        self._primary, self._in_sync = primary, in_sync
        self.membership.expect_all()
        if view.in_sync == (view.primary,) and not view.journaled:
            self._serve()
        else:
            self._taking_up = self._tasks.spawn(self._reconcile(primary, in_sync), "take over")

    async def _reconcile(self, primary: Primary, in_sync: InSyncSet) -> None:
        """ReconcileBeforeServe."""
        try:
            await reconcile(primary, in_sync, self.membership, self._pool, self._lease_seconds / 4)
            await self._settle(primary)
        except errors.NotPrimaryError as error:
            log.warning("overtaken by another node", extra=fields(reason=error))
            return
        self._taking_up = None
        self._serve()

    async def _settle(self, primary: Primary) -> None:
        """Until all that was taken over counts; a full disk is waited for."""
        while True:
            try:
                return await self._feed.settle(primary.namespace)
            except errors.NoSpaceError as error:
                log.error("cannot serve yet", extra=fields(reason=error))
            await asyncio.sleep(self._lease_seconds)

    def _serve(self) -> None:
        view = self.membership.view
        assert view is not None and self._primary is not None, "a reign has a view and a primary"
        self._primary.committed = self._primary.namespace.applied
        self._primary.follow(view)
        self._tell_why(view)
        self.membership.announce()

    def _tell_why(self, view: View) -> None:
        """Log and count how this node became the primary."""
        event = fields(epoch=view.epoch, predecessor=self._predecessor)
        if not self._predecessor:
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

    # --- taking over ------------------------------------------------------------------------

    async def run(self) -> None:
        """Renew the read lease as primary, watch the primary as backup; forever."""
        while True:
            await asyncio.sleep(self._lease_seconds / RENEWALS / 2)
            if self._primary is not None:
                self._renew(self._primary)
            elif self._may_stand():
                await self._stand()

    def _renew(self, primary: Primary) -> None:
        for number in primary.required():
            self._tasks.spawn(primary.renew_lease(number), f"lease of member {number}")

    def _may_stand(self) -> bool:
        """Is this a backup in sync whose primary was silent for the lease time, twice looked at?

        The second look lets in what waited in sockets while this process was stopped.
        """
        view = self.membership.view
        over = False
        if view is not None and self.membership.is_in_sync and self._backup.namespace is not None:
            others = [number for number in view.in_sync if number != view.primary]
            rank = others.index(self.membership.number)
            patience = rank * PATIENCE_SHARE * self._lease_seconds
            over = self._promise.is_over(self._now_ns(), patience)
        self._silent_looks = self._silent_looks + 1 if over else 0
        return self._silent_looks > 1

    async def _stand(self) -> None:
        """Take over by compare-and-swap; refuse the old primary before the proposal is sent."""
        membership = self.membership
        stood_in = membership.view
        assert stood_in is not None, "a backup has a view"
        if self._news.is_news("silent"):
            log.warning("the primary is silent", extra=fields(member=stood_in.primary))
        self._standing = True

        def propose(view: View | None) -> View | None:
            if view is None or view.primary_since != stood_in.primary_since:
                return None
            if membership.number not in view.in_sync or not self._standing:
                return None  # a newer view came with new promises
            return rules.promote(view, membership.number)

        try:
            await membership.publisher.read()
            self._standing = True  # a newer view of the same reign does not end the silence
            await membership.publisher.change(propose)
        except errors.MemfsError as error:
            if self._news.is_news(error.message):
                log.warning("cannot take over", extra=fields(reason=error))
        finally:
            self._standing = False

    async def hand_over(self, to: int = 0) -> None:
        """Pass the role of the primary to an in-sync backup (``to`` 0: the one that is furthest).

        Raises UnavailableError when there is none or it does not follow; this node then goes on.
        """
        primary, in_sync = self.primary, self._in_sync
        assert in_sync is not None, "a primary keeps its in-sync set"
        ready = {n: link.acked for n, link in primary.links.items() if link.required}
        ready = {n: acked for n, acked in ready.items() if self._is_in_sync(n)}
        target = to or max(ready, key=ready.__getitem__, default=0)
        if target not in ready:
            raise errors.UnavailableError("no in-sync backup can take over the primary's role")
        try:
            await primary.quiesce()
            await in_sync.change(lambda view: handed_over(view, target))
        except BaseException:
            primary.reopen()
            raise
        log.info("role handed over", extra=fields(member=target))

    def _is_in_sync(self, number: int) -> bool:
        view = self.membership.view
        return view is not None and number in view.in_sync

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

    # --- members come and go (primary) ------------------------------------------------------

    async def change(self, step: Callable[[View], View]) -> View:
        """Publish ``step(view)`` as primary. Raises NotPrimaryError, UnavailableError."""
        if self._in_sync is None or not self.leads:
            raise errors.NotPrimaryError(self._whereabouts())
        return await self._in_sync.change(step)

    async def join(self, call: Call) -> m.ViewReply:
        """Take a node in as a member; it becomes a backup in the background."""
        primary, member = self.primary, call.request.member
        view = await self.change(lambda view: _joined(view, member))
        for number in set(primary.links) - {known.number for known in view.members}:
            primary.remove_backup(number)
        joined = rules.incarnation_of(view, member.name, member.incarnation)
        if joined is None:
            raise errors.UnavailableError("the member left before it had joined")
        self.membership.heard(NodeUsage(joined.number, 0, 0, 0))
        log.info("member joined", extra=fields(member=joined.number, name=joined.name))
        return m.ViewReply(view)

    async def leave(self, call: Call) -> m.Empty:
        """Let a member go."""
        await self.remove_member(call.request.member)
        return m.Empty()

    async def remove_member(self, number: int) -> None:
        """Take a member out of the view. Raises the coordinator's errors, NotPrimaryError."""
        if self._in_sync is None or not self.leads:
            raise errors.NotPrimaryError(self._whereabouts())
        await self._in_sync.remove(number)
        log.info("member left", extra=fields(member=number))

    def heartbeat(self, call: Call) -> m.ViewReply:
        """Note a member's sign of life; a member without a role may become a backup."""
        view = self.membership.view
        if self._in_sync is None or view is None or not self.leads:
            raise errors.NotPrimaryError(self._whereabouts())
        number = call.request.usage.member
        if rules.member(view, number) is not None:
            self.membership.heard(call.request.usage)
            self._in_sync.consider(number)
        return m.ViewReply(view)

    # --- messages of the primary (backup) ---------------------------------------------------

    def new_view(self, call: Call) -> m.Empty:
        """Adopt what the primary announces."""
        self.membership.adopt(call.request.view)
        return m.Empty()

    def renew_lease(self, call: Call) -> m.Empty:
        """Promise the primary not to take over before the lease time has passed."""
        self._fence(call)
        return m.Empty()

    def reconcile(self, call: Call) -> Any:
        """Follow a primary that takes up its role: say where the log ends."""
        self.membership.adopt(call.request.view)
        self._fence(call)
        namespace = self._backup.namespace
        if namespace is None:
            return _NOTHING
        return self._when_durable(m.ReconcileReply(namespace.applied, namespace.digest))

    def fetch_log(self, call: Call) -> Reply:
        """Entries for a new primary that lacks them."""
        self._fence(call)
        return self._backup.entries(call.request.first)

    def install(self, call: Call) -> Any:
        """One piece of a snapshot from the primary."""
        self._fence(call)
        reply = self._backup.install(call.request, call.payload)
        return self._when_durable(reply) if call.request.last else reply

    def replicate(self, call: Call) -> Any:
        """Log entries from the primary."""
        self._fence(call)
        return self._when_durable(self._backup.replicate(call.request, call.payload))

    def _when_durable(self, reply: Any) -> Any:
        """A reply about what this backup holds, once that counts."""
        if not self._feed.required:
            return reply
        return asyncio.ensure_future(self._durable(reply))

    async def _durable(self, reply: Any) -> Any:
        namespace = self._backup.namespace
        if namespace is None:
            raise errors.UnavailableError("this node holds no namespace any more")
        await self._feed.settle(namespace)
        return reply

    def _fence(self, call: Call) -> None:
        """ReceiverFence: nothing of a former primary's epoch, nothing from who is not the primary.

        A lower epoch of the same primary is no danger: its log has one order, and frames that
        were under way when it published a view must not count as lost. What passes is a sign of
        the primary's life.
        """
        view = self.membership.view
        if view is None or call.header.epoch < view.primary_since:
            raise errors.StaleEpochError(
                f"epoch {call.header.epoch} is over, {view.epoch if view else 0} is known here"
            )
        primary, sender = rules.member(view, view.primary), call.connection.peer.incarnation
        if primary is None or sender != primary.incarnation or self._reign:
            raise errors.StaleEpochError(f"the sender is not the primary of epoch {view.epoch}")
        if self._standing:
            raise errors.StaleEpochError("this backup is taking over: the primary was silent")
        self._promise.renew(self._now_ns())


def _joined(view: View, member: Member) -> View:
    """The view with a node, under the number that its journal holds blocks for if it has one."""
    known = rules.incarnation_of(view, member.name, member.incarnation)
    former = member.number if view.journaled and member.number < view.next_number else 0
    if known is None and former and rules.member(view, former) is None:
        return rules.revive(view, former, member, complete=False)
    return rules.join(view, member)


_NOTHING = m.ReconcileReply(-1, 0)
