"""Clients that wait for a file lock are answered when they have it; they do not poll.

Owns the requests that wait on this node. The namespace decides what they wait for: a waiting
request is only woken to look again, so nothing is lost when this node is no longer the primary (the
client asks the next one) or a wake-up is missed (it asks again after ``LOCK_WAIT_MS``).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable

from memfs import limits
from memfs.node.replication.role import NamespaceRole
from memfs.protocol import messages as m
from memfs.transport.server import IncomingCall


class LockWaits:
    """Parked :class:`~memfs.protocol.messages.AwaitLock` requests, by ticket."""

    def __init__(self, role: NamespaceRole) -> None:
        """Is told by ``role`` which tickets wait no more."""
        self._role = role
        self._parked: dict[int, dict[asyncio.Future[None], None]] = {}
        role.observers.on_woken(self.wake)

    def __len__(self) -> int:
        return sum(map(len, self._parked.values()))

    def wake(self, tickets: Iterable[int]) -> None:
        """These tickets wait no more, and that is committed."""
        for ticket in tickets:
            for turn in self._parked.get(ticket, ()):
                if not turn.done():
                    turn.set_result(None)

    async def wait(self, call: IncomingCall[m.AwaitLock]) -> m.AwaitLockReply:
        """What has become of a request, once something has, or its time is over."""
        request = call.request
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        parked = self._parked.setdefault(request.ticket, {})
        parked[turn] = None
        try:
            reply = await self._look(call)
            if reply.state == m.LockState.WAITING and request.wait_ms > 0:
                seconds = min(request.wait_ms, limits.LOCK_WAIT_MS) / 1000
                await asyncio.wait((turn,), timeout=seconds)
                reply = await self._look(call)
            return reply
        finally:
            turn.cancel()
            parked.pop(turn, None)
            if not parked:
                self._parked.pop(request.ticket, None)

    async def _look(self, call: IncomingCall[m.AwaitLock]) -> m.AwaitLockReply:
        found = self._role.primary.query(call.connection.peer.identity, call.request)
        reply: m.AwaitLockReply = await found if inspect.isawaitable(found) else found
        return reply
