"""When a client looks for a newer view, and whom it asks.

Owns the searches of one session: one at a time, shared by all who want one. Must not know
requests; how nodes are asked is :mod:`memfs.client.session.discovery`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from memfs.client.calls.deadline import Deadline, seconds_left
from memfs.client.session.background_work import consume
from memfs.client.session.discovery import find_view
from memfs.client.session.routing import Routing
from memfs.client.session.silence import Silence
from memfs.errors import RetryableError, UnavailableError
from memfs.paths import Endpoint
from memfs.protocol import messages as m
from memfs.transport.environment import Environment
from memfs.transport.pool import is_being_cancelled

SILENCE_SECONDS: Final = 0.3
"""When the primary answers nothing at all for so long, others are asked who the primary is."""
WATCH_SECONDS: Final = 10.0
"""Longest search while requests wait."""


class ViewSearch:
    """Searches for the newest view."""

    def __init__(
        self,
        environment: Environment,
        endpoints: Sequence[Endpoint],
        routing: Routing,
        silence: Silence,
        deadline: Callable[[float | None], Deadline],
    ) -> None:
        """``endpoints`` are asked beside the members; ``deadline`` begins a budget."""
        self._environment = environment
        self._endpoints = endpoints
        self._routing = routing
        self._silence = silence
        self._deadline = deadline
        self._searching: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._unanswered = 0
        self._answers = 0

    async def refresh(self, deadline: float) -> None:
        """Look for a newer view; concurrent calls share one search. Raises UnavailableError."""
        if self._routing.closed:
            raise _closed_error()
        try:
            await asyncio.shield(self._begin(deadline))
        except asyncio.CancelledError:
            if not self._routing.closed or is_being_cancelled():
                raise
            raise _closed_error() from None

    async def try_refresh(self, deadline: float) -> None:
        """As :meth:`refresh`; when nobody answers, the view stays as it is."""
        with contextlib.suppress(RetryableError, TimeoutError):
            async with asyncio.timeout(seconds_left(deadline)):
                await self.refresh(deadline)

    def notice(self, epoch: int) -> None:
        """Note the epoch of a reply; a newer view is fetched in the background."""
        if epoch > self._routing.known.epoch and not self._routing.closed:
            self._begin(self._deadline(None))

    def _begin(self, deadline: float) -> asyncio.Task[None]:
        if self._searching is None or self._searching.done():
            self._searching = asyncio.create_task(self._search(deadline))
            self._searching.add_done_callback(consume)  # who waits for it may be cancelled
        return self._searching

    async def _search(self, deadline: float) -> None:
        routing, endpoints = self._routing, self._known_endpoints()
        hello = routing.hello(m.Lane.CONTROL.value)
        view = routing.known.view
        found = await find_view(self._environment, endpoints, hello, view, deadline)
        if found.view is not None:
            routing.adopt(found.view)
        if said := self._silence.searched(found.tried, len(set(self._known_endpoints()))):
            raise UnavailableError(said)

    def _known_endpoints(self) -> list[Endpoint]:
        """Members other than the primary in random order, the configured ones, the primary."""
        known = self._routing.known
        members = list(known.members.values())
        self._environment.random.shuffle(members)
        members.sort(key=lambda member: member.number == known.primary_number)
        ends = [Endpoint(member.host, member.port) for member in members]
        return [*ends[:-1], *self._endpoints, *ends[-1:]]

    # --- a primary that is silent ------------------------------------------------------------

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """For the time a request waits: look for another primary when none answers."""
        self._unanswered += 1
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            self._unanswered -= 1

    def answered(self) -> None:
        """The primary has answered something."""
        self._answers += 1

    async def _watch(self) -> None:
        while self._unanswered:
            answers = self._answers
            await asyncio.sleep(SILENCE_SECONDS)
            if self._unanswered and self._answers == answers:
                await self.try_refresh(self._deadline(WATCH_SECONDS))

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Background tasks, to be ended with the session."""
        return [task for task in (self._searching, self._watching) if task is not None]


def _closed_error() -> UnavailableError:
    return UnavailableError("the file system is closed")
