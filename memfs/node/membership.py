"""Which members there are: this node's knowledge of the view, and its changes by the primary.

Owns the newest view (EpochMonotone), the coordinator, and the signs of life. Knows nothing of
what the namespace does with a view; it calls back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from memfs import errors
from memfs.cluster import view as rules
from memfs.cluster.coordinator import Coordinator
from memfs.logs import fields
from memfs.protocol import messages as m
from memfs.transport.environment import Environment
from memfs.transport.pool import Pool
from memfs.types import Member, NodeUsage, View

log = logging.getLogger(__name__)


class Life(NamedTuple):
    """The last sign of life of a member."""

    usage: NodeUsage
    at: float
    """Monotonic seconds."""


class Membership:
    """The view as this node knows it, and how it came to be one of its members."""

    def __init__(
        self,
        environment: Environment,
        coordinator: Coordinator,
        pool: Pool,
        *,
        heartbeat_seconds: float,
        member_timeout_seconds: float,
        usage: Callable[[], NodeUsage],
    ) -> None:
        """``usage`` tells what this node's heartbeat says."""
        self.environment = environment
        self.view: View | None = None
        self.member = Member(0, "", 0, "", 0)
        self.lives: dict[int, Life] = {}
        self._coordinator = coordinator
        self._pool = pool
        self._heartbeat_seconds = heartbeat_seconds
        self._member_timeout = member_timeout_seconds
        self._usage = usage
        self._revision = 0
        self._changing = asyncio.Lock()

    # --- what others ask --------------------------------------------------------------------

    @property
    def number(self) -> int:
        """This node's member number, 0 before it joined."""
        return self.member.number

    @property
    def epoch(self) -> int:
        """The newest epoch known, 0 before any."""
        return self.view.epoch if self.view else 0

    @property
    def is_primary(self) -> bool:
        """Does the view name this incarnation as the primary?"""
        return self.view is not None and 0 < self.number == self.view.primary

    def primary(self) -> Member:
        """The primary's record. Raises UnavailableError before a view is known."""
        found = self.view and rules.member(self.view, self.view.primary)
        if not found:
            raise errors.UnavailableError("this node has not joined a cluster yet")
        return found

    def find(self, number: int) -> Member:
        """A member by number. Raises UnavailableError for one that left."""
        found = self.view and rules.member(self.view, number)
        if not found:
            raise errors.UnavailableError(f"member {number} is not part of the cluster (any more)")
        return found

    def adopt(self, view: View) -> bool:
        """Take over a newer view; an older or equal one is ignored. True if it was newer."""
        if view.epoch <= self.epoch:
            return False
        self.view = view
        me = rules.incarnation_of(view, self.member.name, self.member.incarnation)
        self.member = me or self.member._replace(number=0)
        self.lives = {n: life for n, life in self.lives.items() if rules.member(view, n)}
        log.info(
            "view",
            extra=fields(epoch=view.epoch, primary=view.primary, in_sync=list(view.in_sync)),
        )
        return True

    # --- becoming a member ------------------------------------------------------------------

    async def enter(self, member: Member, deadline: float) -> bool:
        """Form a cluster or join the one there is; True if this node formed it.

        ``deadline`` is monotonic. Raises UnavailableError when the primary stays out of reach.
        """
        self.member = member
        while True:
            try:
                return await self._enter_once(member)
            except errors.RetryableError as error:
                if self.environment.clock.monotonic() >= deadline:
                    raise
                log.info("waiting for the cluster", extra=fields(reason=error))
                await asyncio.sleep(self._heartbeat_seconds / 4)

    async def _enter_once(self, member: Member) -> bool:
        stored = await self._coordinator.read_view()
        if stored.view is None:
            cluster = f"{self.environment.random.getrandbits(64):016x}"
            return await self._found(stored.revision, rules.form(cluster, member))
        if all(known.name == member.name for known in stored.view.members):
            log.warning(
                "the only member restarted: its former contents are gone, the cluster begins anew"
            )
            return await self._found(stored.revision, rules.reform(stored.view, member))
        primary = rules.member(stored.view, stored.view.primary)
        assert primary is not None
        if primary.name == member.name:
            raise errors.DataLossError(
                "this node was the primary and restarted empty; the namespace may live on in "
                f"members {[n for n in stored.view.in_sync if n != primary.number]}: start it "
                "under another name and data directory, or form a new cluster with a fresh one"
            )
        reply = await self._ask(primary, m.Join(member))
        self.adopt(reply.view)
        return False

    async def _found(self, revision: int, view: View) -> bool:
        stored = await self._coordinator.swap_view(revision, view)
        if stored is None:
            raise errors.UnavailableError("another node formed the cluster first")
        self._revision = stored.revision
        self.adopt(view)
        return True

    async def _ask(self, member: Member, request: object) -> m.ViewReply:
        connection = await self._pool.control(member)
        answer = await connection.call(
            request,
            request_id=self._pool.next_request_id(),
            timeout=self._member_timeout,
            epoch=self.epoch,
        )
        reply: m.ViewReply = answer.record
        return reply

    async def leave(self) -> None:
        """Tell the primary that this member stops; best effort."""
        if self.view is None or self.is_primary or not self.number:
            return
        try:
            connection = await self._pool.control(self.primary())
            await connection.call(
                m.Leave(self.number),
                request_id=self._pool.next_request_id(),
                timeout=self._member_timeout,
                epoch=self.epoch,
            )
        except errors.MemfsError as error:
            log.info("left without a word from the primary", extra=fields(reason=error))

    # --- signs of life ----------------------------------------------------------------------

    async def run_heartbeats(self) -> None:
        """Tell primary and coordinator, forever, that this node lives."""
        while True:
            try:
                await self._coordinator.register(self.member, 3 * self._member_timeout)
                if not self.is_primary:
                    reply = await self._ask(self.primary(), m.Heartbeat(self._usage()))
                    self.adopt(reply.view)
            except errors.MemfsError as error:
                log.warning("heartbeat failed", extra=fields(reason=error))
            await asyncio.sleep(self._heartbeat_seconds)

    def heard(self, usage: NodeUsage) -> None:
        """Note a member's heartbeat."""
        self.lives[usage.member] = Life(usage, self.environment.clock.monotonic())

    def life(self, number: int) -> Life:
        """The last sign of life of a member; this node's own is always now."""
        if number == self.number:
            return Life(self._usage(), self.environment.clock.monotonic())
        return self.lives.get(number) or Life(NodeUsage(number, 0, 0, 0), float("-inf"))

    def is_alive(self, number: int) -> bool:
        """Was the member heard of within the timeout?"""
        return self.environment.clock.monotonic() - self.life(number).at < self._member_timeout

    # --- changes, by the primary only -------------------------------------------------------

    async def change(self, step: Callable[[View], View]) -> View:
        """Publish ``step(view)`` by compare-and-swap and adopt it.

        Raises UnavailableError or OutcomeUnknownError of the coordinator: the view is then
        unchanged as far as this node knows, and nothing may rely on the new one. Raises
        NotPrimaryError when another node changed it: this one is no longer the primary.
        """
        async with self._changing:
            assert self.view is not None and self.is_primary, "only the primary changes the view"
            proposed = step(self.view)
            if proposed.epoch == self.view.epoch:
                return self.view
            stored = await self._coordinator.swap_view(self._revision, proposed)
            if stored is None:
                raise errors.NotPrimaryError("the view was changed by another node")
            self._revision = stored.revision
            self.adopt(proposed)
            return proposed
