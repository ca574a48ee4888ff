"""The namespace's primary: one log, group commit, synchronous shipping to the backups.

Owns the order of commands. A command is applied at once and answered once every required backup
has applied it too (InSyncMeansAll); a read that could have seen an unacknowledged command waits
for it (NoDirtyRead). The commands of one loop tick leave as one frame per backup.

It must not know sockets: backups are reached through the node's connection pool.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from memfs import errors, limits
from memfs.logs import fields
from memfs.node.backup_link import BackupLink
from memfs.node.log import Entry
from memfs.node.namespace import Namespace
from memfs.protocol import messages as m
from memfs.protocol import records
from memfs.transport.environment import Environment
from memfs.transport.pool import Pool
from memfs.types import BlockRef, Identity, Member

log = logging.getLogger(__name__)


class _Waiter(NamedTuple):
    log_index: int
    future: asyncio.Future[Any]
    record: Any


class Primary:
    """Sequences commands over a :class:`Namespace` and its backups."""

    def __init__(
        self,
        namespace: Namespace,
        environment: Environment,
        pool: Pool,
        *,
        epoch: Callable[[], int],
        discard: Callable[[tuple[BlockRef, ...]], None],
        lost: Callable[[BackupLink], None],
        ack_seconds: float,
    ) -> None:
        """``discard`` gets what to forget, once committed; ``lost`` a backup that failed."""
        self.namespace = namespace
        self.committed = namespace.applied
        self.links: dict[int, BackupLink] = {}
        self._environment = environment
        self._pool = pool
        self._epoch = epoch
        self._discard = discard
        self._lost = lost
        self._ack_seconds = ack_seconds
        self._log: deque[Entry] = deque(maxlen=limits.LOG_ENTRIES_KEPT)
        self._unsent: list[Entry] = []
        self._waiters: deque[_Waiter] = deque()
        self._discards: deque[tuple[int, tuple[BlockRef, ...]]] = deque()
        self._loop = asyncio.get_running_loop()
        self._flush_scheduled = False
        self._superuser = Identity(namespace.settings.superuser)

    # --- commands and reads -----------------------------------------------------------------

    def submit(
        self, request: Any, opcode: int, client: int, request_id: int, identity: Identity
    ) -> Any:
        """Apply a command; its reply record, or a future of it while backups still lack it.

        Raises the command's error in the same way: directly, or through the future.
        """
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
        self._log.append(entry)
        if outcome.discards:
            self._discards.append((entry.index, outcome.discards))
        if self.links:
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
        """Answer a read; a future while what it saw is not yet committed. Raises its error."""
        record = self.namespace.query(identity, request)
        return self._when_committed(self.namespace.applied, record)

    def _when_committed(self, index: int, record: Any) -> Any:
        if index <= self.committed:
            return _answer(record)
        future = self._loop.create_future()
        self._waiters.append(_Waiter(index, future, record))
        return future

    # --- shipping ---------------------------------------------------------------------------

    def _flush(self) -> None:
        """Ship what this tick collected: one frame per backup."""
        self._flush_scheduled = False
        batch, self._unsent = self._unsent, []
        for link in list(self.links.values()):
            link.ship(batch, self._epoch(), self.committed, self.namespace.digest)
        self._advance()

    def _advance(self) -> None:
        """Move the commit index to what every required backup has; answer who waited for it."""
        committed = min(
            (link.acked for link in self.links.values() if link.required),
            default=self.namespace.applied,
        )
        if committed <= self.committed:
            return
        self.committed = committed
        waiters, discards = self._waiters, self._discards
        while waiters and waiters[0].log_index <= committed:
            waiter = waiters.popleft()
            if not waiter.future.done():
                _resolve(waiter.future, waiter.record)
        while discards and discards[0][0] <= committed:
            self._discard(discards.popleft()[1])

    # --- backups ----------------------------------------------------------------------------

    async def add_backup(self, member: Member) -> BackupLink:
        """Bring a member up to date and require its acks from then on (JoinAfterCatchUp).

        The caller publishes it as in sync afterwards. Raises the error that ended the catch-up.
        """
        self._flush()  # what the snapshot holds must not be shipped to the new link again
        link = BackupLink(member, self._pool, self._ack_seconds, self._acked, self._failed)
        self.links[member.number] = link
        try:
            await link.install(self.namespace.snapshot(), self.namespace.applied, self._epoch())
        except BaseException:
            self.links.pop(member.number, None)
            self._advance()
            raise
        link.required = True
        log.info("backup caught up", extra=fields(member=member.number, index=link.acked))
        return link

    def remove_backup(self, number: int) -> None:
        """Stop waiting for a backup, once a view without it is published (ShrinkBeforeAck)."""
        if self.links.pop(number, None) is not None:
            self._advance()

    def _acked(self, link: BackupLink) -> None:
        if self.links.get(link.member.number) is link:
            self._advance()

    def _failed(self, link: BackupLink, error: Exception) -> None:
        if self.links.get(link.member.number) is link:
            log.warning("backup failed", extra=fields(member=link.member.number, error=error))
            self._lost(link)

    def close(self, reason: str) -> None:
        """Fail whoever still waits: their commands may or may not survive."""
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
