"""The primary takes members that are gone out of the view, which is what starts their healing.

Owns the judgement that a member is gone: silent for ``removal_seconds``, and a ping that failed
after that. When more than half of the members look silent at once the primary doubts itself: it
then removes no more than half of them within one such period (no re-replication storm).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from memfs import errors
from memfs.logs import fields
from memfs.node.healing.peers import Peers
from memfs.node.membership.members import Membership
from memfs.protocol import messages as m

log = logging.getLogger(__name__)

PING_SECONDS = 2.0


class Removal:
    """Watches the members while this node is the primary."""

    def __init__(
        self,
        membership: Membership,
        peers: Peers,
        remove: Callable[[int], Awaitable[None]],
        removal_seconds: float,
    ) -> None:
        """``remove`` takes a member out of the view."""
        self.removed = 0
        """Members removed so far."""
        self._membership = membership
        self._peers = peers
        self._remove = remove
        self._seconds = removal_seconds
        self._recently: deque[float] = deque()
        self._doubting = False

    async def run(self) -> None:
        """Watch, forever."""
        while True:
            await asyncio.sleep(min(1.0, self._seconds / 4))
            if self._membership.is_primary:
                await self._look()

    async def _look(self) -> None:
        view = self._membership.view
        silent = [m.number for m in view.members if self._silence(m.number) >= self._seconds]
        silent.sort(key=view.in_sync.__contains__)  # one of these may have to wait for another
        self._doubt(2 * len(silent) > len(view.members), len(silent), len(view.members))
        for number in silent:
            if self._may_remove() and not await self._answers(number):
                await self._take_out(number)

    def _silence(self, number: int) -> float:
        now = self._membership.environment.clock.monotonic()
        return now - self._membership.life(number).at

    def _doubt(self, doubting: bool, silent: int, members: int) -> None:
        if doubting and not self._doubting:
            log.warning(
                "the primary doubts itself: most members are silent",
                extra=fields(silent=silent, members=members),
            )
        self._doubting = doubting

    def _may_remove(self) -> bool:
        view = self._membership.view
        now = self._membership.environment.clock.monotonic()
        while self._recently and self._recently[0] <= now - self._seconds:
            self._recently.popleft()
        gone = len(self._recently)
        return not self._doubting or 2 * (gone + 1) <= len(view.members) + gone

    async def _answers(self, number: int) -> bool:
        try:
            await self._peers.ask(number, m.Ping(), PING_SECONDS)
        except errors.MemfsError as error:
            log.info("a silent member does not answer", extra=fields(member=number, reason=error))
            return False
        return True

    async def _take_out(self, number: int) -> None:
        silent = self._silence(number)
        if silent < self._seconds or not self._membership.is_primary:
            return  # it showed life meanwhile
        departures = self._membership.departures
        departures.because(number, f"silent for {min(silent, 1e9):.0f} s")
        try:
            await self._remove(number)
        except errors.MemfsError as error:
            log.warning("a member could not be removed", extra=fields(member=number, reason=error))
            return
        self.removed += 1
        self._recently.append(self._membership.environment.clock.monotonic())
        seconds = round(min(silent, 1e9), 1)
        log.warning("member removed", extra=fields(member=number, silent_seconds=seconds))
