"""One client's standing with the cluster: its id, the view it knows, its way to the primary.

Owns routing, retries and the time budget of a request. Must not know files. Invariants: only what
was certainly not carried out is sent again under a new id; a command whose answer was lost is sent
again under the *same* id, which the primary's memory of results makes safe (ExactlyOnce), and
surfaces as OutcomeUnknownError only when the budget ends (UnknownIsNotFailure).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, NoReturn, TypeVar

from memfs import limits
from memfs.client.commands import RequestIds
from memfs.client.discovery import find_view, nobody
from memfs.client.suspects import Suspects
from memfs.cluster.ring import Ring
from memfs.config import ClientConfig
from memfs.errors import (
    BusyError,
    InvalidArgumentError,
    MemfsError,
    NoSpaceError,
    OutcomeUnknownError,
    RetryableError,
    UnavailableError,
)
from memfs.paths import Endpoint
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.transport.connection import Answer, Connection
from memfs.transport.environment import Environment
from memfs.transport.pool import Pool
from memfs.types import Buffer, Identity, Member, View

log = logging.getLogger(__name__)
T = TypeVar("T")

ATTEMPT_SECONDS = 10.0
"""Longest wait for one answer of the primary: a paused one must not eat the whole budget."""
SILENCE_SECONDS = 0.3
"""When the primary answers nothing at all for so long, others are asked who the primary is."""
MEMBER_SECONDS = 2.0
"""The same for a block at any node, where another one can be asked instead; see the next."""
SLOW_BYTES_PER_SECOND = 1 * limits.MIB
"""A block that moves more slowly than this is better asked from, or sent to, another node."""
BACKOFF_SECONDS = 0.02
BACKOFF_SECONDS_MAX = 0.25  # a new primary is there within the lease time: be back soon after
PING_SECONDS = limits.KEEPALIVE_SECONDS / 3

_BULK = frozenset(spec.request for spec in m.BY_OPCODE.values() if spec.lane is m.Lane.BULK)
_COMMANDS = frozenset(spec.request for spec in m.BY_OPCODE.values() if spec.command)


class Session:
    """Sends requests to the primary and to members; shared by every file of one client.

    ``view`` is the newest view known; ``machine`` identifies this host (empty: unknown).
    """

    def __init__(self, config: ClientConfig, environment: Environment, machine: str = "") -> None:
        self.config = config
        self.environment = environment
        self.machine = machine
        self.client = environment.random.getrandbits(63)
        self.identity = Identity(config.user, config.groups)
        self.view: View | None = None
        self.epoch = 0
        self.members: dict[int, Member] = {}
        self.commits = 0
        """Grows with every publication by this client: an open reader then looks again."""
        self._ids = RequestIds()
        self._pool = Pool(environment, self._hello, machine if config.local_descriptors else "")
        self._primary: Connection | None = None
        self._bulk: dict[int, Connection] = {}
        self._ring: Ring | None = None
        self._defaults: m.FileSystemReply | None = None
        self._reaching = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None
        self._holds = 0
        self._heard_ns = 0
        self._pinging: asyncio.Task[None] | None = None
        self._closed = False
        self._unanswered = 0
        self._answers = 0
        self._watching: asyncio.Task[None] | None = None

    # --- time -------------------------------------------------------------------------------

    def deadline(self, timeout: float | None = None) -> float:
        """The loop time at which a call that begins now ends; None means the configured budget."""
        seconds = self.config.timeout_seconds if timeout is None else timeout
        return self.environment.clock.monotonic() + seconds

    def remaining(self, deadline: float) -> float:
        """Seconds left, never negative."""
        return max(0.0, deadline - self.environment.clock.monotonic())

    # --- requests ---------------------------------------------------------------------------

    async def ask(
        self, request: Any, path: str | None = None, deadline: float | None = None
    ) -> Any:
        """The primary's reply record to ``request``; retried within the budget.

        ``path`` becomes the ``filename`` of an error. Raises what the node answers, or
        UnavailableError, DeadlineError, OutcomeUnknownError.
        """
        answer = await self.ask_primary(request, path, deadline)
        return answer.record

    async def ask_primary(
        self,
        request: Any,
        path: str | None = None,
        deadline: float | None = None,
        into: memoryview | None = None,
    ) -> Answer:
        """As :meth:`ask`, with the reply's payload (received into ``into``)."""
        if deadline is None:
            deadline = self.deadline()
        command = type(request) in _COMMANDS
        number = await self._ids.begin() if command else self._ids.query()
        try:
            return await self._persist(request, number, deadline, into)
        except MemfsError as error:
            if path is not None:
                error.filename = path
            raise
        finally:
            if command:
                self._ids.end(number)

    async def _persist(
        self, request: Any, number: int, deadline: float, into: memoryview | None
    ) -> Answer:
        """Attempt after attempt under one request id until an answer, an error or the deadline."""
        unknown = False
        attempt = 0
        while True:
            asked = self._primary_number()
            try:
                return await self._attempt(request, number, deadline, into)
            except NoSpaceError as error:  # not from the log: an attempt may have got in
                _give_up(error, unknown)
            except (RetryableError, OutcomeUnknownError) as error:
                unknown = unknown or isinstance(error, OutcomeUnknownError)
                attempt += 1
                await self._before_retry(error, attempt, deadline, unknown)
                if asked == self._primary_number() and not isinstance(error, BusyError):
                    self._primary = None
                    await self.try_refresh_view(deadline)

    async def _attempt(
        self, request: Any, number: int, deadline: float, into: memoryview | None
    ) -> Answer:
        """Ask the primary of the newest view known, once."""
        connection = self._primary
        if connection is None or connection.closed:
            connection = await self._reach_primary(deadline)
        if type(request) in _BULK:
            connection = await self._reach_bulk(self._primary_number(), deadline)
        timeout = min(ATTEMPT_SECONDS, deadline - self.environment.clock.monotonic())
        self._unanswered += 1
        self._watch_primary()
        try:
            answer = await connection.call(
                request, request_id=number, timeout=timeout, epoch=self.epoch, into=into
            )
        finally:
            self._unanswered -= 1
        self._answers += 1
        if answer.epoch > self.epoch:
            self._notice()
        return answer

    async def _before_retry(
        self, error: MemfsError, attempt: int, deadline: float, unknown: bool
    ) -> None:
        """Pause; raises when the budget leaves no room for another attempt."""
        pause = self.backoff(attempt)
        if self.remaining(deadline) <= pause or self._closed:
            _give_up(error, unknown)
        log.debug("attempt %d failed, again in %.0f ms: %s", attempt, pause * 1000, error)
        await asyncio.sleep(pause)

    def backoff(self, attempt: int) -> float:
        """Seconds before attempt ``attempt`` + 1: exponential, with jitter."""
        ceiling = min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS * 2.0 ** min(attempt, 16))
        return ceiling * self.environment.random.uniform(0.5, 1.0)

    async def ask_member(
        self,
        number: int,
        request: Any,
        payload: Sequence[Buffer] = (),
        *,
        deadline: float,
        into: memoryview | Sequence[memoryview] | None = None,
    ) -> Answer:
        """One attempt at member ``number`` over its bulk connection; no retry.

        It may take less than what is left until ``deadline``, so that another one fits after it.
        Raises UnavailableError when the member has left or cannot be reached, DeadlineError.
        """
        size = sum(map(len, payload)) or (len(into) if isinstance(into, memoryview) else 0)
        patience = MEMBER_SECONDS + size / SLOW_BYTES_PER_SECOND
        deadline = min(deadline, self.deadline(patience))
        connection = await self._reach_bulk(number, deadline)
        if payload:
            await self._in_time(connection.drain(), self.member(number), deadline)
        return await connection.call(
            request,
            payload,
            request_id=self._ids.query(),
            timeout=self.remaining(deadline),
            epoch=self.epoch,
            into=into,
        )

    def member(self, number: int) -> Member:
        """The member with this number. Raises UnavailableError when the view lacks it."""
        member = self.members.get(number)
        if member is None:
            raise UnavailableError(f"member {number} is not in the cluster any more")
        return member

    def is_local(self, number: int) -> bool:
        """Whether member ``number`` runs on this host."""
        member = self.members.get(number)
        return member is not None and bool(self.machine) and member.machine == self.machine

    async def defaults(self, deadline: float) -> m.FileSystemReply:
        """Replication, block size and group of a new file that does not say; they never change."""
        if self._defaults is None:
            self._defaults = await self.ask(m.StatFileSystem(), None, deadline)
        return self._defaults

    # --- placement --------------------------------------------------------------------------

    def place(
        self, inode: int, group: int, copies: int, suspects: Suspects | None = None
    ) -> tuple[int, ...]:
        """Members for new copies of a group, one on this host first; suspects are avoided.

        Never fewer than ``copies`` unless the whole cluster is smaller (AckedR). Raises
        UnavailableError when no member takes anything new.
        """
        if self._ring is None:
            assert self.view is not None, "a session is opened before it is used"
            self._ring = Ring(self.view.members)
        takers = len(self._ring.takers)
        wanted = min(copies, takers)
        avoid = suspects.to_avoid(takers, wanted) if suspects else ()
        chosen = tuple(self._ring.place(inode, group, copies, frozenset(avoid)))
        if not chosen or len(chosen) < wanted:
            raise UnavailableError(f"{len(chosen)} of {wanted} nodes for a block are available")
        if self.machine and len(chosen) > 1:
            return tuple(sorted(chosen, key=lambda number: not self.is_local(number)))
        return chosen

    # --- the view ---------------------------------------------------------------------------

    async def open(self, deadline: float | None = None) -> None:
        """Learn the view from any endpoint. Raises UnavailableError naming what was tried.

        An address that refuses is not tried again; a node that answers and has not joined its
        cluster yet is, until the deadline.
        """
        deadline = self.deadline() if deadline is None else deadline
        attempt = 0
        while True:
            tried, starting = await self._search(deadline)
            if self.view is not None:
                return
            attempt += 1
            pause = self.backoff(attempt)
            if not starting or self.remaining(deadline) <= pause:
                raise UnavailableError(nobody(tried))
            await asyncio.sleep(pause)

    async def refresh_view(self, deadline: float) -> None:
        """Look for a newer view; concurrent calls share one search. Raises UnavailableError."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(deadline))
            self._refreshing.add_done_callback(_consume)  # the waiters may all be cancelled
        await asyncio.shield(self._refreshing)

    async def try_refresh_view(self, deadline: float) -> None:
        """As :meth:`refresh_view`; when nobody answers, the view stays as it is."""
        with contextlib.suppress(RetryableError):
            await self.refresh_view(deadline)

    async def _refresh(self, deadline: float) -> None:
        tried, _ = await self._search(deadline)
        if len(tried) >= len(set(self._known_endpoints())):
            raise UnavailableError(nobody(tried))

    async def _search(self, deadline: float) -> tuple[tuple[str, ...], bool]:
        found = await find_view(
            self.environment,
            self._known_endpoints(),
            self._hello(m.Lane.CONTROL.value),
            self.epoch,
            deadline,
        )
        if found.view is not None and found.view.epoch > self.epoch:
            self._adopt(found.view)
        return found.tried, found.starting

    def _known_endpoints(self) -> list[Endpoint]:
        """Members other than the primary in random order, the configured ones, the primary."""
        members = list(self.members.values())
        self.environment.random.shuffle(members)
        members.sort(key=lambda member: member.number == self._primary_number())
        known = [Endpoint(member.host, member.port) for member in members]
        return [*known[:-1], *self.config.endpoints, *known[-1:]]

    def _adopt(self, view: View) -> None:
        """Switch to a newer view (EpochMonotone)."""
        assert view.epoch > self.epoch, "a view replaces an older one only"
        if self.view is not None and view.primary != self.view.primary:
            if self._primary is not None:
                self._primary.close("another node is the primary")  # ask that one, same id
            self._primary = None
        self.view = view
        self.epoch = view.epoch
        self.members = {member.number: member for member in view.members}
        self._bulk = {n: each for n, each in self._bulk.items() if n in self.members}
        self._ring = None

    def _notice(self) -> None:
        """A reply came from a newer epoch: learn its view on the side."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(self.deadline()))
            self._refreshing.add_done_callback(_consume)

    def _watch_primary(self) -> None:
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """While requests wait and nothing is answered, look for another primary."""
        while self._unanswered:
            answers = self._answers
            await asyncio.sleep(SILENCE_SECONDS)
            if self._unanswered and self._answers == answers:
                await self.try_refresh_view(self.deadline(ATTEMPT_SECONDS))

    def _primary_number(self) -> int:
        return 0 if self.view is None else self.view.primary

    async def _reach_primary(self, deadline: float) -> Connection:
        """A control connection to the primary of the newest view known; single flight."""
        async with self._reaching:
            if self._primary is None or self._primary.closed:
                if self._closed:
                    raise InvalidArgumentError("the file system is closed")
                member = self.member(self._primary_number())
                self._primary = await self._in_time(self._pool.control(member), member, deadline)
            return self._primary

    async def _reach_bulk(self, number: int, deadline: float) -> Connection:
        """The connection to a member for payloads."""
        connection = self._bulk.get(number)
        if connection is None or connection.closed or number not in self.members:
            member = self.member(number)
            reaching = self._in_time(self._pool.bulk(member), member, deadline)
            connection = self._bulk[number] = await reaching
        return connection

    async def _in_time(self, work: Coroutine[Any, Any, T], member: Member, deadline: float) -> T:
        """Await ``work`` with a member within the budget. Raises UnavailableError otherwise."""
        try:
            async with asyncio.timeout(self.remaining(deadline)):
                return await work
        except TimeoutError as error:
            if isinstance(error, MemfsError):
                raise
            where = Endpoint(member.host, member.port)
            raise UnavailableError(
                f"{member.name} at {where} was not reached within the time given"
            ) from None

    def _hello(self, lane: str) -> m.Hello:
        return m.Hello(
            frames.VERSION_MIN,
            frames.VERSION_MAX,
            self.view.cluster if self.view is not None else "",
            m.Role.CLIENT,
            self.client,
            self.identity,
            lane,
        )

    # --- staying alive ----------------------------------------------------------------------

    def hold(self) -> None:
        """A lease or a reservation is held from now on: keep the session alive at the primary."""
        self._holds += 1
        if self._pinging is None or self._pinging.done():
            self._heard_ns = self.environment.clock.boottime_ns()
            self._pinging = asyncio.create_task(self._ping())

    def silence(self) -> float:
        """Seconds since the primary last answered a sign of life, suspended time included."""
        return (self.environment.clock.boottime_ns() - self._heard_ns) * 1e-9

    def unhold(self) -> None:
        """One hold less."""
        assert self._holds > 0, "more holds given up than taken"
        self._holds -= 1

    async def _ping(self) -> None:
        while self._holds:
            await asyncio.sleep(PING_SECONDS)
            if self._holds:
                try:
                    await self.ask(m.Ping(), deadline=self.deadline(PING_SECONDS))
                    self._heard_ns = self.environment.clock.boottime_ns()
                except MemfsError as error:
                    log.warning("the cluster does not hear this client: %s", error)

    async def close(self) -> None:
        """Say goodbye (leases are released at once) and close every connection."""
        if self._closed:
            return
        if self._primary is not None and not self._primary.closed:
            with contextlib.suppress(MemfsError):
                await self.ask(m.Goodbye(), deadline=self.deadline(1.0))
        self._closed = True
        background = (self._pinging, self._refreshing, self._watching)
        tasks = [task for task in background if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pool.close()


def _consume(task: asyncio.Task[None]) -> None:
    """Look at a background search's failure, so that it is not reported as forgotten."""
    if not task.cancelled() and task.exception() is not None:
        log.debug("no newer view: %s", task.exception())


def _give_up(error: MemfsError, unknown: bool) -> NoReturn:
    """Raise the last error, unless an earlier attempt may have been carried out."""
    if unknown and not isinstance(error, OutcomeUnknownError):
        raise OutcomeUnknownError(
            f"sent but not answered, it may or may not have happened; then: {error.message}"
        ) from error
    raise error
