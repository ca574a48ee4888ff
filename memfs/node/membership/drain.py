"""A node that is asked to stop moves its blocks away first: its own decommission, and a bound.

Owns the waiting and its news. What is moved, and when this node holds nothing that counts any more,
is decided by the primary (:mod:`memfs.node.healing.decommission`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from memfs import errors
from memfs.logs import fields
from memfs.node.membership.members import Membership
from memfs.protocol import messages as m

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
NEWS_SECONDS = 5.0


class Drain:
    """One departure with all blocks."""

    def __init__(self, membership: Membership, retired: Callable[[], bool], seconds: float) -> None:
        """``retired``: has this node left for good? ``seconds``: the longest time it may take."""
        self._membership = membership
        self._retired = retired
        self._now = membership.environment.clock.monotonic
        self._deadline = self._now() + seconds
        self._news_at = 0.0
        self._left: dict[str, object] = {}
        """What this node still holds, as the primary said last."""

    async def run(self) -> bool:
        """Until this node is no member any more, or cannot be drained; True if it is drained."""
        membership = self._membership
        if not membership.number:
            return False
        log.info("drain begun", extra=fields(member=membership.number))
        while self._now() < self._deadline:
            if self._is_pointless():
                log.warning("all nodes stop: nobody takes the blocks of another")
                return False
            try:
                if await self._step():
                    return self._is_done()
            except errors.RetryableError as error:
                log.info("draining", extra=fields(reason=error))
            except errors.MemfsError as error:
                log.error("cannot drain: blocks stay behind", extra=fields(reason=error))
                return False
            await asyncio.sleep(POLL_SECONDS)
        log.error("drain not done in time: blocks stay behind", extra=self._left)
        return False

    def _is_done(self) -> bool:
        """Is this node no member any more because it was drained, rather than taken for dead?"""
        if not self._retired():
            log.error("removed before all blocks were moved: they stay behind", extra=self._left)
            return False
        log.info("drain done")
        return True

    async def _step(self) -> bool:
        """Ask for the decommission, or look how far it is; True once this node is no member any
        more."""
        membership = self._membership
        if not membership.number:
            return True
        if not membership.member.leaving:
            request = m.Decommission(membership.number, fewer_copies=True)
            await membership.learn_view((await membership.ask(membership.primary(), request)).view)
            return False
        if self._now() >= self._news_at:
            self._news_at = self._now() + NEWS_SECONDS
            self._tell(await membership.ask(membership.primary(), m.GetStatus()))
        return False

    def _is_pointless(self) -> bool:
        """Are all members on their way out? Then the whole cluster is being shut down."""
        return all(member.leaving for member in self._membership.view.members)

    def _tell(self, found: m.StatusReply) -> None:
        for leaving in found.healing.leaving:
            if leaving.member == self._membership.number:
                rate = found.healing.bytes_per_second
                self._left = fields(
                    blocks=leaving.blocks,
                    bytes=leaving.bytes,
                    seconds_left=round(leaving.bytes / rate) if rate else -1,
                    waiting=leaving.waiting,
                )
                log.info("draining", extra=self._left)
