"""Leases granted to this client. A caller that was cancelled before the answer holds none.

Owns which leases the callers of one session have, and the return of those that no caller has: when
an open is cancelled, or ends without an answer, the primary may have granted its lease. Must not
know files or writers. Invariant: a lease is either in ``held`` or on its way back.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import NamedTuple

from memfs.client.calls.deadline import seconds_left
from memfs.client.session.background_work import BackgroundWork
from memfs.client.session.primary_requests import PrimaryRequests
from memfs.client.session.silence import no_doubt
from memfs.concurrency import Coro
from memfs.errors import MemfsError, OutcomeUnknownError
from memfs.protocol import messages as m
from memfs.types import Attributes, BlockRef

log = logging.getLogger(__name__)

RETURN_SECONDS = 0.5
"""How long a caller waits until a lease is back; then it is given back on the side."""


class Lease(NamedTuple):
    """The right to change one file; a generation is granted once."""

    inode: int
    generation: int


class Grants:
    """Leases of one session."""

    def __init__(self, primary: PrimaryRequests, background: BackgroundWork, holder: str) -> None:
        """``holder``: what others are told who find a file held by this client."""
        self.held: set[Lease] = set()
        """What callers have and will give back."""
        self.closing = False
        """Nobody waits until a lease is back any more."""
        self._primary = primary
        self._aside = background
        self._holder = holder
        self._asking: set[asyncio.Future[None]] = set()

    async def lease(
        self, request: m.Create | m.AcquireLease, path: str, deadline: float
    ) -> m.LeaseReply:
        """The reply to a request for a lease, which the caller has to give back from then on.

        A request without an answer is not sent again once its caller is gone, for it may empty a
        file that somebody has written since; a lease that it was granted is looked for instead.
        """
        turn = asyncio.get_running_loop().create_future()
        self._asking.add(turn)
        try:
            reply = await self._primary.ask(request, path, deadline)
            self.held.add(Lease(reply.attributes.inode, reply.attributes.generation))
            return reply
        except (asyncio.CancelledError, OutcomeUnknownError) as error:
            self._asking.discard(turn)
            reclaim = functools.partial(self._reclaim, request.path, request.base)
            await self._return(reclaim, deadline)
            if isinstance(error, OutcomeUnknownError) and _leaves_nothing(request):
                raise no_doubt(error, path) from error
            raise
        finally:
            self._asking.discard(turn)
            turn.set_result(None)

    async def recover(self, raw: bytes, path: str, deadline: float) -> Attributes:
        """End another writer's lease at its last flush. Raises as opening for writing does."""
        request = m.AcquireLease(raw, True, holder=self._holder)
        leased = (await self.lease(request, path, deadline)).attributes
        try:
            release = m.ReleaseLease(leased.inode, leased.generation)
            reply = await self._primary.ask(release, path, deadline)
        except BaseException:
            await self.give_back(leased.inode, leased.generation, deadline)
            raise
        self.ended(leased.inode, leased.generation)
        return reply.attributes

    async def unnamed(
        self, request: m.CreateDraft | m.CreateUnnamed, path: str, deadline: float
    ) -> m.LeaseReply:
        """A file without a name under a lease, which the caller has to give back."""

        async def undo(reply: m.LeaseReply) -> None:
            lease = reply.attributes.inode, reply.attributes.generation
            await self._primary.ask(m.ReleaseLease(*lease))

        reply = await self._primary.ask_or_undo(request, path, deadline, undo)
        self.held.add(Lease(reply.attributes.inode, reply.attributes.generation))
        return reply

    @property
    def asking(self) -> bool:
        """Whether a request for a lease is on its way."""
        return bool(self._asking)

    def is_lost(self, lease: Lease) -> bool:
        """Is this lease, which the primary says this client has, held by no caller and about to be
        returned by none?"""
        return lease not in self.held and not self._asking and not self._aside.busy

    async def _reclaim(self, raw: bytes, base: int) -> None:
        """Give the lease of a file back if this client has it and none of its callers does."""
        # Settled: the request may have been taken by a primary that was lost, and would come back.
        reply = await self._primary.ask(m.Lookup(raw, True, base, settled=True))
        if reply.attributes.leased:
            if earlier := list(self._asking):  # one of them may have asked for it
                await asyncio.wait(earlier)
            lease = Lease(reply.attributes.inode, reply.attributes.generation)
            if lease not in self.held:
                await self._primary.ask(m.ReleaseLease(*lease))

    def has(self, inode: int, generation: int) -> bool:
        """Whether a caller has this lease, as far as this client knows."""
        return Lease(inode, generation) in self.held

    def ended(self, inode: int, generation: int) -> None:
        """Note that the caller has given a lease back."""
        self.held.discard(Lease(inode, generation))

    async def give_back(
        self,
        inode: int,
        generation: int,
        deadline: float | None = None,
        withdrawn: tuple[BlockRef, ...] = (),
    ) -> None:
        """End a lease after a failure, whatever becomes of the caller, and what was stored."""
        self.ended(inode, generation)
        lease = Lease(inode, generation)
        await self._return(functools.partial(self._release, lease, withdrawn), deadline)

    async def _return(self, work: Callable[[], Coro[None]], deadline: float | None) -> None:
        """Return a lease, and wait a moment for that: after the failure the caller may open the
        file again."""
        task = self._aside.run(self._insist(work))
        if self.closing:  # the goodbye gives back all there is
            return
        left = seconds_left(deadline)
        patience = RETURN_SECONDS if left is None else min(RETURN_SECONDS, left)
        await asyncio.wait((task,), timeout=patience)

    async def _insist(self, work: Callable[[], Coro[None]]) -> None:
        try:
            await self._aside.insist(work)
        except MemfsError as error:  # the file is gone, or somebody else has it
            log.debug("no lease is given back: %s", error)

    async def _release(self, lease: Lease, withdrawn: tuple[BlockRef, ...]) -> None:
        await self._primary.ask(m.ReleaseLease(*lease, withdrawn))


def _leaves_nothing(request: m.Create | m.AcquireLease) -> bool:
    """Whether all is as it was once the lease is back."""
    return isinstance(request, m.AcquireLease) and not request.steal
