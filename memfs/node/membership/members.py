"""Which members there are: this node's knowledge of the view, and the signs of life.

Owns the newest view (EpochMonotone) and the last heartbeat of each member. A member is silent when
its last heartbeat is older than the member timeout, or as soon as its connection broke and a ping
fails. Knows
nothing of what the namespace does with a view: its ``followers`` are called with each newer one,
at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Literal, NamedTuple

from memfs import errors
from memfs.cluster import view as rules
from memfs.cluster.coordinator import Coordinator
from memfs.logs import Seldom, fields
from memfs.node.membership.departures import Departures
from memfs.node.membership.publisher import Publisher
from memfs.node.tasks import Tasks
from memfs.protocol import messages as m
from memfs.transport.connection import Answer
from memfs.transport.environment import Environment
from memfs.transport.pool import Pool
from memfs.types import Member, NodeUsage, View

log = logging.getLogger(__name__)

CONFIRM_SECONDS = 0.2
"""How long the coordinator is waited for before another node is believed: well within the time that
a new primary gives its backups to follow."""
WATCH_SECONDS = 30.0
"""Longest wait for one hint that the view changed."""
REACHABLE_HEARTBEATS = 3
"""A coordinator that answered nothing for so long is out of reach, whatever it will say."""


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
        member: Member,
        *,
        heartbeat_seconds: float,
        member_timeout_seconds: float,
        usage: Callable[[], NodeUsage],
    ) -> None:
        """``member``: this node's name and incarnation; ``usage`` tells what its heartbeat says."""
        self.environment = environment
        self.latest: View | None = None
        """The newest view; None before one is known, see :attr:`view`."""
        self.member = member
        """This node as the newest view has it; number 0 while it is no member."""
        self.taken_out: View | None = None
        """The last view in which this process was a member, after it was taken for dead."""
        self.lives: dict[int, Life] = {}
        now = environment.clock.monotonic
        self.publisher = Publisher(coordinator, tasks, self.adopt, lambda: self.latest, now)
        self.in_sync_changes = 0
        """Changes of the in-sync set that this node learned of."""
        self.departures = Departures(environment.clock.monotonic)
        self.followers: list[Callable[[View], None]] = []
        """Called with each newer view, at once."""
        self.heartbeat_seconds = heartbeat_seconds
        self._coordinator = coordinator
        self._pool = pool
        self._tasks = tasks
        self._member_timeout = member_timeout_seconds
        self._usage = usage
        self._news = Seldom(environment.clock.monotonic)
        self._primary_replaced = asyncio.Event()
        self._primary_answered = float("-inf")
        self._coordinator_answered = environment.clock.monotonic()
        self._coordinator_failed = False
        self._broken: set[int] = set()
        """Members whose connection broke and that no ping reached since."""

    # --- what others ask --------------------------------------------------------------------

    @property
    def number(self) -> int:
        """This node's member number, 0 while it is no member."""
        return self.member.number

    @property
    def view(self) -> View:
        """The newest view. Raises UnavailableError before one is known."""
        if self.latest is None:
            raise errors.UnavailableError("this node has not joined a cluster yet")
        return self.latest

    @property
    def epoch(self) -> int:
        """The newest epoch known, 0 before any."""
        return self.latest.epoch if self.latest else 0

    @property
    def is_primary(self) -> bool:
        """Does the view name this incarnation as the primary?"""
        return self.latest is not None and 0 < self.number == self.latest.primary

    @property
    def is_in_sync(self) -> bool:
        """Does the view count this incarnation as in sync?"""
        return self.latest is not None and self.number in self.latest.in_sync

    @property
    def is_journaled(self) -> bool:
        """Does the cluster acknowledge what is on disk (``ack = journal``)?"""
        return self.latest is not None and self.latest.journaled

    def primary(self) -> Member:
        """The primary's record. Raises UnavailableError before a view is known."""
        found = rules.member(self.view, self.view.primary)
        assert found is not None, "a view names its primary"
        return found

    def find(self, number: int) -> Member:
        """A member by number. Raises UnavailableError for one that left."""
        found = self.latest and rules.member(self.latest, number)
        if not found:
            raise errors.UnavailableError(f"member {number} is not part of the cluster (any more)")
        return found

    def adopt(self, view: View) -> bool:
        """Take over a newer view; an older or equal one is ignored. True if it was newer."""
        if view.epoch <= self.epoch:
            return False
        former, self.latest = self.latest, view
        if former is not None:
            if view.primary != former.primary:
                self._primary_replaced.set()
            self.in_sync_changes += set(view.in_sync) != set(former.in_sync)
            self.departures.view_changed(former, view)
        me = rules.incarnation_of(view, self.member.name, self.member.incarnation)
        if me is None and self.number:
            self.taken_out = former
        self.member = me or self.member._replace(number=0)
        self.lives = {n: life for n, life in self.lives.items() if rules.member(view, n)}
        self._broken.intersection_update(self.lives)
        log.info(
            "view",
            extra=fields(epoch=view.epoch, primary=view.primary, in_sync=list(view.in_sync)),
        )
        self._pool.retain(view.members)
        for follow in self.followers:
            follow(view)
        return True

    async def learn_view(self, view: View) -> None:
        """Take over a newer view that another node told, once it is known to be published.

        The coordinator knows. While it is out of reach the other node is believed where that costs
        nothing; a view by which this node would drop what it holds waits for the coordinator.
        Raises ProtocolError for what is no view of this cluster, UnavailableError.
        """
        rules.received(view, self.latest)
        if view.epoch <= self.epoch:
            return
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                published = (await self.publisher.read()).view
        except (errors.MemfsError, TimeoutError):
            self._believe(view)
            return
        if published is None or view.epoch > published.epoch:
            raise errors.ProtocolError(f"epoch {view.epoch} was never published: it is ignored")

    def _believe(self, view: View) -> None:
        """Take over what another node told, unless it would cost this node what it holds."""
        known = rules.received(view, self.latest).members
        me = (self.member.name, self.member.incarnation)
        stays = any((member.name, member.incarnation) == me for member in known)
        deposed = self.is_primary and view.primary != self.number
        if self.number and (not stays or (deposed and self.number not in view.in_sync)):
            raise errors.UnavailableError(
                f"epoch {view.epoch} leaves this node out: the coordinator has to confirm that"
            )
        self.adopt(view)

    async def ask(
        self, to: Member | int, request: m.Request[m.R], seconds: float | None = None
    ) -> m.R:
        """One request to a member, this node included; the reply's record. See :meth:`call`."""
        return (await self.call(to, request, seconds)).record

    async def call(
        self,
        to: Member | int,
        request: m.Request[m.R],
        seconds: float | None = None,
        *,
        bulk: bool = False,
    ) -> Answer[m.R]:
        """One request to a member, this node included; ``bulk``: over its connection for payloads.

        It takes at most ``seconds``, None: the member timeout. Raises what the member answers,
        UnavailableError (also for a number that left), DeadlineError.
        """
        member = self.find(to) if isinstance(to, int) else to
        reach = self._pool.bulk if bulk else self._pool.control
        connection = await reach(member)
        return await connection.call(
            request,
            request_id=self._pool.next_request_id(),
            timeout=self._member_timeout if seconds is None else seconds,
            epoch=self.epoch,
        )

    async def ask_primary(self, request: m.Request[m.R]) -> m.R:
        """As :meth:`ask`, whoever is the primary; it may be this node."""
        return await self.ask(self.primary(), request)

    # --- news -------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Look for a newer view: at the coordinator or, when it is out of reach, at the members."""
        try:
            await self.publisher.read()
            return
        except errors.MemfsError as error:
            if self._news.is_news("no view"):
                log.info("the coordinator does not tell the view", extra=fields(reason=error))
        for member in self.latest.members if self.latest else ():
            if member.number != self.number:
                try:
                    self._believe((await self.ask(member, m.GetView())).view)
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
        """Send every member the newest view; who misses it learns it by the next heartbeat."""
        for member in self.view.members:
            if member.number != self.number:
                self._tasks.spawn(self._tell(member, self.view), f"view to {member.name}")

    async def _tell(self, member: Member, view: View) -> None:
        try:
            await self.ask(member, m.NewView(view))
        except errors.MemfsError as error:
            log.info("view not delivered", extra=fields(member=member.number, reason=error))

    # --- signs of life ----------------------------------------------------------------------

    async def run_coordinator_check(self) -> None:
        """See, forever, whether the coordinator answers."""
        while True:
            try:
                await self._coordinator.read_view()
                self._note_coordinator(None)
            except errors.MemfsError as error:
                self._note_coordinator(error)
            await asyncio.sleep(self.heartbeat_seconds)

    def _note_coordinator(self, error: errors.MemfsError | None) -> None:
        if error is None:
            self._coordinator_answered = self.environment.clock.monotonic()
        if self._coordinator_failed != (error is not None):
            self._coordinator_failed = error is not None
            if error is None:
                log.info("the coordinator is back")
            else:
                log.warning(
                    "the coordinator is out of reach: the cluster serves on while nobody fails",
                    extra=fields(reason=error),
                )

    @property
    def coordinator_reachable(self) -> bool:
        """Did it answer the last question, and that lately?"""
        silent = self.environment.clock.monotonic() - self._coordinator_answered
        return not self._coordinator_failed and silent < REACHABLE_HEARTBEATS * (
            self.heartbeat_seconds
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

    async def _beat(self, replaced: asyncio.Future[Literal[True]]) -> None:
        """One heartbeat, given up when another node has become the primary meanwhile."""
        primary = self.primary()
        beat = asyncio.ensure_future(self.ask(primary, m.Heartbeat(self._usage())))
        try:
            await asyncio.wait((beat, replaced), return_when=asyncio.FIRST_COMPLETED)
            if beat.done():
                await self.learn_view(beat.result().view)
                self._primary_answered = self.environment.clock.monotonic()
        except errors.MemfsError as error:
            if self._news.is_news(f"no heartbeat to {primary.number}"):
                log.warning("heartbeat failed", extra=fields(reason=error))
            await self.refresh()
        finally:
            beat.cancel()

    def note_heartbeat(self, usage: NodeUsage) -> None:
        """Note a member's heartbeat."""
        self.lives[usage.member] = Life(usage, self.environment.clock.monotonic())
        self._broken.discard(usage.member)

    @property
    def primary_silent_seconds(self) -> float:
        """Since the primary answered a heartbeat."""
        return self.environment.clock.monotonic() - self._primary_answered

    def suspect(self, number: int) -> None:
        """The connection of a member broke: the primary sees at once whether it still lives."""
        if self.is_primary and number in self.lives and number != self.number:
            self._tasks.spawn(self._look_for(number, self.lives[number].at), f"ping {number}")

    async def _look_for(self, number: int, last_heartbeat: float) -> None:
        try:
            await self.ask(self.find(number), m.Ping())
        except errors.MemfsError as error:
            if number in self.lives and self.lives[number].at == last_heartbeat:
                self._broken.add(number)
                log.warning("a member is out of reach", extra=fields(member=number, reason=error))

    def expect_all(self, silent: int = 0) -> None:
        """Count every member as just heard from: a new primary has had no heartbeats yet.

        Except the ``silent`` predecessor that it took over from, which counts as dead until its
        next heartbeat.
        """
        now = self.environment.clock.monotonic()
        self._broken.clear()
        for member in self.latest.members if self.latest else ():
            usage = self.life(member.number).usage
            self.lives[member.number] = Life(usage, now)
        if silent in self.lives:
            self._broken.add(silent)

    def life(self, number: int) -> Life:
        """The last sign of life of a member; this node's own is always now."""
        if number == self.number:
            return Life(self._usage(), self.environment.clock.monotonic())
        return self.lives.get(number) or Life(NodeUsage(number, 0, 0, 0), float("-inf"))

    def is_out_of_reach(self, number: int) -> bool:
        """Has a ping to it failed, or was it the predecessor, without a sign of life since?

        A silent member may be well: a node that receives nothing hears from nobody.
        """
        return number in self._broken

    def has_ended(self, number: int) -> bool:
        """Is its process gone for certain: does its host refuse connections to it?"""
        member = self.latest and rules.member(self.latest, number)
        return member is not None and self._pool.has_ended(member)

    def is_alive(self, number: int) -> bool:
        """Is its last heartbeat newer than the timeout, and no ping to it has failed since?"""
        if number == self.number:
            return True
        if number in self._broken:
            return False
        return self.environment.clock.monotonic() - self.life(number).at < self._member_timeout
