"""Accept connections and serve requests, within bounds.

Owns the listeners, the set of accepted connections and what they may use together. What a request
means is the service's business.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from memfs.paths import Endpoint
from memfs.transport.accepted import Accepted
from memfs.transport.bounds.load import ServerLimits, ServerLoad
from memfs.transport.environment import Environment, Listener
from memfs.transport.service import IncomingCall, Reply, Served, Service

__all__ = ["IncomingCall", "Reply", "Served", "Server", "ServerStatistics", "Service"]


class ServerStatistics(NamedTuple):
    """Counts since the start, and what is under way now."""

    connections: int
    requests: int
    """Answered."""
    in_flight: int
    bytes_in_flight: int
    received: int
    """Bytes."""
    sent: int
    """Bytes."""
    refused: int
    """Requests answered with BusyError."""
    deferred: int
    """How often a client's connection had to wait for another turn of the event loop."""
    turned_away: int
    """Connections refused above the bound."""
    unread: int = 0
    """Bytes of answers that clients had not read at the last check."""
    dropped: int = 0
    """Connections closed because their peers did not read."""


class Server:
    """Serves one :class:`Service` at any number of addresses."""

    def __init__(
        self, environment: Environment, service: Service, bounds: ServerLimits | None = None
    ) -> None:
        """Args: ``bounds``, by default those of ``memfs.limits``."""
        self.service = service
        self.load = ServerLoad(environment.clock, bounds or ServerLimits())
        self._environment = environment
        self._listeners: list[Listener] = []
        self._bulk_port = 0
        self._connections: dict[Accepted, None] = {}
        self._received = self._sent = 0

    async def listen(self, endpoint: Endpoint) -> Listener:
        """Accept TCP connections; port 0 picks a free one. Raises OSError."""
        listener = await self._environment.network.listen(self._accept, endpoint)
        self._listeners.append(listener)
        return listener

    async def listen_for_blocks(self, endpoint: Endpoint) -> int:
        """Accept connections for blocks, in clear once greeted; the port.

        Before :meth:`listen`, whose connections are told where. Raises OSError.
        """
        assert self._environment.blocks is not None, "without TLS all connections are in clear"
        listener = await self._environment.blocks.listen(self._accept_for_blocks, endpoint)
        self._listeners.append(listener)
        self._bulk_port = listener.endpoint.port
        return self._bulk_port

    async def listen_unix(self, path: str) -> Listener:
        """Accept connections of processes on this host. Raises OSError."""
        listener = await self._environment.network.listen_unix(self._accept, path)
        self._listeners.append(listener)
        return listener

    async def close(self) -> None:
        """Stop listening, close every connection, wait for what was being served to end."""
        for listener in self._listeners:
            listener.close()
        connections = list(self._connections)
        for connection in connections:
            connection.close("the node stops")
        await asyncio.gather(*(connection.wait_served() for connection in connections))

    def statistics(self) -> ServerStatistics:
        """What the metrics show."""
        connections, load = self._connections, self.load
        return ServerStatistics(
            connections=len(connections),
            requests=load.requests,
            in_flight=sum(connection.in_flight for connection in connections),
            bytes_in_flight=load.bytes_in_flight,
            received=self._received + sum(one.bytes_received for one in connections),
            sent=self._sent + sum(one.bytes_sent for one in connections),
            refused=load.refused,
            deferred=load.turns.deferred,
            turned_away=load.turned_away,
            unread=load.unread.ledger.total,
            dropped=load.unread.dropped,
        )

    # --- for the connections -----------------------------------------------------------------

    def _accept(self) -> Accepted:
        return self._accepted(blocks=False)

    def _accept_for_blocks(self) -> Accepted:
        return self._accepted(blocks=True)

    def _accepted(self, *, blocks: bool) -> Accepted:
        connection = Accepted(
            asyncio.get_running_loop(),
            self.service,
            self.load,
            admit=self._admit,
            forget=self._forget,
            bulk_port=self._bulk_port,
            blocks=blocks,
        )
        tls = self._environment.tls
        if tls is not None:  # of now: it may be renewed before anybody asks for it
            connection.own_certificate = tls.digest
        return connection

    def _admit(self, connection: Accepted) -> bool:
        """Register a new connection; False when it exceeds even the spare ones and is dropped
        without an answer."""
        self._connections[connection] = None
        bounds = self.load.bounds
        welcome = len(self._connections) <= bounds.connections + bounds.turned_away
        self.load.turned_away += not welcome
        return welcome

    def _forget(self, connection: Accepted) -> None:
        """A connection is gone."""
        if connection in self._connections:
            del self._connections[connection]
            self._received += connection.bytes_received
            self._sent += connection.bytes_sent
