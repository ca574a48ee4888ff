"""A client's connections: to the primary of the newest view, and to every member for payloads.

Owns the newest view known (EpochMonotone) and the connections that it leads to. Must not know
requests, and never looks for a view: that is :mod:`memfs.client.session.view_search`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from memfs.client.calls.deadline import seconds_left
from memfs.client.session.known_view import KnownView
from memfs.concurrency import Coro
from memfs.errors import InvalidArgumentError, MemfsError, UnavailableError
from memfs.paths import Endpoint
from memfs.protocol import frames
from memfs.protocol import messages as m
from memfs.transport.connection import Connection
from memfs.transport.environment import Environment
from memfs.transport.pool import Pool
from memfs.types import Identity, Member, View

T = TypeVar("T")


def introduce(client: int, identity: Identity, lane: str, view: View | None) -> m.Hello:
    """How a client introduces itself on a connection."""
    return m.Hello(
        frames.VERSION_MIN,
        frames.VERSION_MAX,
        view.cluster if view is not None else "",
        m.Role.CLIENT,
        client,
        identity,
        lane,
    )


class Routing:
    """The ways of one session through its cluster."""

    def __init__(
        self,
        environment: Environment,
        known: KnownView,
        client: int,
        identity: Identity,
        sockets_of: str,
    ) -> None:
        """``sockets_of``: the machine whose nodes are reached by unix sockets, empty: none."""
        self.known = known
        self.followers: list[Callable[[View, View], None]] = []
        """Called with the former view and the newer one that was adopted."""
        self.closed = False
        self._client = client
        self._identity = identity
        self._pool = Pool(environment, self.hello, sockets_of)
        self._primary: Connection | None = None
        self._bulk: dict[int, Connection] = {}
        self._blocks: dict[int, Connection] = {}

    def hello(self, lane: str) -> m.Hello:
        """How the client introduces itself to a node of this cluster."""
        return introduce(self._client, self._identity, lane, self.known.view)

    def adopt(self, view: View) -> None:
        """Switch to a newer view; an older or equal one is ignored."""
        former = self.known.view
        if view.epoch <= former.epoch:
            return
        if view.primary != former.primary:
            if self._primary is not None:
                self._primary.close("another node is the primary")  # ask that one, same id
            self._primary = None
        self.known = KnownView(view, self.known.machine)
        for follow in self.followers:
            follow(former, view)
        self._bulk = {n: each for n, each in self._bulk.items() if n in self.known.members}
        self._blocks = {n: each for n, each in self._blocks.items() if n in self.known.members}
        self._pool.retain(view.members)

    # --- connections ------------------------------------------------------------------------

    @property
    def open_primary(self) -> Connection | None:
        """The connection to the primary, if there is one that works."""
        primary = self._primary
        return None if primary is None or primary.closed else primary

    def drop_primary(self) -> None:
        """Reach the primary anew for the next request."""
        self._primary = None

    async def to_primary(self, deadline: float) -> Connection:
        """A control connection to the primary of the newest view. Raises UnavailableError."""
        if (primary := self.open_primary) is not None:
            return primary
        self._check_open()
        member = self.known.member(self.known.primary_number)
        connection = await self.in_time(self._pool.control(member), member, deadline)
        if member.number == self.known.primary_number:
            self._primary = connection
        return connection

    async def to_member(self, number: int, deadline: float, *, blocks: bool = False) -> Connection:
        """The connection to a member for payloads, or ``blocks``. Raises UnavailableError."""
        self._check_open()
        known = self._blocks if blocks else self._bulk
        connection = known.get(number)
        if connection is None or connection.closed or number not in self.known.members:
            member = self.known.member(number)
            reaching = self._pool.blocks(member) if blocks else self._pool.bulk(member)
            connection = await self.in_time(reaching, member, deadline)
            (self._blocks if blocks else self._bulk)[number] = connection
        return connection

    async def in_time(self, work: Coro[T], member: Member, deadline: float) -> T:
        """Await ``work`` with a member until the deadline. Raises UnavailableError otherwise."""
        try:
            async with asyncio.timeout(seconds_left(deadline)):
                return await work
        except (TimeoutError, UnavailableError) as error:
            trouble = self._pool.trouble(member)
            if isinstance(error, MemfsError) and not trouble:
                raise
            where = Endpoint(member.host, member.port)
            text = f"{member.name} at {where} did not answer within the time given"
            raise UnavailableError(trouble or text) from None

    def _check_open(self) -> None:
        if self.closed:
            raise InvalidArgumentError("the file system is closed")

    async def close(self) -> None:
        """Close every connection; nothing is reached any more."""
        self.closed = True
        await self._pool.close()
