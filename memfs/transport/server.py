"""Accept connections and serve requests, within bounds.

Owns the listeners, the set of accepted connections and what they may use together. What a request
means is the service's business.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from memfs import limits
from memfs.paths import Endpoint
from memfs.transport.accepted import Accepted
from memfs.transport.admission import Admission
from memfs.transport.environment import Environment, Listener
from memfs.transport.ledgers import Ledger, UserAtAddress
from memfs.transport.service import Call, Reply, Service, Sink
from memfs.transport.turns import Turns
from memfs.transport.unread import UnreadReplies

__all__ = ["Call", "Reply", "Server", "ServerLimits", "ServerStatistics", "Service", "Sink"]


@dataclass(frozen=True)
class ServerLimits:
    """What clients may use of a server."""

    connections: int = limits.CONNECTIONS_PER_NODE
    turned_away: int = limits.CONNECTIONS_PER_NODE
    """Further connections at a time, which are told in their handshake that they are too many."""
    requests_per_connection: int = limits.REQUESTS_IN_FLIGHT_PER_CONNECTION
    bytes_per_connection: int = limits.BYTES_IN_FLIGHT_PER_CONNECTION
    bytes: int = limits.BYTES_IN_FLIGHT_PER_NODE
    """Of payloads received and not yet answered, all connections together."""
    handshake_seconds: float = limits.HANDSHAKE_SECONDS
    stalled_seconds: float = limits.STALLED_FRAME_SECONDS
    """For a frame to arrive, and for a peer to read something of what waits for it."""
    frames_per_turn: int = limits.FRAMES_PER_TURN
    """Of one client's connection in one turn of the event loop; then others come first."""
    turn_seconds: float = limits.CLIENT_TURN_SECONDS
    """For the requests of all clients in one turn; connections of nodes are not limited so."""
    unread_per_principal: int = limits.UNREAD_BYTES_PER_PRINCIPAL
    """Bytes of answers that a user at an address may leave unread."""
    unread: int = limits.UNREAD_BYTES_PER_NODE
    unread_seconds: float = limits.UNREAD_SECONDS
    """Without progress, above that bound, until a connection is closed."""
    silence_seconds: float = 4 * limits.KEEPALIVE_SECONDS
    """A connection that nothing comes from is closed; clients ping more often."""


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
    """Connections that were too many."""
    unread: int = 0
    """Bytes of answers that clients had not read when that was last looked at."""
    dropped: int = 0
    """Connections closed because their peers did not read."""


class Server:
    """Serves one :class:`Service` at any number of addresses."""

    def __init__(
        self, environment: Environment, service: Service, bounds: ServerLimits | None = None
    ) -> None:
        """Args: ``bounds``, by default those of ``memfs.limits``."""
        self.service = service
        self.bounds = bounds or ServerLimits()
        self.bytes_in_flight = 0
        self.requests = 0
        self.refused = 0
        self.turned_away = 0
        self.turns = Turns(
            environment.clock.monotonic, self.bounds.frames_per_turn, self.bounds.turn_seconds
        )
        self.admission = Admission(self.bounds.connections, self.bounds.turned_away)
        unread = Ledger[UserAtAddress](
            "bytes of unread answers", self.bounds.unread_per_principal, self.bounds.unread
        )
        self.unread = UnreadReplies(
            unread,
            self.bounds.unread_seconds,
            environment.clock.monotonic,
            lambda seconds, call: asyncio.get_running_loop().call_later(seconds, call),
        )
        self._environment = environment
        self._listeners: list[Listener] = []
        self._connections: dict[Accepted, None] = {}
        self._received = self._sent = 0

    async def listen(self, endpoint: Endpoint) -> Listener:
        """Accept TCP connections; port 0 picks a free one. Raises OSError."""
        listener = await self._environment.network.listen(self._accept, endpoint)
        self._listeners.append(listener)
        return listener

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
        connections = self._connections
        return ServerStatistics(
            connections=len(connections),
            requests=self.requests,
            in_flight=sum(connection.in_flight for connection in connections),
            bytes_in_flight=self.bytes_in_flight,
            received=self._received + sum(one.bytes_received for one in connections),
            sent=self._sent + sum(one.bytes_sent for one in connections),
            refused=self.refused,
            deferred=self.turns.deferred,
            turned_away=self.turned_away,
            unread=self.unread.ledger.total,
            dropped=self.unread.dropped,
        )

    # --- for the connections -----------------------------------------------------------------

    def _accept(self) -> Accepted:
        return Accepted(asyncio.get_running_loop(), self)

    def admit(self, connection: Accepted) -> bool:
        """Take up a new connection; False when it is to be dropped without a word."""
        self._connections[connection] = None
        bounds = self.bounds
        welcome = len(self._connections) <= bounds.connections + bounds.turned_away
        self.turned_away += not welcome
        return welcome

    def forget(self, connection: Accepted) -> None:
        """A connection is gone."""
        if connection in self._connections:
            del self._connections[connection]
            self._received += connection.bytes_received
            self._sent += connection.bytes_sent
