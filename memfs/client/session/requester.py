"""What the parts of a session need of the whole: the way to the primary, under the client's id."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from memfs.client.calls.deadline import Deadline
from memfs.concurrency import Coro
from memfs.protocol import messages as m
from memfs.transport.connection import Answer


class Requester(Protocol):
    """:class:`~memfs.client.session.session.Session` as leases, locks and open files see it."""

    @property
    def client(self) -> int:
        """The client's id."""

    def deadline(self, timeout: float | None = None) -> Deadline:
        """When a call that begins now ends."""

    async def ask(
        self, request: m.Request[m.R], path: str | None = None, deadline: float | None = None
    ) -> m.R:
        """The primary's reply record."""

    async def ask_primary(
        self, request: m.Request[m.R], path: str | None = None, deadline: float | None = None
    ) -> Answer[m.R]:
        """As :meth:`ask`, with the reply's payload."""

    async def ask_or_undo(
        self,
        request: m.Request[m.R],
        path: str | None,
        deadline: float,
        undo: Callable[[m.R], Coro[object]],
        leave: Callable[[asyncio.Task[None]], object] = lambda task: None,
    ) -> m.R:
        """As :meth:`ask`, for a command whose reply hands something out."""
