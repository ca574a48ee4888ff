"""The interface between the transport and the node that it serves."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from memfs.errors import MemfsError
from memfs.protocol.frames import FrameHeader
from memfs.protocol.messages import Challenge, Hello, Spec, Welcome
from memfs.transport.connection import Connection
from memfs.transport.sink import Sink
from memfs.types import Buffer

R = TypeVar("R")
Q_co = TypeVar("Q_co", covariant=True)


class Reply(NamedTuple, Generic[R]):
    """The answer to a request."""

    record: R
    payload: Sequence[Buffer] = ()
    """Sent without copying: it must not change before it has left."""
    epoch: int | None = None
    """The epoch to answer under, None: the request's."""


Served: TypeAlias = R | Reply[R] | Awaitable[R | Reply[R]]
"""What a handler returns: the reply's record, alone or with a payload, or an awaitable of
either."""


class IncomingCall(Generic[Q_co]):
    """One request being served, of class ``Q_co``."""

    __slots__ = (
        "answered",
        "connection",
        "deadline",
        "header",
        "payload",
        "request",
        "sink",
        "spec",
    )

    def __init__(
        self,
        connection: Connection,
        header: FrameHeader,
        spec: Spec,
        request: Q_co,
        deadline: float,
    ) -> None:
        """Made by the connection that received the request."""
        self.connection = connection
        self.header = header
        self.spec = spec
        self.request = request
        self.deadline = deadline
        """Monotonic seconds; ``math.inf`` when the caller set none."""
        self.payload: memoryview = memoryview(b"")
        """The payload, where there is no sink."""
        self.sink: Sink | None = None
        """The sink that received the payload."""
        self.answered = False

    def remaining(self) -> float:
        """Seconds left to answer, never negative."""
        if self.deadline == math.inf:
            return math.inf
        return max(0.0, self.deadline - asyncio.get_running_loop().time())


class Service(Protocol):
    """The node behind a server. Exceptions of ``memfs.errors`` are answered as they are."""

    def challenge(self, connection: Connection) -> Challenge:
        """The challenge for a proof in the handshake; raises where proofs are not accepted."""

    def welcome(self, hello: Hello, connection: Connection) -> Welcome | Awaitable[Welcome]:
        """Admit a connection, whose ``peer`` is set, or raise: it is then closed.

        Nothing else is read from it before an awaitable is done.
        """

    def sink(self, call: IncomingCall[object]) -> Sink | None:
        """The sink of an arriving payload; None: it is received into fresh memory. May refuse the
        request."""

    def handle(self, call: IncomingCall[object]) -> object:
        """Serve a request that is completely there: a reply record, a :class:`Reply`, or an
        awaitable of either.

        An awaitable becomes the connection's: it is cancelled when the caller is gone, gives up,
        or has no time left. A shared future must therefore be shielded.
        """

    def denied(self, call: IncomingCall[object], error: MemfsError) -> None:
        """A client's request was refused by the transport, since it is for nodes only."""

    def connection_closed(self, connection: Connection) -> None:
        """A connection that was admitted is gone."""
