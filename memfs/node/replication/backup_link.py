"""The primary's end of one backup: bring it up to date, then every log entry once, in order.

Invariant: ``acked`` <= what was sent, and only grows. A link that failed is never used again; the
member has to catch up through a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from memfs import errors, limits
from memfs.node.log.entries import Entry, pack_entries
from memfs.protocol import messages as m
from memfs.transport.connection import Answer, Connection
from memfs.transport.pool import Pool
from memfs.types import Member

ENTRIES_PER_FRAME = 512


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
        self.error: Exception | None = None
        """Why it was given up."""
        self._progress = asyncio.Event()
        self._digests: dict[int, int] = {}

    # --- catching up ------------------------------------------------------------------------

    async def install(self, pieces: Iterator[bytes], index: int, epoch: int) -> None:
        """Send a snapshot that includes log entry ``index``, then all entries since, go live.

        Raises what ended it, also when the link was given up meanwhile.
        """
        bulk = await self._pool.bulk(self.member)
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
        await self.resume(index, (), epoch)

    async def resume(self, index: int, missing: Iterable[Entry], epoch: int) -> None:
        """Send what the backup lacks after log entry ``index``, go live."""
        self._backlog = [*missing, *self._backlog]
        self._connection = await self._pool.control(self.member)
        self.acked = index
        while self._backlog:
            batch, self._backlog = self._backlog, []
            for start in range(0, len(batch), ENTRIES_PER_FRAME):
                answer = await self._send(batch[start : start + ENTRIES_PER_FRAME], epoch, 0)
                self.acked = answer.record.applied
        if self.error is not None:
            raise errors.UnavailableError(f"the backup was given up meanwhile: {self.error}")
        self._live = True

    # --- the log ----------------------------------------------------------------------------

    def ship(self, batch: list[Entry], epoch: int, committed: int, digest: int) -> None:
        """Send (or, while catching up, keep) the entries of one tick. Never blocks."""
        if not batch or self.error is not None:
            return
        if not self._live:
            self._backlog.extend(batch)
            if len(self._backlog) > limits.LOG_ENTRIES_KEPT:
                self.fail(errors.BusyError("the backup catches up more slowly than the log grows"))
            return
        self._digests[batch[-1].index] = digest
        try:
            self._send(batch, epoch, committed).add_done_callback(self._answered)
        except errors.MemfsError as error:
            self.fail(error)

    async def reach(self, index: int) -> None:
        """Return once the backup has entry ``index``. Raises the error that ended the link."""
        while self.acked < index:
            if self.error is not None:
                raise errors.UnavailableError(f"the backup was given up: {self.error}")
            self._progress.clear()
            await self._progress.wait()

    async def renew_lease(self, epoch: int, committed: int) -> None:
        """Ask the backup to renew its promise, and tell it what is committed. Raises the error that
        it answers."""
        connection = self._connection or await self._pool.control(self.member)
        await connection.call(
            m.RenewLease(committed),
            request_id=self._pool.next_request_id(),
            timeout=self._ack_seconds,
            epoch=epoch,
        )

    def _send(
        self, batch: list[Entry], epoch: int, committed: int
    ) -> asyncio.Future[Answer[m.ReplicateReply]]:
        assert self._connection is not None
        return self._connection.call(
            m.Replicate(batch[0].index, len(batch), committed),
            (pack_entries(batch),),
            request_id=self._pool.next_request_id(),
            timeout=self._ack_seconds,
            epoch=epoch,
        )

    def _answered(self, future: asyncio.Future[Answer[m.ReplicateReply]]) -> None:
        if future.cancelled():
            return self.fail(errors.UnavailableError("the connection to the backup was closed"))
        error = future.exception()
        if error is not None:
            return self.fail(error if isinstance(error, Exception) else errors.InternalError())
        reply = future.result().record
        expected = self._digests.pop(reply.applied, reply.digest)
        if expected != reply.digest:
            return self.fail(
                errors.InternalError(f"the backup's state differs at log index {reply.applied}")
            )
        if reply.applied > self.acked:
            self.acked = reply.applied
            self._progress.set()
            self._on_acked(self)
        return None

    def fail(self, error: Exception) -> None:
        """Give the backup up."""
        if self.error is None:
            self.error = error
            self._progress.set()
            self._on_failed(self, error)
