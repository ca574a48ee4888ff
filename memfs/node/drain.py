"""A node that is asked to stop moves its blocks away first: its own decommission, and a bound.

Owns the waiting and its news. What is moved, and when this node holds nothing that counts, is the
primary's to say (:mod:`memfs.node.healing.decommission`).
"""

from __future__ import annotations

import asyncio
import logging

from memfs import errors
from memfs.logs import fields
from memfs.node.membership import Membership
from memfs.protocol import messages as m

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
NEWS_SECONDS = 5.0


class Drain:
    """One departure with all blocks."""

    def __init__(self, membership: Membership, seconds: float) -> None:
        """``seconds``: the longest time it may take."""
        self._membership = membership
        self._now = membership.environment.clock.monotonic
        self._deadline = self._now() + seconds
        self._news_at = 0.0

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
                    log.info("drain done")
                    return True
            except errors.RetryableError as error:
                log.info("draining", extra=fields(reason=error))
            except errors.MemfsError as error:
                log.error("cannot drain: blocks stay behind", extra=fields(reason=error))
                return False
            await asyncio.sleep(POLL_SECONDS)
        log.error("drain not done in time: blocks stay behind")
        return False

    async def _step(self) -> bool:
        """Ask to go, or see how far it is; True once this node is no member any more."""
        membership = self._membership
        if not membership.number:
            return True
        if not membership.member.leaving:
            request = m.Decommission(membership.number)
            membership.adopt((await membership.ask(membership.primary(), request)).view)
            return False
        if self._now() >= self._news_at:
            self._news_at = self._now() + NEWS_SECONDS
            self._tell(await membership.ask(membership.primary(), m.GetStatus()))
        return False

    def _is_pointless(self) -> bool:
        """Are all members on their way out? Then the whole cluster is being shut down."""
        view = self._membership.view
        return view is not None and all(member.leaving for member in view.members)

    def _tell(self, found: m.StatusReply) -> None:
        for leaving in found.healing.leaving:
            if leaving.member == self._membership.number:
                rate = found.healing.bytes_per_second
                left = round(leaving.bytes / rate) if rate else -1
                log.info(
                    "draining",
                    extra=fields(
                        blocks=leaving.blocks,
                        bytes=leaving.bytes,
                        seconds_left=left,
                        waiting=leaving.waiting,
                    ),
                )
