"""One request to a member, this node included: one path, wherever it is."""

from __future__ import annotations

from typing import Any

from memfs.node.membership import Membership
from memfs.transport.pool import Pool


class Peers:
    """Asks members over their control connections."""

    def __init__(self, membership: Membership, pool: Pool, call_seconds: float) -> None:
        """``call_seconds`` bounds a request that says nothing else."""
        self._membership = membership
        self._pool = pool
        self._call_seconds = call_seconds

    async def ask(self, number: int, request: Any, seconds: float | None = None) -> Any:
        """The reply's record. Raises what the member answers, UnavailableError, DeadlineError."""
        connection = await self._pool.control(self._membership.find(number))
        answer = await connection.call(
            request,
            request_id=self._pool.next_request_id(),
            timeout=self._call_seconds if seconds is None else seconds,
            epoch=self._membership.epoch,
        )
        return answer.record
