"""The load of one server: counters that its connections share, and their bounds.

Owns the counters; the rules are those of ``connection_admission``, ``turns`` and ``unread``. Knows
no connection. Invariant: ``bytes_in_flight`` is the sum of what the connections hold.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from memfs import limits
from memfs.transport.bounds.arriving import ArrivingRequests
from memfs.transport.bounds.connection_admission import ConnectionAdmission
from memfs.transport.bounds.ledgers import ClientLedger, Ledger, UserAtAddress
from memfs.transport.bounds.rates import Rates
from memfs.transport.bounds.turns import Turns
from memfs.transport.bounds.unread import UnreadReplies
from memfs.transport.environment import Clock


@dataclass(frozen=True)
class ServerLimits:
    """What clients may use of a server."""

    connections: int = limits.CONNECTIONS_PER_NODE
    turned_away: int = limits.CONNECTIONS_PER_NODE
    """Further connections, which are refused in their handshake with a reason."""
    requests_per_connection: int = limits.REQUESTS_IN_FLIGHT_PER_CONNECTION
    requests_per_user: int = limits.REQUESTS_PER_USER
    requests: int = limits.REQUESTS_PER_NODE
    """Requests of all clients being served at a time."""
    bytes_per_connection: int = limits.BYTES_IN_FLIGHT_PER_CONNECTION
    bytes: int = limits.BYTES_IN_FLIGHT_PER_NODE
    """Bytes of payloads received and not yet answered, of all connections together."""
    handshake_seconds: float = limits.HANDSHAKE_SECONDS
    stalled_seconds: float = limits.STALLED_FRAME_SECONDS
    """Time for a frame to arrive, and for a peer to read something of its answers."""
    frames_per_turn: int = limits.FRAMES_PER_TURN
    """Frames of one client's connection in one turn of the event loop."""
    turn_seconds: float = limits.CLIENT_TURN_SECONDS
    """Time for the requests of all clients in one turn; connections of nodes are not limited."""
    share_seconds: float = limits.CONNECTION_TURN_SECONDS
    """Time for one client's connection in a turn; the request that exceeds it is served whole."""
    unread_per_principal: int = limits.UNREAD_BYTES_PER_PRINCIPAL
    """Bytes of answers that a user at an address may leave unread."""
    unread: int = limits.UNREAD_BYTES_PER_NODE
    arriving_per_principal: int = limits.ARRIVING_BYTES // 2
    """Bytes of requests that a user at an address has begun and not ended, beyond the inbox that
    every connection has."""
    arriving: int = limits.ARRIVING_BYTES
    unread_seconds: float = limits.UNREAD_SECONDS
    """Time without progress above that bound until a connection is closed."""
    silence_seconds: float = 4 * limits.KEEPALIVE_SECONDS
    """A connection is closed after this time without a byte; clients ping more often."""


class ServerLoad:
    """The load of one server; its connections update it."""

    def __init__(self, clock: Clock, bounds: ServerLimits) -> None:
        """Nobody is connected yet."""
        self.bounds = bounds
        self.bytes_in_flight = 0
        """Bytes of payloads received and not yet answered."""
        self.requests = 0
        """Answered."""
        self.refused = 0
        """Requests answered with BusyError."""
        self.turned_away = 0
        """Connections refused above the bound."""
        self.turns = Turns(
            clock.monotonic, bounds.frames_per_turn, bounds.turn_seconds, bounds.share_seconds
        )
        self.admission = ConnectionAdmission(bounds.connections, bounds.turned_away)
        self.unread = UnreadReplies(
            Ledger[UserAtAddress](
                "bytes of unread answers", bounds.unread_per_principal, bounds.unread
            ),
            bounds.unread_seconds,
            clock.monotonic,
            lambda seconds, call: asyncio.get_running_loop().call_later(seconds, call),
        )

        self.arriving = ArrivingRequests(
            Ledger[UserAtAddress](
                "bytes of requests that are arriving",
                bounds.arriving_per_principal,
                bounds.arriving,
            )
        )
        self.requests_held = Ledger[str](
            "requests being served", bounds.requests_per_user, bounds.requests
        )
        """Requests of clients that are waiting, by user."""
        self.rates = Rates(clock.monotonic)

    def ledgers(self) -> dict[str, ClientLedger]:
        """The ledgers, by the names that metrics show."""
        return {
            "connections": self.admission.users,
            "address_connections": self.admission.addresses,
            "requests": self.requests_held,
            "unread_bytes": self.unread.ledger,
            "arriving_bytes": self.arriving.ledger,
        }
