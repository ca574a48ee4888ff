"""The primary's end of one backup: snapshot first, then every log entry once, in order.

Invariant: ``acked`` <= ``sent``, and ``acked`` only grows. A link that failed is never used again;
the member has to catch up through a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from memfs import errors, limits
from memfs.node.log import Entry, pack_entries
from memfs.protocol import messages as m
from memfs.transport.connection import Answer, Connection
from memfs.transport.pool import Pool
from memfs.types import Member


class BackupLink:
    """Ships the log to one backup."""

    def __init__(
        self,
        member: Member,
        pool: Pool,
        ack_seconds: float,
        acked: Callable[[BackupLink], None],
        failed: Callable[[BackupLink, Exception], None],
    ) -> None:
        """``acked`` is called after progress, ``failed`` once at most."""
        self.member = member
        self.acked = 0
        self.required = False
        """Commands wait for this backup."""
        self._pool = pool
        self._ack_seconds = ack_seconds
        self._on_acked = acked
        self._on_failed = failed
        self._connection: Connection | None = None
        self._backlog: list[Entry] = []
        self._live = False
        self._dead = False
        self._digests: dict[int, int] = {}

    async def install(self, pieces: Iterator[bytes], index: int, epoch: int) -> None:
        """Send a snapshot that includes log entry ``index``, then all entries since, go live."""
        bulk = await self._pool.bulk(self.member)
        self._connection = await self._pool.control(self.member)
        offset, piece = 0, next(pieces, None)
        while piece is not None:
            following = next(pieces, None)
            await bulk.call(
                m.InstallSnapshot(index, offset, following is None),
                (piece,),
                request_id=self._pool.next_request_id(),
                timeout=self._ack_seconds * 10,
                epoch=epoch,
            )
            offset, piece = offset + len(piece), following
        self.acked = index
        while self._backlog:
            batch, self._backlog = self._backlog, []
            for start in range(0, len(batch), 512):
                answer = await self._send(batch[start : start + 512], epoch, 0)
                self.acked = answer.record.applied
        self._live = True

    def ship(self, batch: list[Entry], epoch: int, committed: int, digest: int) -> None:
        """Send (or, while catching up, keep) the entries of one tick. Never blocks."""
        if not batch or self._dead:
            return
        if not self._live:
            self._backlog.extend(batch)
            if len(self._backlog) > limits.LOG_ENTRIES_KEPT:
                self._fail(errors.BusyError("the backup catches up more slowly than the log grows"))
            return
        self._digests[batch[-1].index] = digest
        try:
            self._send(batch, epoch, committed).add_done_callback(self._answered)
        except errors.MemfsError as error:
            self._fail(error)

    def _send(self, batch: list[Entry], epoch: int, committed: int) -> asyncio.Future[Answer]:
        assert self._connection is not None
        return self._connection.call(
            m.Replicate(batch[0].index, len(batch), committed),
            (pack_entries(batch),),
            request_id=self._pool.next_request_id(),
            timeout=self._ack_seconds,
            epoch=epoch,
        )

    def _answered(self, future: asyncio.Future[Answer]) -> None:
        if future.cancelled():
            return self._fail(errors.UnavailableError("the connection to the backup was closed"))
        error = future.exception()
        if error is not None:
            return self._fail(error if isinstance(error, Exception) else errors.InternalError())
        reply: m.ReplicateReply = future.result().record
        expected = self._digests.pop(reply.applied, reply.digest)
        if expected != reply.digest:
            return self._fail(
                errors.InternalError(f"the backup's state differs at log index {reply.applied}")
            )
        if reply.applied > self.acked:
            self.acked = reply.applied
            self._on_acked(self)
        return None

    def _fail(self, error: Exception) -> None:
        if not self._dead:
            self._dead = True
            self._on_failed(self, error)
