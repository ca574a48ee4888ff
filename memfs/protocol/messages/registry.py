"""How messages are declared: the registry of opcodes, and the records that many share.

Owns the tables from opcode and request class to :class:`Spec`; an opcode is never reused.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

C = TypeVar("C", bound=type)


class Lane(enum.Enum):
    """Which connection of a pair carries a message: control never queues behind bulk."""

    CONTROL = "control"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Spec:
    """How one request is carried and answered."""

    opcode: int
    request: type[Any]
    reply: type[Any]
    lane: Lane
    command: bool
    peer: bool


BY_OPCODE: dict[int, Spec] = {}
BY_REQUEST: dict[type, Spec] = {}


def message(
    opcode: int,
    reply: type[Any],
    *,
    lane: Lane = Lane.CONTROL,
    command: bool = False,
    peer: bool = False,
) -> Callable[[C], C]:
    """Register a request class under ``opcode`` with the class of its reply."""

    def register(cls: C) -> C:
        assert opcode not in BY_OPCODE, f"opcode {opcode} is used twice"
        spec = Spec(opcode, cls, reply, lane, command, peer)
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
