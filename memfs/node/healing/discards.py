"""Tells nodes which block versions to forget, in batches.

Best effort: what a node misses (it was down, the queue overflowed) is found by the orphan sweep.
Each decision has a number, which is sent with it: it does not concern copies that were asked for
later.
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
from memfs.node.membership.members import Membership
from memfs.protocol import messages as m
from memfs.types import BlockRef

log = logging.getLogger(__name__)

QUEUED_VERSIONS = 1_000_000  # 120 B each; beyond, the sweep does the work

_Decision = tuple[m.BlockVersion, int]
"""What to forget, and the number of the decision."""


class Discards:
    """Queues of block versions to forget, one per member."""

    def __init__(self, copier: Copier, membership: Membership) -> None:
        """``copier`` carries out what concerns this node."""
        self._copier = copier
        self._membership = membership
        self._orders = itertools.count(1)
        self._queues: dict[int, deque[_Decision]] = defaultdict(deque)
        self._queued = 0
        self._term = 0
        self._wake = asyncio.Event()

    def next_order(self) -> int:
        """Number a decision about copies that is made now."""
        return next(self._orders)

    def decide(self, refs: Iterable[BlockRef]) -> Callable[[], None]:
        """Number the decision to forget these copies; call the result once it is committed.

        Copies that are requested in between are kept.
        """
        order = self.next_order()

        def committed() -> None:
            for ref in refs:
                version = ref.version
                for number in ref.replicas:
                    self._add(number, version, order)

        return committed

    def add_one(self, number: int, version: m.BlockVersion) -> None:
        """Decide that one copy is to be forgotten by one member."""
        self._add(number, version, self.next_order())

    def _add(self, number: int, version: m.BlockVersion, order: int) -> None:
        """Queue a decision; a member that left the cluster forgets by itself."""
        view = self._membership.view
        if rules.member(view, number) is None:
            return
        if view.primary_since != self._term:
            self._begin(view.primary_since)
        if self._queued < QUEUED_VERSIONS:
            self._queues[number].append((version, order))
            self._queued += 1
            self._wake.set()

    def _begin(self, term: int) -> None:
        """Begin a term: decisions of an earlier term of this node are left to the sweep."""
        self._term = term
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
        if view.primary_since != self._term:
            return
        versions = tuple([version for version, _ in batch])
        order = min(
            order for _, order in batch
        )  # rather leave a copy to the sweep than forget a new one
        if number == self._membership.number:
            self._copier.forget(versions, self._term, order)
            await asyncio.sleep(0)
            return
        try:
            await self._membership.ask(number, m.DiscardBlocks(versions, order))
        except errors.MemfsError as error:
            log.info(
                "discards left to the sweep",
                extra=fields(member=number, versions=len(batch), reason=error),
            )
