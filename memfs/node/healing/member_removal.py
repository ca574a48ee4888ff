"""The primary takes members that are gone out of the view, which is what starts their healing.

Owns the judgement that a member is gone: silent for ``removal_seconds``, and a ping that failed
after that. Who is silent may be cut off and come back with what it holds; a process that has ended
cannot, unless a journal has it: its member goes as soon as its host refuses connections, if the
others are enough for the copies that are asked for. When more than half of the members look gone
at once the primary doubts itself: it then removes no more than half of them within
``removal_seconds`` (no re-replication storm).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from memfs import errors
from memfs.logs import Seldom, fields
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
        copies: Callable[[], int],
    ) -> None:
        """``remove`` takes a member out of the view; ``copies``: asked for by default."""
        self.removed = 0
        """Members removed so far."""
        self._membership = membership
        self._peers = peers
        self._remove = remove
        self._seconds = removal_seconds
        self._copies = copies
        self._news = Seldom(membership.environment.clock.monotonic)
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
        others = [m.number for m in view.members if m.number not in silent]
        told = await asyncio.gather(*map(self._has_ended, others))
        ended = [number for number, is_over in zip(others, told, strict=True) if is_over]
        gone = len(silent) + len(ended)
        self._doubt(2 * gone > len(view.members), gone, len(view.members))
        for number in silent:
            if self._may_remove() and not await self._answers(number):
                await self._remove_silent(number, self._seconds)
        for number in ended:
            if self._may_remove() and self._are_enough():
                await self._remove_silent(number, 0.0)

    async def _has_ended(self, number: int) -> bool:
        """Is a process gone, with all that it held?"""
        membership = self._membership
        if membership.is_journaled or membership.is_alive(number):
            return False
        return not await self._answers(number) and membership.has_ended(number)

    def _are_enough(self) -> bool:
        """Can a member be removed without a wait? Where the others are too few for the copies that
        files ask for, removing it gains nothing and would lower what acknowledgements need."""
        view = self._membership.view
        try:
            return len(view.members) > max(view.min_in_sync, self._copies())
        except errors.NotPrimaryError:
            return False

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
            if self._news.is_news(f"{number} does not answer"):
                about = fields(member=number, reason=error)
                log.info("a silent member does not answer", extra=about)
            return False
        return True

    async def _remove_silent(self, number: int, seconds: float) -> None:
        """Remove a member unless it showed life within ``seconds``."""
        membership, silent = self._membership, self._silence(number)
        if silent < seconds or not membership.is_primary:
            return  # it showed life meanwhile
        shown = round(min(silent, 1e9), 1)
        reason = f"silent for {shown:.0f} s" if seconds else "its process ended"
        membership.departures.because(number, reason)
        try:
            await self._remove(number)
        except errors.MemfsError as error:
            if self._news.is_news(f"{number}: {error.message}"):
                about = fields(member=number, reason=error)
                log.warning("a member could not be removed", extra=about)
            return
        self.removed += 1
        self._recently.append(membership.environment.clock.monotonic())
        log.warning("member removed", extra=fields(member=number, silent_seconds=shown))
