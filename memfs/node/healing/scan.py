"""The scan of all blocks, in steps of a millisecond: blocks that need something are queued for
repair.

Owns when it happens: after a change of the ring, after a report, and now and then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from memfs import errors
from memfs.logs import fields
from memfs.node.healing.placement_check import PlacementCheck
from memfs.node.healing.repair_queue import Findings, RepairQueue

log = logging.getLogger(__name__)

PAGE = 256
STEP_SECONDS = 0.001
STEP_PAGES = 32
PAUSE_SECONDS = 0.002
WAITING = 2_048
"""Blocks waiting to be copied. With fewer of them, and blocks in danger, no pause is made: what
copies would wait for the scan."""
POLL_SECONDS = 0.1
SHARE = 20
"""Pause between two scans, as a multiple of what one takes: scanning takes a twentieth of the time
at most."""
SECONDS = 60.0
"""... and at least so often: to find changes that are not reported, such as another replication of
a file."""
RETRY_SECONDS = 3.0
"""Blocks that cannot be repaired now, for lack of room or of a live source, are scanned again after
this."""


class Scan:
    """Walks while this node is the primary."""

    def __init__(self, repairs: RepairQueue, now: Callable[[], float]) -> None:
        """What is found goes to ``repairs``; ``now``: monotonic seconds."""
        self.running = False
        self.walked: PlacementCheck | None = None
        """Whose demands the last complete walk compared all blocks with."""
        self._repairs = repairs
        self._now = now
        self._walked_to = -1
        """Log index at which the last walk began."""
        self._rested = 0.0
        """When the next one may begin, for its share of the time."""

    async def run(self) -> None:
        """Look at all blocks, again and again."""
        repairs = self._repairs
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if not repairs.leads:
                repairs.forget_all()
                continue
            try:
                repairs.consider_doubtful(PAGE)
                repairs.look_at_members()  # a change of the ring makes the next scan due, too
                if self._now() >= repairs.scan_at or self._must_recount():
                    await self._scan()
            except errors.MemfsError as error:
                log.info("the scan of the blocks ends early", extra=fields(reason=error))

    def _must_recount(self) -> bool:
        """Are there too few nodes for the copies that files ask for? Then new blocks lack copies,
        too."""
        repairs = self._repairs
        changed = repairs.namespace.applied != self._walked_to
        return changed and repairs.is_scarce and self._now() >= self._rested

    async def _scan(self) -> None:
        repairs, started = self._repairs, self._now()
        self._walked_to = repairs.namespace.applied
        repairs.scan_at = float("inf")
        repairs.stuck = 0
        repairs.no_room.next_round()
        self.running = True
        try:
            await self._walk()
            if repairs.findings.moves_left_out and not repairs.findings.blocks:
                await self._walk()
        finally:
            self.running = False
            repairs.counting = None
            busy = repairs.stuck or repairs.unbalanced or repairs.findings.named
            soon = RETRY_SECONDS if busy else SECONDS
            took = self._now() - started
            self._rested = self._now() + SHARE * took
            repairs.scan_at = min(repairs.scan_at, self._now() + max(soon, SHARE * took))
            repairs.wake.set()

    async def _walk(self) -> None:
        repairs, found = self._repairs, Findings()
        repairs.counting = found
        placement = repairs.placement()
        # Writers may have stored on members that take nothing more, before they knew of it.
        departing = placement.ring.takers != placement.members
        balance = departing or (repairs.unbalanced and not repairs.urgent)
        found.moves_left_out = repairs.unbalanced and not balance
        repairs.urgent = False
        after: tuple[int, int] | None = (0, 0)
        while after is not None:
            after = self.step(after, placement, balance, found)
            if after is not None:
                urgent = found.blocks and repairs.waiting < WAITING
                await asyncio.sleep(0 if urgent else PAUSE_SECONDS)
        repairs.corrupt.prune(repairs.namespace)
        repairs.findings = found
        found.queued.clear()
        self.walked = placement
        if balance and not found.moves and not found.blocks and placement is repairs.placement():
            repairs.unbalanced = False

    def step(
        self, after: tuple[int, int], placement: PlacementCheck, balance: bool, found: Findings
    ) -> tuple[int, int] | None:
        """Scan for a millisecond; returns where to go on, None: at the end."""
        until = self._now() + STEP_SECONDS
        following: tuple[int, int] | None = None
        for _ in range(STEP_PAGES):
            page, following = self._repairs.namespace.runs(after, PAGE)
            for run in page:
                self._repairs.examine(run, placement, balance, found)
            if following is None or self._now() > until:
                break
            after = following
        return following
