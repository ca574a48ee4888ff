"""Requests from the parts of healing to the other members."""

from __future__ import annotations

from typing import Protocol

from memfs.protocol import messages as m


class Peers(Protocol):
    """:class:`~memfs.node.membership.members.Membership`, as healing sees it."""

    async def ask(self, to: int, request: m.Request[m.R], seconds: float | None = None) -> m.R:
        """The reply's record. Raises what the member answers, UnavailableError, DeadlineError."""
