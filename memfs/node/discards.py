"""Tells nodes which block versions to forget, in batches.

Best effort: what a node misses (it was down, the queue overflowed) the orphan sweep finds. Each
decision has a number, and travels with it: a copy that was asked for later is not meant.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterable

from memfs import errors, limits
from memfs.cluster import view as rules
from memfs.logs import fields
from memfs.node.healing.copier import Copier
from memfs.node.membership import Membership
from memfs.protocol import messages as m
from memfs.transport.pool import Pool
from memfs.types import BlockRef

log = logging.getLogger(__name__)

QUEUED_VERSIONS = 1_000_000  # 120 B each; beyond, the sweep does the work

_Decision = tuple[m.BlockVersion, int]
"""What to forget, and the number of the decision."""


class Discards:
    """Queues of block versions to forget, one per member."""

    def __init__(self, copier: Copier, membership: Membership, pool: Pool, timeout: float) -> None:
        """``copier`` carries out what concerns this node; ``timeout`` seconds bound a request."""
        self._copier = copier
        self._membership = membership
        self._pool = pool
        self._timeout = timeout
        self._orders = itertools.count(1)
        self._queues: dict[int, deque[_Decision]] = defaultdict(deque)
        self._queued = 0
        self._reign = 0
        self._wake = asyncio.Event()

    def next_order(self) -> int:
        """The number of a decision about copies that is made now."""
        return next(self._orders)

    def decide(self, refs: Iterable[BlockRef]) -> Callable[[], None]:
        """Number the decision to forget all copies; a call of the result says it is committed.

        A copy may be asked for between the two, and is not meant.
        """
        order = self.next_order()

        def committed() -> None:
            for ref in refs:
                version = m.BlockVersion(*ref[:4])
                for number in ref.replicas:
                    self._add(number, version, order)

        return committed

    def add_one(self, number: int, version: m.BlockVersion) -> None:
        """Decide that one copy is to be forgotten by one member."""
        self._add(number, version, self.next_order())

    def _add(self, number: int, version: m.BlockVersion, order: int) -> None:
        """Queue a decision; who left the cluster forgets by itself."""
        view = self._membership.view
        if view is None or rules.member(view, number) is None:
            return
        if view.primary_since != self._reign:
            self._begin(view.primary_since)
        if self._queued < QUEUED_VERSIONS:
            self._queues[number].append((version, order))
            self._queued += 1
            self._wake.set()

    def _begin(self, reign: int) -> None:
        """What was decided in an earlier reign of this node is left to the sweep."""
        self._reign = reign
        self._queues.clear()
        self._queued = 0

    async def run(self) -> None:
        """Deliver, forever. What fails is dropped."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(0.01)  # deletes come in bursts: one request for many
            for number in list(self._queues):
                while queue := self._queues.get(number):
                    count = min(len(queue), limits.VERSIONS_PER_DISCARD)
                    batch = [queue.popleft() for _ in range(count)]
                    self._queued -= count
                    await self._deliver(number, batch)
                self._queues.pop(number, None)

    async def _deliver(self, number: int, batch: list[_Decision]) -> None:
        view = self._membership.view
        if view is None or view.primary_since != self._reign:
            return
        versions = tuple([version for version, _ in batch])
        order = min(
            order for _, order in batch
        )  # rather leave a copy to the sweep than forget a new one
        if number == self._membership.number:
            self._copier.forget(versions, self._reign, order)
            await asyncio.sleep(0)
            return
        try:
            connection = await self._pool.control(self._membership.find(number))
            await connection.call(
                m.DiscardBlocks(versions, order),
                request_id=self._pool.next_request_id(),
                timeout=self._timeout,
                epoch=self._membership.epoch,
            )
        except errors.MemfsError as error:
            log.info(
                "discards left to the sweep",
                extra=fields(member=number, versions=len(batch), reason=error),
            )
