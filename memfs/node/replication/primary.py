"""The namespace's primary: one log, group commit, synchronous shipping to the backups.

Owns the order of commands during one term. A command is applied at once and answered once every
required backup has applied it too (InSyncMeansAll) and the view counts enough of them (MinInSync);
a read needs a valid read lease (NoStaleRead), and one that could have seen an unacknowledged
command is answered or refused once that is committed (NoDirtyRead). The commands of one loop tick
leave as one frame per backup.

It must not know sockets: backups are reached through the node's connection pool.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from memfs import errors, limits
from memfs.logs import fields
from memfs.node.journal.namespace_journal import NamespaceJournal
from memfs.node.log.entries import Entry
from memfs.node.log.recent import RecentLog
from memfs.node.namespace import Namespace
from memfs.node.replication.backup_link import BackupLink
from memfs.node.replication.cache_leases import CacheLeases
from memfs.node.replication.commit_observers import CommitObservers
from memfs.node.replication.fresh import Fresh
from memfs.node.replication.namespace_room import NamespaceRoom
from memfs.node.replication.object_places import ObjectPlacement
from memfs.node.replication.open_files import OpenFiles
from memfs.node.replication.read_lease import ReadLease
from memfs.node.replication.uncommitted import Pending
from memfs.node.tasks import set_aside
from memfs.protocol import messages as m
from memfs.protocol import records
from memfs.protocol.messages.registry import Request
from memfs.transport.environment import Environment
from memfs.transport.pool import Pool
from memfs.types import BlockRef, Identity, Member, View

log = logging.getLogger(__name__)
R = TypeVar("R")


Decide = Callable[[tuple[BlockRef, ...]], Callable[[], None]]
"""Called with copies that are to be forgotten; the function that it returns is called once that is
committed."""

Finish: TypeAlias = Callable[[R], R]
"""Turns a record of the namespace into the reply that is sent."""


class _ReplyWaiter(NamedTuple):
    log_index: int
    future: asyncio.Future[Any]
    record: object


class Primary:
    """Sequences commands over a :class:`Namespace` and its backups, for one term."""

    def __init__(
        self,
        namespace: Namespace,
        recent: RecentLog,
        environment: Environment,
        pool: Pool,
        *,
        epoch: Callable[[], int],
        discard: Decide,
        lost: Callable[[BackupLink], None],
        lease_seconds: float,
        journal: NamespaceJournal | None = None,
        is_named: Callable[[], Awaitable[bool]] | None = None,
        observers: CommitObservers | None = None,
        places: ObjectPlacement | None = None,
        room: NamespaceRoom | None = None,
    ) -> None:
        """``discard`` decides what to forget; ``lost`` is told of a backup that failed.

        ``recent`` ends where ``namespace`` stands. ``journal`` gets what is applied. ``is_named``
        looks whether the view at the coordinator names this primary still. ``observers`` are told
        what committed commands brought about. ``places`` says which nodes to ask for what external
        stores hold. ``room`` says whether there is memory for a command.
        """
        self.namespace = namespace
        self.recent = recent
        remember = (lambda count: True) if room is None else room.remember
        self.opens = OpenFiles(namespace, environment.clock.monotonic, remember)
        self.committed = namespace.applied
        self.links: dict[int, BackupLink] = {}
        self.absent: set[int] = set()
        """Members that count as in sync, do not follow and cannot be spared: commands wait.

        From the beginning of the term until they follow, or count no more: all that may have
        entries of former terms beyond this log (Settled).
        """
        self.in_sync = self.min_in_sync = 1
        self._environment = environment
        self._pool = pool
        self._epoch = epoch
        self._discard = discard
        self._observers = observers or CommitObservers()
        self._places = places
        self._room = room
        self._lost = lost
        self.ack_seconds = lease_seconds / 2
        """A backup that is silent for so long has failed: well before its lease ends."""
        self._lease = ReadLease(lease_seconds)
        self._lease_until: int | None = None
        self._leased = asyncio.Event()
        self.caches = CacheLeases(
            environment.clock.boottime_ns,
            lambda: self._lease_until,
            self._lease.share_ns,
            remember,
        )
        self._named = Fresh(is_named)
        self._boottime = environment.clock.boottime_ns
        self._required_since = self._boottime()
        self._heard_ns = 0
        self._unsent: list[Entry] = []
        self._pending = Pending(self.committed)
        self._waiters: deque[_ReplyWaiter] = deque()
        self._discards: deque[tuple[int, Callable[[], None]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._flush_scheduled = False
        self._refusal = ""
        self._ended = ""
        self._journal = journal or NamespaceJournal(None, lambda: False)
        self._journal.follow(self._advance)
        self._superuser = Identity(namespace.settings.superuser)

    # --- commands and reads -----------------------------------------------------------------

    def submit(
        self,
        request: Request[R],
        opcode: int,
        client: int,
        request_id: int,
        identity: Identity,
        finish: Finish[R] | None = None,
    ) -> R | asyncio.Future[R]:
        """Apply a command; its reply record, or a future of it while backups still lack it.

        ``finish`` turns the record into the reply. Raises the command's error in the same way:
        directly, or through the future.
        """
        self.check_takes_commands()
        is_repeated = self.namespace.has_answered(client, request_id)
        packed = records.encode(request, limits.LOGGED_BYTES)
        if not is_repeated:
            self._journal.check_room(request)
            if self._room is not None:
                self._room.take(request, len(packed), self.required())
        entry = Entry(
            self.namespace.applied + 1,
            self._epoch(),
            self._environment.clock.wall_ns(),
            client,
            request_id,
            identity,
            opcode,
            packed,
        )
        outcome = self.namespace.apply(entry, request, self.opens)
        if outcome.held:
            entry = entry._replace(held=outcome.held)
        self.recent.append(entry, self.namespace.digest)
        if outcome.discards:
            self._discards.append((entry.index, self._discard(outcome.discards)))
        if outcome.ended:
            told = functools.partial(self._observers.ended, outcome.ended)
            self._discards.append((entry.index, told))
        if outcome.woken:
            told = functools.partial(self._observers.woken, outcome.woken)
            self._discards.append((entry.index, told))
        if self.links or self._journal.active:
            self._unsent.append(entry)
            if not self._flush_scheduled:
                self._flush_scheduled = True
                self._loop.call_soon(self._flush)
        self._pending.note(entry.index, request, outcome.touched, outcome.named)
        barrier = (
            self.caches.repeated(client)
            if is_repeated
            else self.caches.change(client, outcome.touched)
        )
        if outcome.touched:  # a repeated command's answer may be old: nobody is to believe it
            self.caches.note(client, request, outcome.record)
        self._advance()
        record = outcome.record if finish is None else finish(outcome.record)
        answer = self._when_committed(entry.index, record)
        return answer if barrier is None else self._after(barrier, answer)

    def _after(
        self, barrier: asyncio.Future[None], answer: R | asyncio.Future[R]
    ) -> asyncio.Future[R]:
        """An answer that waits until the cache leases of other clients on what it changed have
        ended."""
        later = asyncio.ensure_future(_answer_after(barrier, answer))
        set_aside(later)
        return later

    def submit_own(self, request: Request[R]) -> R | asyncio.Future[R]:
        """Apply a command of the node itself, as the superuser, without deduplication."""
        opcode = m.BY_REQUEST[type(request)].opcode
        return self.submit(request, opcode, 0, 0, self._superuser)

    async def run_own(self, request: Request[R]) -> R:
        """Like :meth:`submit_own`; the reply, once it is committed. Raises its error."""
        answer = self.submit_own(request)
        return await answer if isinstance(answer, asyncio.Future) else answer

    def query(
        self,
        identity: Identity,
        request: Request[R],
        client: int = 0,
        finish: Finish[R] | None = None,
    ) -> R | asyncio.Future[R]:
        """Answer a read of ``client``; a future while the lease or what it saw is in doubt.

        ``finish`` turns the record into the reply. Raises its error; UnavailableError for what is
        to be settled and is not.
        """
        self._check_open()
        if isinstance(request, m.Lookup) and request.settled:
            self.check_takes_commands()
        if not self.has_lease():
            later = asyncio.ensure_future(self._query_later(identity, request, client, finish))
            set_aside(later)  # the caller may be gone before it looks
            return later
        return self._answer_read(identity, request, client, finish)

    def _answer_read(
        self, identity: Identity, request: Request[R], client: int, finish: Finish[R] | None
    ) -> R | asyncio.Future[R]:
        """As :meth:`query`, while this primary holds the lease."""
        record: R | errors.MemfsError
        try:
            record = self._look(identity, request, client)
            if finish is not None:
                record = finish(record)
        except errors.MemfsError as error:  # that a name is not there is news, too
            record = error
        applied, committed = self.namespace.applied, self.committed
        if applied > committed and not self._pending.concern(self.namespace, request, committed):
            return _answer(record)
        return self._when_committed(applied, record)

    def _look(self, identity: Identity, request: Request[R], client: int) -> R:
        watched = bool(client and self.caches)
        if watched:
            self.caches.note(client, request)
        record: Any = self.namespace.query(identity, request, client, self.opens)
        if self._places is not None and self.namespace.volume.mounts:
            record = self._places.fill_in(self.namespace.volume, record)
        if watched:
            self.caches.note(client, request, record)
        if isinstance(request, m.OpenFile) and request.number:
            self.opens.opened(client, record.attributes.inode, request.number)
        return cast(R, record)

    async def watch(self, client: int, request: m.Watch) -> m.WatchReply:
        """Answer a client that watches what it has cached."""
        self._check_open()
        return await self.caches.watch(client, request)

    async def confirm(self) -> None:
        """Return once all that is applied now is committed and this is still the primary.

        Nobody who was primary meanwhile can have acknowledged anything else. Raises
        UnavailableError, NotPrimaryError, OutcomeUnknownError.
        """
        self._check_open()
        pending = self._when_committed(self.namespace.applied, m.Empty())
        if isinstance(pending, asyncio.Future):
            await pending
        await self._wait_for_lease()

    async def settle(self) -> None:
        """As :meth:`confirm`, and nothing that a former primary took can come on top (Settled).

        What was decided before from the namespace may then be acted on: no other primary decides
        otherwise. Raises the same.
        """
        self.check_takes_commands()
        await self.confirm()

    def _when_committed(self, index: int, record: R | errors.MemfsError) -> R | asyncio.Future[R]:
        if index <= self.committed:
            return _answer(record)
        future: asyncio.Future[R] = self._loop.create_future()
        self._waiters.append(_ReplyWaiter(index, future, record))
        return future

    def check_takes_commands(self) -> None:
        """Raise NotPrimaryError, UnavailableError while no command is taken."""
        self._check_open()
        self._check_enough()

    def _check_open(self) -> None:
        if self._ended or self._refusal:
            raise errors.NotPrimaryError(self._ended or self._refusal)

    def _check_enough(self) -> None:
        following = self.in_sync - len(self.absent)
        if self.absent or following < self.min_in_sync:
            raise errors.UnavailableError(
                f"{following} of {self.min_in_sync} required copies of the namespace are in "
                "sync: commands wait until another node has caught up"
            )

    # --- the read lease ---------------------------------------------------------------------

    def has_lease(self) -> bool:
        """May this node answer reads now (NoStaleRead)?"""
        until = self._lease_until
        return until is None or self._boottime() < until

    def gives_way(self) -> bool:
        """Is this primary silent to its backups, since it hears none of them?

        It then sends them nothing that they would take for a sign of life.
        """
        since_ns = max(self._required_since, self._heard_ns)
        return self._lease.gives_way(self.required(), since_ns, self._boottime())

    def heard(self, number: int) -> None:
        """A member has sent something: if it is a backup, this primary is not deaf to it."""
        if number in self.links and self.links[number].required:
            self._heard_ns = self._boottime()

    async def _query_later(
        self, identity: Identity, request: Request[R], client: int, finish: Finish[R] | None
    ) -> R:
        await self._wait_for_lease()
        answer = self._answer_read(identity, request, client, finish)
        return await answer if isinstance(answer, asyncio.Future) else answer

    def unconfirmed(self) -> list[int]:
        """Required backups that do not confirm now that this node is the primary."""
        return self._lease.unconfirmed(self.required(), self._boottime())

    async def _wait_for_lease(self) -> None:
        """Wait until the backups or the coordinator confirm, as of some moment from now on, that
        this node is the primary.

        The coordinator's word needs no clock: until it was given nobody else was the primary,
        so nobody has acknowledged what this node does not know.
        """
        self._check_open()
        deadline = self._loop.time() + self.ack_seconds
        named = asyncio.ensure_future(self._named.look())
        try:
            while not self.has_lease():
                self._leased.clear()
                leased = asyncio.ensure_future(self._leased.wait())
                waiting = {leased} if named.done() else {leased, named}
                left = deadline - self._loop.time()
                done, _ = await asyncio.wait(
                    waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
                leased.cancel()
                self._check_open()
                if named in done and named.result():
                    return
                if not done:
                    raise errors.UnavailableError(
                        "neither the backups nor the coordinator confirm that this node is still "
                        "the primary"
                    )
        finally:
            named.cancel()

    async def renew_lease(self, number: int) -> None:
        """Ask one backup for its promise; one that does not answer has failed."""
        link = self.links.get(number)
        if link is None:
            return
        try:
            await self._renew(link)
        except errors.MemfsError as error:
            link.fail(error)

    async def _renew(self, link: BackupLink) -> None:
        asked_ns = self._boottime()
        await link.renew_lease(self._epoch(), self.committed)
        self._lease.granted(link.member.number, asked_ns)
        self._update_lease()

    def _update_lease(self) -> None:
        self._lease_until = self._lease.valid_until(self.required())
        if self.has_lease():
            self._leased.set()

    # --- shipping ---------------------------------------------------------------------------

    def _flush(self) -> None:
        """Ship what this tick collected: one frame per backup."""
        self._flush_scheduled = False
        batch, self._unsent = self._unsent, []
        self._journal.append(self.namespace, batch)
        for link in list(self.links.values()):
            link.ship(batch, self._epoch(), self.committed, self.namespace.digest)
        self._advance()

    def _advance(self) -> None:
        """Move the commit index to what every required backup has; answer who waited for it."""
        if self._ended or self.in_sync < self.min_in_sync:
            return
        acked = [link.acked for link in self.links.values() if link.required]
        committed = min([*acked, self._journal.durable(self.namespace)])
        if committed <= self.committed:
            return
        self.committed = committed
        self.recent.confirmed(committed)
        self._pending.forget(committed)
        waiters, discards = self._waiters, self._discards
        while waiters and waiters[0].log_index <= committed:
            waiter = waiters.popleft()
            if not waiter.future.done():
                _resolve(waiter.future, waiter.record)
        while discards and discards[0][0] <= committed:
            discards.popleft()[1]()

    def absorb(self, entries: Iterable[Entry]) -> None:
        """Apply entries of the former term that other in-sync members have and this one lacks."""
        fresh = list(entries)
        for entry in fresh:
            assert entry.index == self.namespace.applied + 1, "a gap in the fetched log"
            self.namespace.apply(entry)
            self.recent.append(entry, self.namespace.digest)
        self._pending.unknown(self.namespace.applied)
        self._journal.append(self.namespace, fresh)

    # --- backups ----------------------------------------------------------------------------

    def follow(self, view: View) -> None:
        """Follow a newer view of this term: how many members are in sync, and how many must be."""
        self.in_sync, self.min_in_sync = len(view.in_sync), view.min_in_sync
        self._advance()

    def required(self) -> list[int]:
        """Members whose acknowledgement every command needs."""
        return [number for number, link in self.links.items() if link.required]

    async def add_backup(self, member: Member) -> BackupLink:
        """Bring a member up to date and require its acks from then on (JoinAfterCatchUp).

        The caller publishes it as in sync afterwards. Raises the error that ended the catch-up.
        """
        link = self._new_link(member)
        try:
            await link.install(self.namespace.snapshot(), self.namespace.applied, self._epoch())
            await self._renew(link)
            self._require(link)
            # What was acknowledged without it may still be on its way to it.
            await link.reach(self.namespace.applied)
            if link.error is not None or self.links.get(member.number) is not link:
                raise errors.UnavailableError("the backup was given up while it caught up")
        except BaseException:
            self.remove_backup(member.number)
            raise
        log.info("backup caught up", extra=fields(member=member.number, index=link.acked))
        return link

    async def resume_backup(self, member: Member, position: m.ReconcileReply) -> None:
        """Ship to an in-sync member from where its log ends, or all anew when that is unknown.

        Its acks are required from the beginning. Raises the error that ended the catch-up; the link
        has failed then, so that whoever looks after the backups brings it back or takes it out.
        """
        link = self._new_link(member)
        link.acked = min(position.applied, self.committed)
        self._require(link)
        try:
            await self._catch_up(link, position)
        except BaseException as error:  # cancelled or not: the log has a gap on this link
            if link.error is None:
                unfinished = errors.UnavailableError("it was not brought up to date")
                link.error = error if isinstance(error, errors.MemfsError) else unfinished
            raise
        if link.error is None:
            self.absent.discard(member.number)
        self._advance()

    async def _catch_up(self, link: BackupLink, position: m.ReconcileReply) -> None:
        """Send what a member lacks whose log ends at ``position``, and get its promise."""
        missing = None
        if self.recent.digest_at(position.applied) == position.digest:
            missing = self.recent.after(position.applied)
        if missing is None:
            await link.install(self.namespace.snapshot(), self.namespace.applied, self._epoch())
        else:
            await link.resume(position.applied, missing, self._epoch())
        await self._renew(link)

    def expect_backup(self, member: Member, holds: int = 0) -> None:
        """Commit nothing without an in-sync member of whose log no more is known than that it
        ``holds`` everything up to an index."""
        link = self._new_link(member)
        link.acked = holds
        link.error = errors.UnavailableError("it does not follow this primary yet")
        self.absent.add(member.number)
        self._require(link)

    def _new_link(self, member: Member) -> BackupLink:
        self._flush()  # what the snapshot holds must not be shipped to the new link again
        link = BackupLink(member, self._pool, self.ack_seconds, self._acked, self._failed)
        self.links[member.number] = link
        return link

    def _require(self, link: BackupLink) -> None:
        link.required = True
        self._required_since = self._boottime()
        self._update_lease()

    def remove_backup(self, number: int) -> None:
        """Stop waiting for a backup, once a view without it is published (ShrinkBeforeAck)."""
        self.absent.discard(number)
        if self.links.pop(number, None) is not None:
            self._lease.forget(number)
            self._required_since = self._boottime()
            self._update_lease()
            self._advance()

    def _acked(self, link: BackupLink) -> None:
        if self.links.get(link.member.number) is link:
            self._advance()

    def _failed(self, link: BackupLink, error: Exception) -> None:
        if self.links.get(link.member.number) is link:
            log.warning("backup failed", extra=fields(member=link.member.number, reason=error))
            self._lost(link)

    # --- the end of the term ---------------------------------------------------------------

    async def quiesce(self) -> None:
        """Take no more requests and wait until all that was taken is committed.

        Raises UnavailableError when the backups do not follow; :meth:`reopen` then goes on.
        """
        self._refusal = "the role of the primary is being handed over"
        pending = self._when_committed(self.namespace.applied, m.Empty())
        if isinstance(pending, asyncio.Future):
            try:
                async with asyncio.timeout(self.ack_seconds):
                    await pending
            except TimeoutError:  # an outcome that stays unknown, at the end, is one too
                reason = self._ended or "the backups do not follow"
                raise errors.UnavailableError(reason) from None
        await self.caches.revoke()

    @property
    def ended(self) -> bool:
        """Is the term over?"""
        return bool(self._ended)

    def reopen(self) -> None:
        """Go on after a handover that did not happen, unless the term has ended meanwhile."""
        self._refusal = ""
        self.caches.renew()

    def close(self, reason: str) -> None:
        """End the term. Callers that still wait are told that the outcome is unknown."""
        self._ended = reason
        self.caches.end()
        self._journal.unfollow(self._advance)
        self._journal.append(self.namespace, self._unsent)
        self._unsent.clear()
        self._discards.clear()
        self.links.clear()
        self._leased.set()
        while self._waiters:
            future = self._waiters.popleft().future
            if not future.done():
                future.set_exception(errors.OutcomeUnknownError(reason))
                future.exception()  # the connection may be gone: nobody may ever look


async def _answer_after(barrier: asyncio.Future[None], answer: R | asyncio.Future[R]) -> R:
    record = await answer if isinstance(answer, asyncio.Future) else answer
    await asyncio.shield(barrier)  # who no longer waits ends nobody's lease
    return record


def _answer(record: R | errors.MemfsError | m.ErrorReply) -> R:
    """A reply as it is returned: an error is raised."""
    if isinstance(record, errors.MemfsError):
        raise record
    if isinstance(record, m.ErrorReply):
        raise errors.from_wire(record.code, record.message, record.path or None)
    return record


def _resolve(future: asyncio.Future[object], record: object) -> None:
    try:
        future.set_result(_answer(record))
    except errors.MemfsError as error:
        future.set_exception(error)
