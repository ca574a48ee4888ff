"""How a node that is stopped leaves the cluster: its blocks, its role, its membership.

Owns the order of these and how long they may take; best effort: a node that stops is gone
afterwards, whatever did not succeed. Each of them takes a change of the view, so none is tried for
longer when the coordinator does not answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from memfs import errors
from memfs.concurrency import Coro
from memfs.logs import Seldom, fields
from memfs.node.membership.drain import Drain
from memfs.node.membership.members import Membership
from memfs.node.replication.role import NamespaceRole
from memfs.protocol import messages as m

log = logging.getLogger(__name__)

LEAVE_SECONDS = 10.0
"""How long a node that stops tries to pass on its role."""
ALONE_SECONDS = 2.0
"""How long it tries without a word from the coordinator: an etcd chooses a leader in less."""
ALONE_WITH_BLOCKS_SECONDS = 60.0
"""... while the only copies of blocks may be in its RAM: a restarted etcd is back by then."""


class Leaving:
    """One departure in good order."""

    def __init__(
        self,
        membership: Membership,
        role: NamespaceRole,
        *,
        drain_seconds: float,
        revives: Callable[[], bool],
        retired: Callable[[], bool],
    ) -> None:
        """``drain_seconds``: how long the blocks may take to move away, 0: they stay;
        ``revives``: does a restart of this node take up its membership? ``retired``: has it left
        for good?"""
        self._membership = membership
        self._role = role
        self._drain_seconds = drain_seconds
        self._revives = revives
        self._retired = retired
        self._now = membership.environment.clock.monotonic
        self._news = Seldom(self._now)

    async def drain(self) -> None:
        """Pass on the role, then all blocks, if that is wanted."""
        if self._drain_seconds:
            seconds = LEAVE_SECONDS + self._drain_seconds
            kept = self._revives()  # the journal brings the blocks back
            patience = ALONE_SECONDS if kept else ALONE_WITH_BLOCKS_SECONDS
            await self._unless_alone(self._drain(), seconds, patience)

    async def leave(self) -> None:
        """Pass on what this node is to the cluster, then leave it."""
        await self._unless_alone(self._leave(), LEAVE_SECONDS, ALONE_SECONDS)

    async def _unless_alone(self, work: Coro[None], seconds: float, patience: float) -> None:
        """Work until it is done, or its time is over, or it cannot be done any more.

        It cannot once the coordinator has answered nothing for ``patience`` seconds.
        """
        working = asyncio.create_task(work, name="leave")
        alone = asyncio.create_task(self._until_alone(patience), name="look for the coordinator")
        try:
            await asyncio.wait(
                (working, alone), timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if working.done():
                working.result()
            else:
                reason = "its time is over"
                reason = "the coordinator does not answer" if alone.done() else reason
                log.warning("this node stops without leaving", extra=fields(reason=reason))
        finally:
            working.cancel()
            alone.cancel()
            await asyncio.gather(working, alone, return_exceptions=True)

    async def _until_alone(self, patience: float) -> None:
        """Until the coordinator has answered nothing for so many seconds."""
        answered = self._now()
        while (left := answered + patience - self._now()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._membership.publisher.read()
                answered = self._now()
            except (errors.MemfsError, TimeoutError):
                pass
            await asyncio.sleep(ALONE_SECONDS / 8)

    async def _drain(self) -> None:
        try:
            if self._role.leads:
                await self._role.hand_over()
        except errors.MemfsError as error:
            log.info("the role stays here for now", extra=fields(reason=error))
        await Drain(self._membership, self._retired, self._drain_seconds).run()

    async def _leave(self) -> None:
        membership = self._membership
        pause = longest = membership.heartbeat_seconds / 4
        while membership.number:
            try:
                if self._role.leads:
                    await self._role.hand_over()
                    pause = longest / 16  # the heir may stop too: be gone before it gives it back
                if self._revives():
                    return  # it comes back as what it is now
                await membership.ask(membership.primary(), m.Leave(membership.number))
                return
            except errors.RetryableError as error:
                if membership.is_primary and len(membership.view.in_sync) == 1:
                    return  # there is nobody to pass anything on to
                if self._news.is_news(error.message):
                    log.info("leaving", extra=fields(reason=error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
            except errors.MemfsError as error:
                log.warning("left without a word from the primary", extra=fields(reason=error))
                return
