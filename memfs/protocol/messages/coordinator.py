"""Messages 224-255: the embedded coordinator, served by the node that hosts it."""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.registry import message
from memfs.types import Member, View


class RegisterReply(NamedTuple):
    """The time to live that was asked for, milliseconds."""

    ttl_ms: int


@message(224, peer=True)
class CoordinatorRegister(NamedTuple):
    """Sign of life of a node of release 0.1; answered, and kept nowhere."""

    member: Member
    ttl_ms: int

    @staticmethod
    def reply() -> type[RegisterReply]:
        return RegisterReply


class CoordinatorViewReply(NamedTuple):
    """The view record and its revision (0 and None before the cluster is formed)."""

    revision: int
    view: View | None


@message(225, peer=True)
class CoordinatorReadView(NamedTuple):
    """Linearizable read of the view record."""

    @staticmethod
    def reply() -> type[CoordinatorViewReply]:
        return CoordinatorViewReply


class CoordinatorSwapReply(NamedTuple):
    """Whether the swap was made, and what is current now."""

    swapped: bool
    revision: int
    view: View | None


@message(226, peer=True)
class CoordinatorSwapView(NamedTuple):
    """Replace the view if its revision is still ``expected``."""

    expected: int
    view: View

    @staticmethod
    def reply() -> type[CoordinatorSwapReply]:
        return CoordinatorSwapReply


class CoordinatorMembersReply(NamedTuple):
    """Reply of release 0.1."""

    members: tuple[Member, ...]


@message(227, peer=True)
class CoordinatorMembers(NamedTuple):
    """Of release 0.1, and never sent; refused as unsupported."""

    @staticmethod
    def reply() -> type[CoordinatorMembersReply]:
        return CoordinatorMembersReply


@message(228, peer=True)
class CoordinatorWaitForChange(NamedTuple):
    """Answer when the view's revision is another one, or the time is over."""

    revision: int
    timeout_ms: int

    @staticmethod
    def reply() -> type[CoordinatorViewReply]:
        return CoordinatorViewReply
