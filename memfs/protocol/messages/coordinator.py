"""Messages 224-255: the embedded coordinator, served by the node that hosts it."""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.registry import message
from memfs.types import Member, View


class RegisterReply(NamedTuple):
    """The time to live granted, milliseconds."""

    ttl_ms: int


@message(224, RegisterReply, peer=True)
class CoordinatorRegister(NamedTuple):
    """Put or refresh the leased record of a node."""

    member: Member
    ttl_ms: int


class CoordinatorViewReply(NamedTuple):
    """The view record and its revision (0 and None before the cluster is formed)."""

    revision: int
    view: View | None


@message(225, CoordinatorViewReply, peer=True)
class CoordinatorReadView(NamedTuple):
    """Linearizable read of the view record."""


class CoordinatorSwapReply(NamedTuple):
    """Whether the swap was made, and what is current now."""

    swapped: bool
    revision: int
    view: View | None


@message(226, CoordinatorSwapReply, peer=True)
class CoordinatorSwapView(NamedTuple):
    """Replace the view if its revision is still ``expected``."""

    expected: int
    view: View


class CoordinatorMembersReply(NamedTuple):
    """Nodes whose lease has not run out."""

    members: tuple[Member, ...]


@message(227, CoordinatorMembersReply, peer=True)
class CoordinatorMembers(NamedTuple):
    """List the live nodes."""


@message(228, CoordinatorViewReply, peer=True)
class CoordinatorWaitForChange(NamedTuple):
    """Answer when the view's revision is another one, or the time is over."""

    revision: int
    timeout_ms: int
