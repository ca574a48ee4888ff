"""One client's session with a cluster: requests to the primary and to members, and their retries.

Puts the parts together: connections (:mod:`~memfs.client.session.routing`), the search for newer
views (:mod:`~memfs.client.session.view_search`), signs of life
(:mod:`~memfs.client.session.keepalive`), leases, locks and open files. Owns the retries and the
budget of a request. Must not know files. Invariants: only what was certainly not carried out is
sent again under a new id; a command whose answer was lost is sent again under the *same* id, which
the primary's memory of results makes safe (ExactlyOnce), and raises OutcomeUnknownError only when
the budget ends (UnknownIsNotFailure).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import NoReturn

from memfs import limits
from memfs.client.calls.arguments import number
from memfs.client.calls.deadline import Deadline
from memfs.client.session.attempts import Attempts
from memfs.client.session.background_work import BackgroundWork
from memfs.client.session.capabilities import KnownCapabilities
from memfs.client.session.grants import Grants
from memfs.client.session.keepalive import Keepalive
from memfs.client.session.known_view import KnownView
from memfs.client.session.locks import SessionLocks
from memfs.client.session.opens import SessionOpens
from memfs.client.session.request_ids import RequestIds
from memfs.client.session.routing import Routing
from memfs.client.session.silence import Silence, in_doubt, no_doubt
from memfs.client.session.suspects import Silent, Suspects
from memfs.client.session.view_search import ViewSearch
from memfs.concurrency import Coro
from memfs.config import ClientConfig
from memfs.errors import (
    BusyError,
    CapabilityError,
    MemfsError,
    NoSpaceError,
    OutcomeUnknownError,
    RetryableError,
    UploadLostError,
)
from memfs.protocol import messages as m
from memfs.protocol.records import check
from memfs.transport.connection import Answer
from memfs.transport.environment import Environment
from memfs.types import Buffer, Identity, View

log = logging.getLogger(__name__)

ATTEMPT_SECONDS = 10.0
"""Longest wait for one answer of the primary: a paused one must not use up the whole budget."""
MEMBER_SECONDS = 2.0
"""The same for a block at any node, where another one can be asked instead; see the next."""
SLOW_BYTES_PER_SECOND = 1 * limits.MIB
"""A block that moves more slowly than this is better asked from, or sent to, another node."""
GOODBYE_SECONDS = 1.0

_BULK = frozenset(spec.request for spec in m.BY_OPCODE.values() if spec.lane is m.Lane.BULK)
_BLOCKS = frozenset(spec.request for spec in m.BY_OPCODE.values() if spec.lane is m.Lane.BLOCKS)
_COMMANDS = frozenset(spec.request for spec in m.BY_OPCODE.values() if spec.command)
_PATIENT: frozenset[type] = frozenset((m.AwaitLock, m.Watch))
"""What the primary need not answer soon: no sign that it is gone."""


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
        self.config = config
        self.environment = environment
        self.client = client
        self.holder = holder
        self.process = process
        self.identity = Identity(config.user, config.groups, config.group_rule == "parent")
        self.commits = 0
        """Grows with every publication by this client: an open reader then looks again."""
        sockets_of = machine if config.local_descriptors else ""
        known = KnownView(view, machine)
        self.silence = Silence(environment.clock.monotonic)
        self.silent = Silent(environment.clock.monotonic)
        """Nodes that did not answer writes lately."""
        self.routing = Routing(environment, known, client, self.identity, sockets_of)
        self.views = ViewSearch(
            environment, config.endpoints, self.routing, self.silence, self.deadline
        )
        self.background = BackgroundWork()
        self.keepalive = Keepalive(self, environment.clock)
        self.grants = Grants(self, self.background, holder)
        self.locks = SessionLocks(self, self.background, self.keepalive)
        self.opens = SessionOpens(self, self.background, self.keepalive)
        self.capabilities = KnownCapabilities(self, self.opens)
        self._closing: Deadline | None = None
        """When everything that closing consists of has to be over, once it has begun."""
        self._ids = RequestIds()
        self._defaults: m.FileSystemReply | None = None
        self._loop = asyncio.get_running_loop()
        self.routing.followers.append(self._view_changed)

    @property
    def known(self) -> KnownView:
        """The newest view known and what follows from it."""
        return self.routing.known

    def _view_changed(self, former: View, view: View) -> None:
        if view.primary_since != former.primary_since:
            self.opens.forget_primary()

    # --- time -------------------------------------------------------------------------------

    def deadline(self, timeout: float | None = None) -> Deadline:
        """When a call that begins now ends; None means the configured budget.

        A deadline stays what it is: a call hands its own on to those that it consists of.
        """
        if type(timeout) is Deadline:
            return timeout
        given = self.config.timeout_seconds if timeout is None else number("timeout", timeout)
        deadline = Deadline(self.environment.clock.monotonic() + given)
        return deadline if self._closing is None else min(deadline, self._closing)

    def begin_closing(self) -> None:
        """From now on all calls share one budget: files that are closed in turn, one after the
        other, take no longer than one of them."""
        if self._closing is None:
            self._closing = self.deadline()
            self.grants.closing = True

    def budget(self, timeout: float | None) -> Deadline | None:
        """As :meth:`deadline` for calls that may move any amount of data: None stays None.

        Each block then has the configured budget.
        """
        return None if timeout is None else self.deadline(timeout)

    def remaining(self, deadline: float) -> float:
        """Seconds left, never negative."""
        return max(0.0, deadline - self.environment.clock.monotonic())

    def attempts(self, deadline: float) -> Attempts:
        """Attempts at something until ``deadline``; none has been made yet."""
        return Attempts(self.environment.random, self.silence, self.views.try_refresh, deadline)

    # --- requests ---------------------------------------------------------------------------

    def check_loop(self) -> None:
        """Raise RuntimeError in an event loop in which it was not made."""
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("this memfs client belongs to another event loop: connect in each")

    async def ask(
        self, request: m.Request[m.R], path: str | None = None, deadline: float | None = None
    ) -> m.R:
        """The primary's reply record to ``request``; retried within the budget.

        ``path`` becomes the ``filename`` of an error. Raises what the node answers, or
        UnavailableError, DeadlineError, OutcomeUnknownError.
        """
        answer = await self.ask_primary(request, path, deadline)
        return answer.record

    async def ask_primary(
        self,
        request: m.Request[m.R],
        path: str | None = None,
        deadline: float | None = None,
        into: memoryview | None = None,
        payload: Sequence[Buffer] = (),
    ) -> Answer[m.R]:
        """As :meth:`ask`, with the request's payload and the reply's (received into ``into``)."""
        check(request)
        self.check_loop()
        if deadline is None:
            deadline = self.deadline()
        command = type(request) in _COMMANDS
        number = await self._ids.begin(deadline) if command else self._ids.query()
        try:
            return await self._persist(request, number, deadline, into, payload)
        except MemfsError as error:
            if path is not None:
                error.filename = path
            raise
        finally:
            if command:
                self._ids.end(number)

    async def ask_or_undo(
        self,
        request: m.Request[m.R],
        path: str | None,
        deadline: float,
        undo: Callable[[m.R], Coro[object]],
        leave: Callable[[asyncio.Task[None]], object] = lambda task: None,
    ) -> m.R:
        """As :meth:`ask`, for a command whose reply hands something out.

        When the caller is cancelled, or gets no answer in time, it is asked once more on the side
        under the same id, and ``undo`` gives back what nobody got; ``leave`` is told of the task.
        So a lack of an answer is no doubt for the caller: DeadlineError, not OutcomeUnknownError.
        Not for commands that do harm when they are carried out late.
        """
        check(request)
        number = await self._ids.begin(deadline)
        left = False
        try:
            return (await self._persist(request, number, deadline)).record
        except (asyncio.CancelledError, OutcomeUnknownError) as error:
            left = True
            leave(self.background.run(self._undo(request, number, undo)))
            if isinstance(error, OutcomeUnknownError):
                raise no_doubt(error, path) from error
            raise
        except MemfsError as error:
            error.filename = path
            raise
        finally:
            if not left:
                self._ids.end(number)

    async def _undo(
        self,
        request: m.Request[m.R],
        number: int,
        undo: Callable[[m.R], Coro[object]],
    ) -> None:
        insist = self.background.insist
        try:
            try:
                answer = await insist(lambda: self._persist(request, number, self.deadline()))
            finally:
                self._ids.end(number)  # it may keep what undoes it from getting an id
            await insist(lambda: undo(answer.record))
        except MemfsError as error:  # the end of the session gives it back
            log.debug("%s is not undone: %s", type(request).__name__, error)

    async def _persist(
        self,
        request: m.Request[m.R],
        number: int,
        deadline: float,
        into: memoryview | None = None,
        payload: Sequence[Buffer] = (),
    ) -> Answer[m.R]:
        """Attempt after attempt under one request id until an answer, an error or the deadline."""
        routing, attempts = self.routing, self.attempts(deadline)
        unknown = False
        unknown_to = 0  # the last term whose primary may have carried it out unheard
        while True:
            asked, term = routing.known.primary_number, routing.known.view.primary_since
            try:
                return await self._attempt(request, number, deadline, into, payload)
            except NoSpaceError as error:  # not from the log: an attempt may have got in
                _give_up(error, unknown)
            except (RetryableError, OutcomeUnknownError) as error:
                if isinstance(error, UploadLostError) and unknown_to != term:
                    raise  # to send the same again is of no use; no earlier attempt got in
                if isinstance(error, OutcomeUnknownError):
                    unknown_to = term
                if isinstance(error, OutcomeUnknownError) and not unknown:
                    unknown = True  # its result is kept for so long
                    deadline = min(deadline, self.deadline(limits.RETRY_SECONDS))
                    attempts.end_by(deadline)
                if routing.closed:
                    _give_up(self.silence.end(error), unknown)
                await self._pause(attempts, error, unknown)
                if not isinstance(error, BusyError):
                    await self._look_elsewhere(asked, deadline)
                if routing.closed:
                    _give_up(error, unknown)

    async def _pause(self, attempts: Attempts, error: MemfsError, unknown: bool) -> None:
        try:
            await attempts.pause(error)
        except MemfsError as last:
            self.silence.felt = True
            _give_up(last, unknown)

    async def _look_elsewhere(self, asked: int, deadline: float) -> None:
        """Look for another primary than ``asked``, unless one is known already."""
        if asked == self.known.primary_number:
            self.routing.drop_primary()
            await self.views.try_refresh(deadline)

    async def _attempt(
        self,
        request: m.Request[m.R],
        number: int,
        deadline: float,
        into: memoryview | None,
        payload: Sequence[Buffer],
    ) -> Answer[m.R]:
        """Ask the primary of the newest view known, once."""
        routing = self.routing
        connection = routing.open_primary or await routing.to_primary(deadline)
        if type(request) in _BULK:
            connection = await routing.to_member(routing.known.primary_number, deadline)
        waiting = self.views.waiting() if type(request) not in _PATIENT else _NOT_WATCHED
        with waiting:
            answer = await connection.call(
                request,
                payload,
                request_id=number,
                timeout=min(ATTEMPT_SECONDS, deadline - self.environment.clock.monotonic()),
                epoch=self.known.epoch,
                into=into,
            )
        self.views.answered()
        self.silence.broken()
        self.views.notice(answer.epoch)
        self.capabilities.note(request, answer.record)
        return answer

    async def ask_member(
        self,
        number: int,
        request: m.Request[m.R],
        payload: Sequence[Buffer] = (),
        *,
        deadline: float,
        into: memoryview | Sequence[memoryview] | None = None,
    ) -> Answer[m.R]:
        """One attempt at member ``number`` over its bulk connection; no retry, but with another
        capability when the member wants one.

        When it ends, however it ends, nothing refers to ``payload`` or ``into`` any more.
        It may take less than what is left until ``deadline``, so that another one fits after it.
        Raises UnavailableError when the member has left or cannot be reached, DeadlineError, and
        what the primary answers that is asked for a capability.
        """
        shown = self.capabilities.shown(request)
        try:
            return await self._ask_member(number, shown, payload, deadline, into)
        except CapabilityError:
            await self.capabilities.renew(request, deadline)
        shown = self.capabilities.shown(request)
        return await self._ask_member(number, shown, payload, deadline, into)

    async def _ask_member(
        self,
        number: int,
        request: m.Request[m.R],
        payload: Sequence[Buffer],
        deadline: float,
        into: memoryview | Sequence[memoryview] | None,
    ) -> Answer[m.R]:
        size = sum(map(len, payload)) or (len(into) if isinstance(into, memoryview) else 0)
        patience = MEMBER_SECONDS + size / SLOW_BYTES_PER_SECOND
        deadline = min(deadline, self.deadline(patience))
        blocks = type(request) in _BLOCKS
        connection = await self.routing.to_member(number, deadline, blocks=blocks)
        if payload:
            member = self.known.member(number)
            await self.routing.in_time(connection.drain(), member, deadline)
        call = connection.call(
            request,
            payload,
            request_id=self._ids.query(),
            timeout=self.remaining(deadline),
            epoch=self.known.epoch,
            into=into,
        )
        try:
            answer = await call
        finally:
            if call.unfinished:
                await call.until_sent(self.remaining(deadline))
        self.silence.broken()
        return answer

    def suspects(self) -> Suspects:
        """For one write: it begins with what earlier ones found out."""
        return Suspects(self.environment.random, self.silent)

    async def defaults(self, deadline: float) -> m.FileSystemReply:
        """Replication, block size and group of a new file that does not say; they never change."""
        if self._defaults is None:
            self._defaults = await self.ask(m.StatFileSystem(), None, deadline)
        return self._defaults

    # --- the end ----------------------------------------------------------------------------

    async def close(self) -> None:
        """Say goodbye (leases are released at once) and close every connection.

        A caller that is cancelled meanwhile leaves nothing open either.
        """
        if self.routing.closed:
            return
        self._closing = None  # the goodbye has a time of its own
        try:
            if self.routing.open_primary is not None:
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


_NOT_WATCHED = contextlib.nullcontext()


def _give_up(error: MemfsError, unknown: bool) -> NoReturn:
    """Raise the last error, unless an earlier attempt may have been carried out."""
    if unknown and not isinstance(error, OutcomeUnknownError):
        raise in_doubt(error.message) from error
    raise error
