"""Messages 1-31: the handshake and the life of a connection."""

from __future__ import annotations

import enum
from typing import NamedTuple

from memfs.protocol.messages.registry import Empty, message
from memfs.types import Identity, View


class Role(enum.IntEnum):
    """What a connection is for; a node accepts ``peer`` messages from nodes only."""

    CLIENT = 0
    NODE = 1


class Welcome(NamedTuple):
    """Answer to the handshake: who the node is and what it knows."""

    version: int
    cluster: str
    name: str
    incarnation: int
    member: int
    """Its member number, 0 while it has not joined."""
    view: View | None
    machine: str = ""
    bulk_port: int = 0
    """Where it takes connections for blocks that are in clear after this answer; 0: nowhere."""


@message(1)
class Hello(NamedTuple):
    """The first frame of every connection."""

    version_min: int
    version_max: int
    cluster: str
    """Empty: any cluster."""
    role: int
    client: int
    """Random 63-bit id of the client process: the owner of its leases and of deduplication."""
    identity: Identity
    lane: str = "control"
    member: int = 0
    """A node's member number; it must be of the view."""
    incarnation: int = 0
    authentication: bytes = b""
    """A proof for the challenge of this connection (``memfs.security.proofs``); empty: none."""

    @staticmethod
    def reply() -> type[Welcome]:
        return Welcome


class Challenge(NamedTuple):
    """What a proof in the handshake is made for."""

    nonce: bytes
    """Drawn for this connection."""
    cluster: str
    """The node's cluster."""


@message(5)
class GetChallenge(NamedTuple):
    """The frame before ``Hello``, from a client that will prove itself by a key or a token."""

    @staticmethod
    def reply() -> type[Challenge]:
        return Challenge


@message(2)
class Ping(NamedTuple):
    """Proof of life; also keeps the client's session and its leases."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(3)
class Cancel(NamedTuple):
    """Stop working on a request of this connection. It is not answered; the request may be."""

    request_id: int

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(4)
class Goodbye(NamedTuple):
    """The client ends its session: its leases are released at once."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty
