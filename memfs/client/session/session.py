"""One client's session with a cluster: its parts, put together, and its end.

The parts: connections (:mod:`~memfs.client.session.routing`), the search for newer views
(:mod:`~memfs.client.session.view_search`), requests to the primary
(:mod:`~memfs.client.session.primary_requests`) and to members
(:mod:`~memfs.client.session.member_requests`), signs of life
(:mod:`~memfs.client.session.held.keepalive`), leases, locks and open files. Must not know files.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from memfs.client.calls.deadline import Deadline
from memfs.client.calls.time_budget import TimeBudget
from memfs.client.session.attempts import Attempts
from memfs.client.session.background_work import BackgroundWork
from memfs.client.session.direct import BUDGET_SECONDS, DirectQuestions, NeedsLoopError
from memfs.client.session.held.capabilities import KnownCapabilities
from memfs.client.session.held.grants import Grants
from memfs.client.session.held.keepalive import Keepalive
from memfs.client.session.held.locks import SessionLocks
from memfs.client.session.held.opens import SessionOpens
from memfs.client.session.known_view import KnownView
from memfs.client.session.member_requests import MemberRequests
from memfs.client.session.primary_requests import PrimaryRequests
from memfs.client.session.routing import Routing
from memfs.client.session.silence import Silence
from memfs.client.session.suspects import Silent, Suspects
from memfs.client.session.view_search import ViewSearch
from memfs.config import ClientConfig
from memfs.errors import MemfsError
from memfs.protocol import messages as m
from memfs.transport.connection import Answer
from memfs.transport.environment import Environment
from memfs.types import Buffer, Identity, View

GOODBYE_SECONDS = 1.0


class Session:
    """Sends requests to the primary and to members; shared by every file of one client.

    Exists only once a view of the cluster is known: ``connect_session`` finds one and makes it. It
    belongs to the event loop that it is made in.
    """

    def __init__(
        self,
        config: ClientConfig,
        environment: Environment,
        view: View,
        client: int,
        *,
        machine: str = "",
        holder: str = "",
        process: int = 0,
    ) -> None:
        """``client``: the client's id. ``machine`` identifies this host (empty: unknown).

        ``holder``: what others are told who find a file held by this client; ``process``: the
        process id that its file locks show.
        """
        clock, dice = environment.clock, environment.random
        self.config = config
        self.environment = environment
        self.client = client
        self.holder = holder
        self.process = process
        self.identity = Identity(config.user, config.groups, config.group_rule == "parent")
        self.commits = 0
        """Grows with every publication by this client: an open reader then looks again."""
        self._budget = budget = TimeBudget(clock.monotonic, config.timeout_seconds)
        self._defaults: m.FileSystemReply | None = None
        self._loop = asyncio.get_running_loop()

        self.silence = Silence(clock.monotonic)
        self.silent = Silent(clock.monotonic)
        """Nodes that did not answer writes lately."""
        known = KnownView(view, machine)
        sockets_of = machine if config.local_descriptors else ""
        self.routing = routing = Routing(environment, known, client, self.identity, sockets_of)
        self.views = ViewSearch(
            environment, config.endpoints, routing, self.silence, budget.deadline
        )
        self.background = BackgroundWork()
        self.primary = primary = PrimaryRequests(
            client, routing, self.views, self.silence, self.background, budget, dice
        )
        self.keepalive = Keepalive(primary, clock)
        self.grants = Grants(primary, self.background, holder)
        self.locks = SessionLocks(primary, self.background, self.keepalive)
        self.opens = SessionOpens(primary, self.background, self.keepalive)
        routing.followers.append(self.opens.view_changed)
        self.capabilities = KnownCapabilities(primary, self.opens)
        primary.followers.append(self.capabilities.note)
        self.members = MemberRequests(routing, self.capabilities, self.silence, budget, primary.ids)

    @property
    def known(self) -> KnownView:
        """The newest view known and what follows from it."""
        return self.routing.known

    # --- time -------------------------------------------------------------------------------

    def deadline(self, timeout: float | None = None) -> Deadline:
        """When a call that begins now ends; see :meth:`TimeBudget.deadline`."""
        return self._budget.deadline(timeout)

    def budget(self, timeout: float | None) -> Deadline | None:
        """As :meth:`deadline` for calls that may move any amount of data: None stays None.

        Each block then has the configured budget.
        """
        return None if timeout is None else self._budget.deadline(timeout)

    def remaining(self, deadline: float) -> float:
        """Seconds left, never negative."""
        return self._budget.remaining(deadline)

    def attempts(self, deadline: float) -> Attempts:
        """Attempts at something until ``deadline``; none has been made yet."""
        return self.primary.attempts(deadline)

    # --- requests ---------------------------------------------------------------------------

    def allow_direct(self) -> None:
        """There are blocking callers, in other threads than the loop's."""
        config, environment = self.config, self.environment
        if config.timeout_seconds >= BUDGET_SECONDS:
            self.primary.direct = DirectQuestions(
                self.routing,
                self._answered_directly,
                sockets=config.local_descriptors,
                clear=environment.tls is None,
            )

    def _answered_directly(self, epoch: int) -> None:
        """In any thread."""
        self.silence.broken()
        if epoch > self.known.epoch:
            self._loop.call_soon_threadsafe(self.views.notice, epoch)

    def need_loop(self) -> None:
        """What follows waits for more than the primary's answer to one question."""
        direct = self.primary.direct
        if direct is not None and direct.asking:
            raise NeedsLoopError

    async def ask(
        self, request: m.Request[m.R], path: str | None = None, deadline: float | None = None
    ) -> m.R:
        """The record of the primary's reply; see :meth:`PrimaryRequests.ask`."""
        return await self.primary.ask(request, path, deadline)

    async def ask_member(
        self,
        number: int,
        request: m.Request[m.R],
        payload: Sequence[Buffer] = (),
        *,
        deadline: float,
        into: memoryview | Sequence[memoryview] | None = None,
    ) -> Answer[m.R]:
        """The answer of a member, asked once; see :meth:`MemberRequests.call`."""
        self.need_loop()
        return await self.members.call(number, request, payload, deadline=deadline, into=into)

    def suspects(self) -> Suspects:
        """For one write: it begins with what earlier ones found out."""
        return Suspects(self.environment.random, self.silent)

    async def defaults(self, deadline: float) -> m.FileSystemReply:
        """Replication, block size and group of a new file that does not say; they never change."""
        if self._defaults is None:
            self._defaults = await self.ask(m.StatFileSystem(), None, deadline)
        return self._defaults

    # --- the end ----------------------------------------------------------------------------

    def begin_closing(self) -> None:
        """From now on all calls share one budget; see :meth:`TimeBudget.begin_closing`."""
        self._budget.begin_closing()
        self.grants.closing = True

    async def close(self, *, goodbye: bool = True) -> None:
        """Say goodbye (leases are released at once) and close every connection.

        A caller that is cancelled meanwhile leaves nothing open either. Without ``goodbye`` another
        process may go on as this client.
        """
        if self.routing.closed:
            return
        self._budget.end_closing()  # the goodbye has a time of its own
        if self.primary.direct is not None:
            self.primary.direct.close()
        try:
            if goodbye and self.routing.open_primary is not None:
                with contextlib.suppress(MemfsError):
                    await self.ask(m.Goodbye(), deadline=self.deadline(GOODBYE_SECONDS))
        finally:
            self.opens.stop()
            pinging = [task for task in (self.keepalive.task,) if task is not None]
            tasks = [*self.background.tasks, *pinging, *self.views.tasks]
            for task in tasks:
                task.cancel()
            await self.routing.close()
            await asyncio.gather(*tasks, return_exceptions=True)
