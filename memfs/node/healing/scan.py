"""The walk over all blocks, in steps of a millisecond: what needs something is put on the agenda.

Owns when it happens: after a change of the ring, after a report, and now and then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from memfs import errors
from memfs.logs import fields
from memfs.node.healing.agenda import Agenda, Findings
from memfs.node.healing.judge import Judge

log = logging.getLogger(__name__)

PAGE = 128
STEP_SECONDS = 0.001
STEP_PAGES = 64
PAUSE_SECONDS = 0.002
POLL_SECONDS = 0.1
SHARE = 20
"""The whole of the blocks is walked no more often than every 20 times what that takes."""
SECONDS = 60.0
"""... and at least so often: to find what nobody told, as a new number of copies of a file."""
RETRY_SECONDS = 3.0
"""What cannot be done now, for lack of room or a live source, is looked at again after this."""


class Scan:
    """Walks while this node is the primary."""

    def __init__(self, agenda: Agenda, now: Callable[[], float]) -> None:
        """What is found goes to ``agenda``; ``now``: monotonic seconds."""
        self.running = False
        self.walked: Judge | None = None
        """Whose demands the last complete walk compared all blocks with."""
        self._agenda = agenda
        self._now = now

    async def run(self) -> None:
        """Look at all blocks, again and again."""
        agenda = self._agenda
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if not agenda.leads:
                agenda.forget_all()
                continue
            try:
                agenda.consider_doubtful(PAGE)
                agenda.judge()  # a change of the ring makes the next scan due
                if self._now() >= agenda.scan_at:
                    await self._scan()
            except errors.MemfsError as error:
                log.info("the scan of the blocks ends early", extra=fields(reason=error))

    async def _scan(self) -> None:
        agenda, started = self._agenda, self._now()
        agenda.scan_at = float("inf")
        agenda.stuck = 0
        self.running = True
        try:
            await self._walk()
        finally:
            self.running = False
            busy = agenda.stuck or agenda.unbalanced or agenda.findings.leaving_blocks
            soon = RETRY_SECONDS if busy else SECONDS
            took = self._now() - started
            agenda.scan_at = min(agenda.scan_at, self._now() + max(soon, SHARE * took))
            agenda.wake.set()

    async def _walk(self) -> None:
        agenda, found = self._agenda, Findings()
        judge = agenda.judge()
        # Writers may have stored on members that take nothing more, before they knew of it.
        balance = agenda.unbalanced or judge.ring.takers != judge.members
        after: tuple[int, int] | None = (0, 0)
        while after is not None:
            after = self.step(after, judge, balance, found)
            if after is not None:
                await asyncio.sleep(PAUSE_SECONDS)
        agenda.corrupt.prune(agenda.namespace)
        agenda.findings = found
        self.walked = judge
        if balance and not found.moves and not found.blocks and judge is agenda.judge():
            agenda.unbalanced = False

    def step(
        self, after: tuple[int, int], judge: Judge, balance: bool, found: Findings
    ) -> tuple[int, int] | None:
        """Look at what a millisecond is enough for; where to go on, None: this was the end."""
        until = self._now() + STEP_SECONDS
        following: tuple[int, int] | None = None
        for _ in range(STEP_PAGES):
            page, following = self._agenda.namespace.blocks(after, PAGE)
            for block in page:
                self._agenda.examine(block, judge, balance, found)
            if following is None or self._now() > until:
                break
            after = following
        return following
