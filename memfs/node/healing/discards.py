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
from memfs.logs import fields
from memfs.node.healing.copier import Copier
from memfs.node.membership.members import Membership
from memfs.protocol import messages as m
from memfs.types import BlockRef

log = logging.getLogger(__name__)

QUEUED_VERSIONS = 1_000_000  # 120 B each; beyond, the sweep does the work
DELIVERED_AT_ONCE = limits.VERSIONS_PER_DISCARD // 4
"""Small blocks take 2 us each of the loop of the node that forgets them, others up to 20."""

_tuple = tuple.__new__
"""Makes a named tuple in a third of the time that its name takes."""

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
        return lambda: self._add(refs, order)

    def add_one(self, number: int, version: m.BlockVersion) -> None:
        """Decide that one copy is to be forgotten by one member."""
        self._add((BlockRef(*version, 0, 0, (number,)),), self.next_order())

    def _add(self, refs: Iterable[BlockRef], order: int) -> None:
        """Queue a decision; a member that left the cluster forgets by itself."""
        view, queues = self._membership.view, self._queues
        members = frozenset([member.number for member in view.members])
        if view.primary_since != self._term:
            self._begin(view.primary_since)
        for ref in refs:
            decision = _tuple(m.BlockVersion, ref[:4]), order
            for number in ref.replicas:
                if number in members and self._queued < QUEUED_VERSIONS:
                    queues[number].append(decision)
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
                    count = min(len(queue), DELIVERED_AT_ONCE)
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
