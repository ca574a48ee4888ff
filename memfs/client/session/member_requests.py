"""Requests for blocks to any member: one attempt each, since another member may be asked instead.

Owns the patience with one member, and the capabilities that are shown to it. Must not know which
member is the right one.
"""

from __future__ import annotations

from collections.abc import Sequence

from memfs import limits
from memfs.client.calls.time_budget import TimeBudget
from memfs.client.session.held.capabilities import KnownCapabilities
from memfs.client.session.request_ids import RequestIds
from memfs.client.session.routing import Routing
from memfs.client.session.silence import Silence
from memfs.errors import CapabilityError
from memfs.protocol import messages as m
from memfs.transport.connection import Answer
from memfs.types import Buffer

MEMBER_SECONDS = 2.0
"""Longest wait for a member that moves no bytes: another one can be asked then; see the next."""
SLOW_BYTES_PER_SECOND = 1 * limits.MIB
"""A block that moves more slowly than this is better asked from, or sent to, another node."""

_BLOCKS = frozenset(spec.request for spec in m.BY_OPCODE.values() if spec.lane is m.Lane.BLOCKS)


class MemberRequests:
    """Asks members over their connections for payloads."""

    def __init__(
        self,
        routing: Routing,
        capabilities: KnownCapabilities,
        silence: Silence,
        budget: TimeBudget,
        ids: RequestIds,
    ) -> None:
        self._routing = routing
        self._capabilities = capabilities
        self._silence = silence
        self._budget = budget
        self._ids = ids

    async def call(
        self,
        number: int,
        request: m.Request[m.R],
        payload: Sequence[Buffer] = (),
        *,
        deadline: float,
        into: memoryview | Sequence[memoryview] | None = None,
    ) -> Answer[m.R]:
        """One attempt at member ``number``; no retry, but with another capability when the member
        wants one.

        When it ends, however it ends, nothing refers to ``payload`` or ``into`` any more.
        It may take less than what is left until ``deadline``, so that another one fits after it.
        Raises UnavailableError when the member has left or cannot be reached, DeadlineError, and
        what the primary answers that is asked for a capability.
        """
        shown = self._capabilities.shown(request)
        try:
            return await self.attempt(number, shown, payload, deadline, into)
        except CapabilityError:
            await self._capabilities.renew(request, deadline)
        shown = self._capabilities.shown(request)
        return await self.attempt(number, shown, payload, deadline, into)

    async def attempt(
        self,
        number: int,
        request: m.Request[m.R],
        payload: Sequence[Buffer],
        deadline: float,
        into: memoryview | Sequence[memoryview] | None = None,
    ) -> Answer[m.R]:
        """The request as it is, once, with the capabilities that it has."""
        size = sum(map(len, payload)) or (len(into) if isinstance(into, memoryview) else 0)
        patience = MEMBER_SECONDS + size / SLOW_BYTES_PER_SECOND
        deadline = min(deadline, self._budget.deadline(patience))
        blocks = type(request) in _BLOCKS
        connection = await self._routing.to_member(number, deadline, blocks=blocks)
        if payload:
            member = self._routing.known.member(number)
            await self._routing.in_time(connection.drain(), member, deadline)
        call = connection.call(
            request,
            payload,
            request_id=self._ids.query(),
            timeout=self._budget.remaining(deadline),
            epoch=self._routing.known.epoch,
            into=into,
        )
        try:
            answer = await call
        finally:
            if call.unfinished:
                await call.until_sent(self._budget.remaining(deadline))
        self._silence.broken()
        return answer
