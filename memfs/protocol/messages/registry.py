"""How messages are declared: the registry of opcodes, and the records that many share.

Owns the tables from opcode and request class to :class:`Spec`; an opcode is never reused.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Request(Protocol[R_co]):
    """A request record: what is answered to it is part of its declaration."""

    @staticmethod
    def reply() -> type[R_co]:
        """The class of its reply."""


Q_co = TypeVar("Q_co", covariant=True)


class RequestClass(Protocol[Q_co, R_co]):
    """The class of a request, which makes requests and names the class of their reply."""

    def __call__(self, *fields: Any, **named: Any) -> Q_co:
        """A request."""

    def reply(self) -> type[R_co]:
        """See :class:`Request`."""


C = TypeVar("C", bound=type[Request[Any]])


class Lane(enum.Enum):
    """Which connection of a pair carries a message: control never queues behind bulk.

    ``BLOCKS`` is bulk traffic without names. Where a node offers it, it travels in clear, on a
    connection whose handshake was under TLS; elsewhere it shares the ``BULK`` connection.
    """

    CONTROL = "control"
    BULK = "bulk"
    BLOCKS = "blocks"


@dataclass(frozen=True, slots=True)
class Spec:
    """How one request is carried and answered."""

    opcode: int
    request: type[Request[Any]]
    reply: type[Any]
    lane: Lane
    command: bool
    """Goes through the log: carried out once, however often it is sent."""
    peer: bool
    """Only members of the cluster may ask."""
    privileged: bool
    """Only members and the superuser may ask."""


BY_OPCODE: dict[int, Spec] = {}
BY_REQUEST: dict[type, Spec] = {}


def message(
    opcode: int,
    *,
    lane: Lane = Lane.CONTROL,
    command: bool = False,
    peer: bool = False,
    privileged: bool = False,
) -> Callable[[C], C]:
    """Register a request class under ``opcode`` ."""

    def register(cls: C) -> C:
        assert opcode not in BY_OPCODE, f"opcode {opcode} is used twice"
        spec = Spec(opcode, cls, cls.reply(), lane, command, peer, privileged)
        BY_OPCODE[opcode] = BY_REQUEST[cls] = spec
        return cls

    return register


class Empty(NamedTuple):
    """A reply that says nothing but "done"."""


class ErrorReply(NamedTuple):
    """The answer to any request that failed."""

    code: int
    """``memfs.errors`` code."""
    message: str
    path: str = ""
