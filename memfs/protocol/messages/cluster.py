"""Messages 32-63: view, membership, and the log on its way to the backups."""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.registry import Empty, Lane, message
from memfs.types import Member, NodeUsage, View


class ViewReply(NamedTuple):
    """The newest view a node knows."""

    view: View


@message(32, ViewReply)
class GetView(NamedTuple):
    """Ask any node for its view."""


class NodeStatus(NamedTuple):
    """One member as the primary sees it."""

    member: Member
    usage: NodeUsage
    alive: bool
    in_sync: bool
    heartbeat_ms: int
    """Milliseconds since its last heartbeat."""


class StatusReply(NamedTuple):
    """What ``memfs cluster status`` shows."""

    view: View
    log_index: int
    committed: int
    nodes: tuple[NodeStatus, ...]
    files: int
    directories: int
    bytes: int
    sessions: int
    reclaiming: int
    """Inodes of deleted trees still to be freed."""


@message(33, StatusReply)
class GetStatus(NamedTuple):
    """Ask the primary for the cluster's state."""


@message(34, ViewReply, peer=True)
class Join(NamedTuple):
    """A node asks the primary to become a member (its ``number`` is 0)."""

    member: Member


@message(35, ViewReply, peer=True)
class Heartbeat(NamedTuple):
    """A member tells the primary that it lives and how full it is."""

    usage: NodeUsage


@message(36, Empty, peer=True)
class Leave(NamedTuple):
    """A member asks the primary to be taken out of the view."""

    member: int


class ReplicateReply(NamedTuple):
    """How far a backup has applied the log."""

    applied: int
    digest: int


@message(37, ReplicateReply, peer=True)
class Replicate(NamedTuple):
    """Log entries for a backup, packed in the payload (``memfs.node.log``)."""

    first: int
    """Index of the first entry."""
    count: int  # type: ignore[assignment]  # hides tuple.count, which no record needs
    committed: int


@message(38, ReplicateReply, lane=Lane.BULK, peer=True)
class InstallSnapshot(NamedTuple):
    """One piece of a namespace snapshot; the payload holds its bytes."""

    snapshot: int
    """Log index that the snapshot includes."""
    offset: int
    last: bool


@message(39, Empty, peer=True)
class NewView(NamedTuple):
    """The primary tells a member of a new view."""

    view: View
