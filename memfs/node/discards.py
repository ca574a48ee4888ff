"""Sends nodes the block versions that no file references any more, in batches.

Best effort: what a node misses (it was down, the queue overflowed) the orphan sweep finds.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Iterable

from memfs import errors, limits
from memfs.logs import fields
from memfs.node.blocks import BlockStore
from memfs.node.membership import Membership
from memfs.protocol import messages as m
from memfs.transport.pool import Pool
from memfs.types import BlockRef

log = logging.getLogger(__name__)

QUEUED_VERSIONS = 1_000_000  # 64 B each; beyond, the sweep does the work


class Discards:
    """Queues of block versions to forget, one per member."""

    def __init__(
        self, store: BlockStore, membership: Membership, pool: Pool, timeout: float
    ) -> None:
        """``store`` is this node's own; ``timeout`` seconds bound one request."""
        self._store = store
        self._membership = membership
        self._pool = pool
        self._timeout = timeout
        self._queues: dict[int, deque[m.BlockVersion]] = defaultdict(deque)
        self._queued = 0
        self._wake = asyncio.Event()

    def add(self, refs: Iterable[BlockRef]) -> None:
        """Queue committed discards, each for all its replicas."""
        for ref in refs:
            version = m.BlockVersion(ref.inode, ref.index, ref.generation, ref.sequence)
            for number in ref.replicas:
                self.add_one(number, version)

    def add_one(self, number: int, version: m.BlockVersion) -> None:
        """Queue one copy to be forgotten by one member."""
        if self._queued < QUEUED_VERSIONS:
            self._queues[number].append(version)
            self._queued += 1
            self._wake.set()

    async def run(self) -> None:
        """Deliver, forever. What fails is dropped."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(0.01)  # deletes come in bursts: one request for many
            for number in list(self._queues):
                while queue := self._queues.get(number):
                    count = min(len(queue), limits.VERSIONS_PER_DISCARD)
                    batch = tuple(queue.popleft() for _ in range(count))
                    self._queued -= count
                    await self._deliver(number, batch)
                self._queues.pop(number, None)

    async def _deliver(self, number: int, batch: tuple[m.BlockVersion, ...]) -> None:
        if number == self._membership.number:
            for version in batch:
                self._store.discard(version)
            await asyncio.sleep(0)
            return
        try:
            connection = await self._pool.control(self._membership.find(number))
            await connection.call(
                m.DiscardBlocks(batch),
                request_id=self._pool.next_request_id(),
                timeout=self._timeout,
                epoch=self._membership.epoch,
            )
        except errors.MemfsError as error:
            log.info(
                "discards left to the sweep",
                extra=fields(member=number, versions=len(batch), reason=error),
            )
