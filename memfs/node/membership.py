"""Which members there are: this node's knowledge of the view, and the signs of life.

Owns the newest view (EpochMonotone) and who was heard of when. Knows nothing of what the namespace
does with a view: it calls ``on_view`` with each newer one, at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from memfs import errors
from memfs.cluster import view as rules
from memfs.cluster.coordinator import Coordinator
from memfs.logs import Seldom, fields
from memfs.node.publisher import Publisher
from memfs.node.tasks import Tasks
from memfs.protocol import messages as m
from memfs.transport.environment import Environment
from memfs.transport.pool import Pool
from memfs.types import Member, NodeUsage, View

log = logging.getLogger(__name__)

WATCH_SECONDS = 30.0
"""Longest wait for one hint that the view changed."""


class Life(NamedTuple):
    """The last sign of life of a member."""

    usage: NodeUsage
    at: float
    """Monotonic seconds."""


class Membership:
    """The view as this node knows it, and how it is kept up to date."""

    def __init__(
        self,
        environment: Environment,
        coordinator: Coordinator,
        pool: Pool,
        tasks: Tasks,
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
        self.publisher = Publisher(coordinator, tasks, self.adopt, lambda: self.epoch)
        self.in_sync_changes = 0
        """Changes of the in-sync set that this node learned of."""
        self.coordinator_reachable = True
        """Did it answer the last sign of life?"""
        self.on_view: Callable[[View], None] = lambda view: None
        self.heartbeat_seconds = heartbeat_seconds
        self._coordinator = coordinator
        self._pool = pool
        self._tasks = tasks
        self._member_timeout = member_timeout_seconds
        self._usage = usage
        self._news = Seldom(environment.clock.monotonic)
        self._primary_replaced = asyncio.Event()

    # --- what others ask --------------------------------------------------------------------

    @property
    def number(self) -> int:
        """This node's member number, 0 while it is no member."""
        return self.member.number

    @property
    def epoch(self) -> int:
        """The newest epoch known, 0 before any."""
        return self.view.epoch if self.view else 0

    @property
    def is_primary(self) -> bool:
        """Does the view name this incarnation as the primary?"""
        return self.view is not None and 0 < self.number == self.view.primary

    @property
    def is_in_sync(self) -> bool:
        """Does the view count this incarnation as in sync?"""
        return self.view is not None and self.number in self.view.in_sync

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
        if self.view is not None and view.primary != self.view.primary:
            self._primary_replaced.set()
        self.in_sync_changes += self.view is not None and set(view.in_sync) != set(
            self.view.in_sync
        )
        self.view = view
        me = rules.incarnation_of(view, self.member.name, self.member.incarnation)
        self.member = me or self.member._replace(number=0)
        self.lives = {n: life for n, life in self.lives.items() if rules.member(view, n)}
        log.info(
            "view",
            extra=fields(epoch=view.epoch, primary=view.primary, in_sync=list(view.in_sync)),
        )
        self.on_view(view)
        return True

    async def ask(self, member: Member, request: Any) -> Any:
        """One request to another member, within the member timeout. Raises what it answers."""
        connection = await self._pool.control(member)
        answer = await connection.call(
            request,
            request_id=self._pool.next_request_id(),
            timeout=self._member_timeout,
            epoch=self.epoch,
        )
        return answer.record

    # --- news -------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Look for a newer view: at the coordinator or, when it is out of reach, at the members."""
        try:
            await self.publisher.read()
            return
        except errors.MemfsError as error:
            if self._news.is_news("no view"):
                log.info("the coordinator does not tell the view", extra=fields(reason=error))
        for member in self.view.members if self.view else ():
            if member.number != self.number:
                try:
                    self.adopt((await self.ask(member, m.GetView())).view)
                except errors.MemfsError as error:
                    log.debug("member %s does not tell the view: %s", member.name, error)

    async def run_watch(self) -> None:
        """Learn of new views from the coordinator, forever. A hint: heartbeats tell them too."""
        while True:
            try:
                stored = await self.publisher.read()
                await self._coordinator.wait_for_change(stored.revision, WATCH_SECONDS)
            except errors.MemfsError as error:
                log.debug("watching the view: %s", error)
                await asyncio.sleep(self.heartbeat_seconds)

    def announce(self) -> None:
        """Tell every member the newest view; who misses it learns from its next heartbeat."""
        assert self.view is not None, "there is nothing to announce"
        for member in self.view.members:
            if member.number != self.number:
                self._tasks.spawn(self._tell(member, self.view), f"view to {member.name}")

    async def _tell(self, member: Member, view: View) -> None:
        try:
            await self.ask(member, m.NewView(view))
        except errors.MemfsError as error:
            log.info("view not delivered", extra=fields(member=member.number, reason=error))

    # --- signs of life ----------------------------------------------------------------------

    async def run_registration(self) -> None:
        """Tell the coordinator, forever, that this node lives."""
        while True:
            try:
                await self._coordinator.register(self.member, 3 * self._member_timeout)
                self._note_coordinator(None)
            except errors.MemfsError as error:
                self._note_coordinator(error)
            await asyncio.sleep(self.heartbeat_seconds)

    def _note_coordinator(self, error: errors.MemfsError | None) -> None:
        reachable = error is None
        if reachable != self.coordinator_reachable:
            self.coordinator_reachable = reachable
            if reachable:
                log.info("the coordinator is back")
            else:
                log.warning(
                    "the coordinator is out of reach: the cluster serves on while nobody fails",
                    extra=fields(reason=error),
                )

    async def run_heartbeats(self) -> None:
        """Tell the primary, forever, that this node lives; look for another when it is silent."""
        while True:
            replaced = self._primary_replaced = asyncio.Event()
            waiting = asyncio.ensure_future(replaced.wait())
            try:
                if self.number and not self.is_primary:
                    await self._beat(waiting)
                await asyncio.wait((waiting,), timeout=self.heartbeat_seconds)
            finally:
                waiting.cancel()

    async def _beat(self, replaced: asyncio.Future[Any]) -> None:
        """One heartbeat, given up when another node has become the primary meanwhile."""
        primary = self.primary()
        beat = asyncio.ensure_future(self.ask(primary, m.Heartbeat(self._usage())))
        try:
            await asyncio.wait((beat, replaced), return_when=asyncio.FIRST_COMPLETED)
            if beat.done():
                self.adopt(beat.result().view)
        except errors.MemfsError as error:
            if self._news.is_news(f"no heartbeat to {primary.number}"):
                log.warning("heartbeat failed", extra=fields(reason=error))
            await self.refresh()
        finally:
            beat.cancel()

    def heard(self, usage: NodeUsage) -> None:
        """Note a member's heartbeat."""
        self.lives[usage.member] = Life(usage, self.environment.clock.monotonic())

    def expect_all(self) -> None:
        """Give every member the time of a heartbeat: a new primary has heard of nobody yet."""
        now = self.environment.clock.monotonic()
        for member in self.view.members if self.view else ():
            usage = self.life(member.number).usage
            self.lives[member.number] = Life(usage, now)

    def life(self, number: int) -> Life:
        """The last sign of life of a member; this node's own is always now."""
        if number == self.number:
            return Life(self._usage(), self.environment.clock.monotonic())
        return self.lives.get(number) or Life(NodeUsage(number, 0, 0, 0), float("-inf"))

    def is_alive(self, number: int) -> bool:
        """Was the member heard of within the timeout?"""
        return self.environment.clock.monotonic() - self.life(number).at < self._member_timeout
