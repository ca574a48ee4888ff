"""The namespace's primary: one log, group commit, synchronous shipping to the backups.

Owns the order of commands during one reign. A command is applied at once and answered once every
required backup has applied it too (InSyncMeansAll) and the view counts enough of them (MinInSync);
a read needs a valid read lease (NoStaleRead), and one that could have seen an unacknowledged
command waits for it (NoDirtyRead). The commands of one loop tick leave as one frame per backup.

It must not know sockets: backups are reached through the node's connection pool.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from memfs import errors
from memfs.logs import fields
from memfs.node.backup_link import BackupLink
from memfs.node.journal.feed import Feed
from memfs.node.log import Entry
from memfs.node.namespace import Namespace
from memfs.node.read_lease import ReadLease
from memfs.node.recent_log import RecentLog
from memfs.node.tasks import set_aside
from memfs.protocol import messages as m
from memfs.protocol import records
from memfs.transport.environment import Environment
from memfs.transport.pool import Pool
from memfs.types import BlockRef, Identity, Member, View

log = logging.getLogger(__name__)


Decide = Callable[[tuple[BlockRef, ...]], Callable[[], None]]
"""Takes copies to be forgotten; what it returns is called once that is committed."""


class _Waiter(NamedTuple):
    log_index: int
    future: asyncio.Future[Any]
    record: Any


class Primary:
    """Sequences commands over a :class:`Namespace` and its backups, for one reign."""

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
        feed: Feed | None = None,
    ) -> None:
        """``discard`` decides what to forget; ``lost`` is told of a backup that failed.

        ``recent`` ends where ``namespace`` stands. ``feed`` leads to the journal.
        """
        self.namespace = namespace
        self.recent = recent
        self.committed = namespace.applied
        self.links: dict[int, BackupLink] = {}
        self.in_sync = self.min_in_sync = 1
        self._environment = environment
        self._pool = pool
        self._epoch = epoch
        self._discard = discard
        self._lost = lost
        self.ack_seconds = lease_seconds / 2
        """A backup that is silent for so long has failed: well before its lease ends."""
        self._lease = ReadLease(lease_seconds)
        self._lease_until: int | None = None
        self._leased = asyncio.Event()
        self._boottime = environment.clock.boottime_ns
        self._unsent: list[Entry] = []
        self._waiters: deque[_Waiter] = deque()
        self._discards: deque[tuple[int, Callable[[], None]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._flush_scheduled = False
        self._refusal = ""
        self._ended = ""
        self._feed = feed or Feed(None, lambda: False)
        self._feed.on_progress(self._advance)
        self._superuser = Identity(namespace.settings.superuser)

    # --- commands and reads -----------------------------------------------------------------

    def submit(
        self, request: Any, opcode: int, client: int, request_id: int, identity: Identity
    ) -> Any:
        """Apply a command; its reply record, or a future of it while backups still lack it.

        Raises the command's error in the same way: directly, or through the future.
        """
        self._check_open()
        self._check_enough()
        if not self.namespace.has_answered(client, request_id):
            self._feed.check_room(request)
        entry = Entry(
            self.namespace.applied + 1,
            self._epoch(),
            self._environment.clock.wall_ns(),
            client,
            request_id,
            identity,
            opcode,
            records.encode(request),
        )
        outcome = self.namespace.apply(entry, request)
        self.recent.append(entry, self.namespace.digest)
        if outcome.discards:
            self._discards.append((entry.index, self._discard(outcome.discards)))
        if self.links or self._feed.active:
            self._unsent.append(entry)
            if not self._flush_scheduled:
                self._flush_scheduled = True
                self._loop.call_soon(self._flush)
        self._advance()
        return self._when_committed(entry.index, outcome.record)

    def submit_own(self, request: Any) -> Any:
        """Apply a command of the node itself, as the superuser, without deduplication."""
        opcode = m.BY_REQUEST[type(request)].opcode
        return self.submit(request, opcode, 0, 0, self._superuser)

    def query(self, identity: Identity, request: Any) -> Any:
        """Answer a read; a future while the lease or what it saw is in doubt.

        Raises its error.
        """
        self._check_open()
        if not self.has_lease():
            later = asyncio.ensure_future(self._query_later(identity, request))
            set_aside(later)  # the caller may be gone before he looks
            return later
        record = self.namespace.query(identity, request)
        return self._when_committed(self.namespace.applied, record)

    async def confirm(self) -> None:
        """Return once all that is applied now is committed and this is still the primary.

        What was decided before from the namespace may then be acted on: no other primary can have
        decided otherwise. Raises UnavailableError, NotPrimaryError, OutcomeUnknownError.
        """
        self._check_open()
        pending = self._when_committed(self.namespace.applied, m.Empty())
        if isinstance(pending, asyncio.Future):
            await pending
        await self._wait_for_lease()

    def _when_committed(self, index: int, record: Any) -> Any:
        if index <= self.committed:
            return _answer(record)
        future = self._loop.create_future()
        self._waiters.append(_Waiter(index, future, record))
        return future

    def _check_open(self) -> None:
        if self._ended or self._refusal:
            raise errors.NotPrimaryError(self._ended or self._refusal)

    def _check_enough(self) -> None:
        if self.in_sync < self.min_in_sync:
            raise errors.UnavailableError(
                f"{self.in_sync} of {self.min_in_sync} required copies of the namespace are in "
                "sync: commands wait until another node has caught up"
            )

    # --- the read lease ---------------------------------------------------------------------

    def has_lease(self) -> bool:
        """May this node answer reads now (NoStaleRead)?"""
        until = self._lease_until
        return until is None or self._boottime() < until

    async def _query_later(self, identity: Identity, request: Any) -> Any:
        await self._wait_for_lease()
        answer = self.query(identity, request)
        return await answer if isinstance(answer, asyncio.Future) else answer

    async def _wait_for_lease(self) -> None:
        self._check_open()
        deadline = self._loop.time() + self.ack_seconds
        while not self.has_lease():
            self._leased.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._leased.wait()
            except TimeoutError:
                raise errors.UnavailableError(
                    "the backups do not confirm that this node is still the primary"
                ) from None
            self._check_open()

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
        await link.renew_lease(self._epoch())
        self._lease.granted(link.member.number, asked_ns)
        self._update_lease()

    def _update_lease(self) -> None:
        self._lease_until = self._lease.valid_until(self.required())
        self._leased.set()

    # --- shipping ---------------------------------------------------------------------------

    def _flush(self) -> None:
        """Ship what this tick collected: one frame per backup."""
        self._flush_scheduled = False
        batch, self._unsent = self._unsent, []
        self._feed.append(self.namespace, batch)
        for link in list(self.links.values()):
            link.ship(batch, self._epoch(), self.committed, self.namespace.digest)
        self._advance()

    def _advance(self) -> None:
        """Move the commit index to what every required backup has; answer who waited for it."""
        if self._ended or self.in_sync < self.min_in_sync:
            return
        acked = [link.acked for link in self.links.values() if link.required]
        committed = min([*acked, self._feed.durable(self.namespace)])
        if committed <= self.committed:
            return
        self.committed = committed
        waiters, discards = self._waiters, self._discards
        while waiters and waiters[0].log_index <= committed:
            waiter = waiters.popleft()
            if not waiter.future.done():
                _resolve(waiter.future, waiter.record)
        while discards and discards[0][0] <= committed:
            discards.popleft()[1]()

    def absorb(self, entries: Iterable[Entry]) -> None:
        """Apply entries of the reign before that other in-sync members have and this one lacks."""
        fresh = list(entries)
        for entry in fresh:
            assert entry.index == self.namespace.applied + 1, "a gap in the fetched log"
            self.namespace.apply(entry)
            self.recent.append(entry, self.namespace.digest)
        self._feed.append(self.namespace, fresh)

    # --- backups ----------------------------------------------------------------------------

    def follow(self, view: View) -> None:
        """Heed a newer view of this reign: how many members are in sync, how many must be."""
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

        Its acks are required from the beginning. Raises the error that ended the catch-up.
        """
        link = self._new_link(member)
        link.acked = min(position.applied, self.committed)
        self._require(link)
        missing = None
        if self.recent.digest_at(position.applied) == position.digest:
            missing = self.recent.after(position.applied)
        if missing is None:
            await link.install(self.namespace.snapshot(), self.namespace.applied, self._epoch())
        else:
            await link.resume(position.applied, missing, self._epoch())
        await self._renew(link)
        self._advance()

    def _new_link(self, member: Member) -> BackupLink:
        self._flush()  # what the snapshot holds must not be shipped to the new link again
        link = BackupLink(member, self._pool, self.ack_seconds, self._acked, self._failed)
        self.links[member.number] = link
        return link

    def _require(self, link: BackupLink) -> None:
        link.required = True
        self._update_lease()

    def remove_backup(self, number: int) -> None:
        """Stop waiting for a backup, once a view without it is published (ShrinkBeforeAck)."""
        if self.links.pop(number, None) is not None:
            self._lease.forget(number)
            self._update_lease()
            self._advance()

    def _acked(self, link: BackupLink) -> None:
        if self.links.get(link.member.number) is link:
            self._advance()

    def _failed(self, link: BackupLink, error: Exception) -> None:
        if self.links.get(link.member.number) is link:
            log.warning("backup failed", extra=fields(member=link.member.number, reason=error))
            self._lost(link)

    # --- the end of the reign ---------------------------------------------------------------

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

    def reopen(self) -> None:
        """Go on after a handover that did not happen, unless the reign has ended meanwhile."""
        self._refusal = ""

    def close(self, reason: str) -> None:
        """End the reign. Who still waits is told that his command may or may not survive."""
        self._ended = reason
        self._feed.on_progress(lambda: None)
        self._feed.append(self.namespace, self._unsent)
        self._unsent.clear()
        self._discards.clear()
        self.links.clear()
        self._leased.set()
        while self._waiters:
            future = self._waiters.popleft().future
            if not future.done():
                future.set_exception(errors.OutcomeUnknownError(reason))
                future.exception()  # the connection may be gone: nobody may ever look


def _answer(record: Any) -> Any:
    if type(record) is m.ErrorReply:
        raise errors.from_wire(record.code, record.message, record.path or None)
    return record


def _resolve(future: asyncio.Future[Any], record: Any) -> None:
    if type(record) is m.ErrorReply:
        future.set_exception(errors.from_wire(record.code, record.message, record.path or None))
    else:
        future.set_result(record)
