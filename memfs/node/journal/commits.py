"""Group commit: items that arrive during an fsync form the next batch.

Owns the queue between the event loop and the disk, its waiters, and the behaviour while the disk
fails: the queue is kept, waiters get the error, and the batch is retried. Does not interpret what
is written.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

from memfs.errors import NoSpaceError
from memfs.logs import fields
from memfs.monitoring.metrics import Histogram
from memfs.transport.environment import Environment

log = logging.getLogger(__name__)
T = TypeVar("T")

BATCH_BYTES: Final = 32 << 20
"""Most bytes of one batch: to sync them takes 0.1 s on a disk of 300 MB/s."""
RETRY_SECONDS: Final = 0.5
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class _CommitWaiter(NamedTuple):
    ticket: int
    future: asyncio.Future[None]


class Commits(Generic[T]):
    """A queue of items to be written in order."""

    def __init__(
        self,
        environment: Environment,
        name: str,
        write: Callable[[list[T]], None],
        *,
        written: Callable[[list[T]], None],
        relieve: Callable[[], bool] = lambda: False,
    ) -> None:
        """``write`` blocks and may raise OSError; ``written`` is called on the loop after success.

        ``relieve`` makes room on a full disk, if it can; then the batch is tried again at once.
        """
        self.name = name
        self.added = 0
        """Items added so far: the ticket of the newest."""
        self.durable = 0
        """Tickets up to here are on the disk."""
        self.waiting_bytes = 0
        """Bytes not on the disk yet."""
        self.failure: NoSpaceError | None = None
        """Why the last batch could not be written, until one is."""
        self.failures = 0
        self.seconds = Histogram()
        """Time of each batch, sync included."""
        self._environment = environment
        self._write = write
        self._written = written
        self._relieve = relieve
        self._items: deque[tuple[T, int]] = deque()
        self._waiters: deque[_CommitWaiter] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._paused = False
        self._closing = False
        self._clearings = 0

    def add(self, item: T, size: int) -> int:
        """Queue an item of ``size`` bytes; its ticket."""
        self._items.append((item, size))
        self.added += 1
        self.waiting_bytes += size
        self._wake.set()
        return self.added

    def reached(self, ticket: int) -> asyncio.Future[None] | None:
        """Done once the ticket is durable; None if it is already. Fails with NoSpaceError."""
        if ticket <= self.durable:
            return None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(_CommitWaiter(ticket, future))
        if self.failure is not None:
            self.refuse(self.failure.message)
        return future

    def refuse(self, reason: str) -> None:
        """Fail all waiters: what is queued will not be durable soon, or ever."""
        waiters, self._waiters = self._waiters, deque()
        for _, future in waiters:
            if not future.done():
                future.set_exception(NoSpaceError(reason))
                future.exception()  # whoever waited may be gone

    def clear(self) -> None:
        """Drop what is queued and pause until :meth:`resume`."""
        self._paused = True
        self._clearings += 1
        self._items.clear()
        self.waiting_bytes = 0
        self.refuse("the journal begins anew")
        self.durable = self.added

    async def wait_idle(self) -> None:
        """Return once no batch is being written."""
        await self._idle.wait()

    def resume(self) -> None:
        """Go on writing: the state that the queue continues is on disk."""
        self._paused = False
        self._recovered()
        self._wake.set()

    async def run(self) -> None:
        """Write, until :meth:`close`."""
        while not self._closing:
            await self._wake.wait()
            if self._paused or not self._items:
                self._wake.clear()
                continue
            if not await self._commit() and not self._closing:
                await asyncio.sleep(RETRY_SECONDS)

    def close(self) -> None:
        """End :meth:`run` after the current batch."""
        self._closing = True
        self._wake.set()

    async def drain(self) -> None:
        """Wait until everything queued is durable. Raises NoSpaceError."""
        future = self.reached(self.added)
        if future is not None:
            await future

    async def _commit(self) -> bool:
        """Write one batch; returns whether to continue without a pause."""
        batch = self._next_batch()
        items = [item for item, _ in batch]
        clearings, clock = self._clearings, self._environment.clock
        began = clock.monotonic()
        self._idle.clear()
        try:
            await self._environment.disk.run(lambda: self._write(items))
        except OSError as error:
            return clearings != self._clearings or self._failed(error)
        finally:
            self._idle.set()
        self.seconds.observe(clock.monotonic() - began)
        if clearings == self._clearings:
            self._succeeded(batch)
        return True

    def _succeeded(self, batch: list[tuple[T, int]]) -> None:
        for _ in batch:
            self._items.popleft()
        self.waiting_bytes -= sum(size for _, size in batch)
        self.durable += len(batch)
        self._recovered()
        self._written([item for item, _ in batch])
        while self._waiters and self._waiters[0].ticket <= self.durable:
            future = self._waiters.popleft().future
            if not future.done():
                future.set_result(None)

    def _recovered(self) -> None:
        if self.failure is not None:
            self.failure = None
            log.warning("journal recovered", extra=fields(journal=self.name))

    def _next_batch(self) -> list[tuple[T, int]]:
        batch, size = [], 0
        for each in self._items:
            batch.append(each)
            size += each[1]
            if size >= BATCH_BYTES:
                break
        return batch

    def _failed(self, error: OSError) -> bool:
        """Fail the waiters; returns whether to retry without a pause."""
        self.failures += 1
        if error.errno in _FULL and self._relieve():
            return True
        if self.failure is None:
            log.error("journal cannot be written", extra=fields(journal=self.name, reason=error))
        reason = "is full: free space on it" if error.errno in _FULL else f"fails: {error.strerror}"
        self.failure = NoSpaceError(f"the disk of the node's journal {reason}")
        self.refuse(self.failure.message)
        return False
