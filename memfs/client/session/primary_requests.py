"""Requests to the primary, retried until it answers or their time is over.

Owns the retries and the request ids. Must not know what is asked for. Invariants: only what was
certainly not carried out is sent again under a new id; a command whose answer was lost is sent
again under the *same* id, which the primary's memory of results makes safe (ExactlyOnce), and
raises OutcomeUnknownError only when the budget ends (UnknownIsNotFailure).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from random import Random
from typing import NoReturn

from memfs import limits
from memfs.client.calls.deadline import Deadline
from memfs.client.calls.time_budget import TimeBudget
from memfs.client.session.attempts import Attempts
from memfs.client.session.background_work import BackgroundWork
from memfs.client.session.direct import DirectQuestions
from memfs.client.session.request_ids import RequestIds
from memfs.client.session.routing import Routing
from memfs.client.session.silence import Silence, in_doubt, no_doubt
from memfs.client.session.view_search import ViewSearch
from memfs.concurrency import Coro
from memfs.errors import (
    BusyError,
    MemfsError,
    NoSpaceError,
    OutcomeUnknownError,
    RetryableError,
    UploadLostError,
)
from memfs.protocol import messages as m
from memfs.protocol.records import check
from memfs.transport.connection import Answer
from memfs.types import Buffer

log = logging.getLogger(__name__)

ATTEMPT_SECONDS = 10.0
"""Longest wait for one answer of the primary: a paused one must not use up the whole budget."""

COMMANDS = frozenset(spec.request for spec in m.BY_OPCODE.values() if spec.command)
_BULK = frozenset(spec.request for spec in m.BY_OPCODE.values() if spec.lane is m.Lane.BULK)
_PATIENT: frozenset[type] = frozenset((m.AwaitLock, m.Watch))
"""What the primary need not answer soon: no sign that it is gone."""


class PrimaryRequests:
    """Asks the primary of the newest view, in the event loop that it was made in."""

    def __init__(
        self,
        client: int,
        routing: Routing,
        views: ViewSearch,
        silence: Silence,
        background: BackgroundWork,
        budget: TimeBudget,
        dice: Random,
    ) -> None:
        self.client = client
        """The client's id."""
        self.ids = RequestIds()
        self.direct: DirectQuestions | None = None
        """For blocking callers, who may ask in their own threads."""
        self.followers: list[Callable[[object, object], None]] = []
        """Called with each request that was answered, and the reply's record."""
        self._routing = routing
        self._views = views
        self._silence = silence
        self._background = background
        self._budget = budget
        self._dice = dice
        self._loop = asyncio.get_running_loop()

    def check_loop(self) -> None:
        """Raise RuntimeError in another event loop than its own."""
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("this memfs client belongs to another event loop: connect in each")

    def deadline(self, timeout: float | None = None) -> Deadline:
        """When a call that begins now ends; see :meth:`TimeBudget.deadline`."""
        return self._budget.deadline(timeout)

    def attempts(self, deadline: float) -> Attempts:
        """Attempts at something until ``deadline``; none has been made yet."""
        return Attempts(self._dice, self._silence, self._views.try_refresh, deadline)

    async def ask(
        self, request: m.Request[m.R], path: str | None = None, deadline: float | None = None
    ) -> m.R:
        """The reply's record; retried within the budget.

        ``path`` becomes the ``filename`` of an error. Raises what the node answers, or
        UnavailableError, DeadlineError, OutcomeUnknownError.
        """
        answer = await self.call(request, path, deadline)
        return answer.record

    async def call(
        self,
        request: m.Request[m.R],
        path: str | None = None,
        deadline: float | None = None,
        into: memoryview | None = None,
        payload: Sequence[Buffer] = (),
    ) -> Answer[m.R]:
        """As :meth:`ask`, with the request's payload and the reply's (received into ``into``)."""
        if self.direct is not None and self.direct.asking:
            return self._call_directly(self.direct, request, path, deadline)
        check(request)
        self.check_loop()
        if deadline is None:
            deadline = self.deadline()
        command = type(request) in COMMANDS
        number = await self.ids.begin(deadline) if command else self.ids.query()
        try:
            return await self._persist(request, number, deadline, into, payload)
        except MemfsError as error:
            if path is not None:
                error.filename = path
            raise
        finally:
            if command:
                self.ids.end(number)

    @staticmethod
    def _call_directly(
        direct: DirectQuestions, request: m.Request[m.R], path: str | None, deadline: float | None
    ) -> Answer[m.R]:
        try:
            return direct.ask(request, deadline)
        except MemfsError as error:
            if path is not None:
                error.filename = path
            raise

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
        number = await self.ids.begin(deadline)
        left = False
        try:
            return (await self._persist(request, number, deadline)).record
        except (asyncio.CancelledError, OutcomeUnknownError) as error:
            left = True
            leave(self._background.run(self._undo(request, number, undo)))
            if isinstance(error, OutcomeUnknownError):
                raise no_doubt(error, path) from error
            raise
        except MemfsError as error:
            error.filename = path
            raise
        finally:
            if not left:
                self.ids.end(number)

    async def _undo(
        self,
        request: m.Request[m.R],
        number: int,
        undo: Callable[[m.R], Coro[object]],
    ) -> None:
        insist = self._background.insist
        try:
            try:
                answer = await insist(lambda: self._persist(request, number, self.deadline()))
            finally:
                self.ids.end(number)  # it may keep what undoes it from getting an id
            await insist(lambda: undo(answer.record))
        except MemfsError as error:  # the end of the session gives it back
            log.debug("%s is not undone: %s", type(request).__name__, error)

    # --- attempts ---------------------------------------------------------------------------

    async def _persist(
        self,
        request: m.Request[m.R],
        number: int,
        deadline: float,
        into: memoryview | None = None,
        payload: Sequence[Buffer] = (),
    ) -> Answer[m.R]:
        """Attempt after attempt under one request id until an answer, an error or the deadline."""
        routing, attempts = self._routing, self.attempts(deadline)
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
                    _give_up(self._silence.end(error), unknown)
                await self._pause(attempts, error, unknown)
                if not isinstance(error, BusyError):
                    await self._look_elsewhere(asked, deadline)
                if routing.closed:
                    _give_up(error, unknown)

    async def _pause(self, attempts: Attempts, error: MemfsError, unknown: bool) -> None:
        try:
            await attempts.pause(error)
        except MemfsError as last:
            self._silence.felt = True
            _give_up(last, unknown)

    async def _look_elsewhere(self, asked: int, deadline: float) -> None:
        """Look for another primary than ``asked``, unless one is known already."""
        if asked == self._routing.known.primary_number:
            self._routing.drop_primary()
            await self._views.try_refresh(deadline)

    async def _attempt(
        self,
        request: m.Request[m.R],
        number: int,
        deadline: float,
        into: memoryview | None,
        payload: Sequence[Buffer],
    ) -> Answer[m.R]:
        """Ask the primary of the newest view known, once."""
        routing = self._routing
        connection = routing.open_primary or await routing.to_primary(deadline)
        if type(request) in _BULK:
            connection = await routing.to_member(routing.known.primary_number, deadline)
        waiting = self._views.waiting() if type(request) not in _PATIENT else _NOT_WATCHED
        with waiting:
            answer = await connection.call(
                request,
                payload,
                request_id=number,
                timeout=min(ATTEMPT_SECONDS, self._budget.remaining(deadline)),
                epoch=routing.known.epoch,
                into=into,
            )
        self._views.answered()
        self._silence.broken()
        self._views.notice(answer.epoch)
        for follow in self.followers:
            follow(request, answer.record)
        return answer


_NOT_WATCHED = contextlib.nullcontext()


def _give_up(error: MemfsError, unknown: bool) -> NoReturn:
    """Raise the last error, unless an earlier attempt may have been carried out."""
    if unknown and not isinstance(error, OutcomeUnknownError):
        raise in_doubt(error.message) from error
    raise error
