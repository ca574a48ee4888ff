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


class LeavingStatus(NamedTuple):
    """How far the decommission of a member is."""

    member: int
    blocks: int
    """Blocks still to be moved away."""
    bytes: int
    waiting: str = ""
    """What it waits for beside moves; empty: nothing."""


class NodeStatus(NamedTuple):
    """One member as the primary sees it."""

    member: Member
    usage: NodeUsage
    alive: bool
    in_sync: bool
    heartbeat_ms: int
    """Milliseconds since its last heartbeat."""


class HealingStatus(NamedTuple):
    """What the primary does about blocks that are not where they should be."""

    state: str = "idle"
    """``idle``, ``scanning``, ``healing`` or ``rebalancing``."""
    endangered: tuple[int, ...] = ()
    """Blocks with too few copies, by copies left: with 0 (lost), 1, 2, ..."""
    blocks: int = 0
    """Blocks to copy."""
    bytes: int = 0
    bytes_per_second: int = 0
    """Copied and moved of late."""
    seconds_left: int = -1
    """Estimated from that rate; -1: not known."""
    moves: int = 0
    """Blocks that wait for a move to where the ring wants them."""
    move_bytes: int = 0
    corrupt: int = 0
    """Bad copies known and not replaced yet."""
    leaving: tuple[LeavingStatus, ...] = ()
    settled: bool = False
    """Since the members last changed every block was looked at, and none has too few copies now."""


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
    healing: HealingStatus = HealingStatus()
    coordinator_reachable: bool = True
    """From the primary: without it nobody can take over, join or leave."""
    obstacle: str = ""
    """Why the primary serves nothing now; empty: it serves."""


@message(33, StatusReply)
class GetStatus(NamedTuple):
    """Ask the primary for the cluster's state."""


@message(34, ViewReply, peer=True)
class Join(NamedTuple):
    """A node asks the primary to become a member.

    Its ``number`` is 0, or the one under which its journal keeps blocks (``ack = journal``).
    """

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


@message(48, ViewReply)
class SetWeight(NamedTuple):
    """Give a member another share of the ring; superuser. Blocks follow in the background."""

    member: int
    weight: int


@message(49, ViewReply)
class Decommission(NamedTuple):
    """Move all blocks off a member, then let it go; superuser.

    NoSpaceError when the others have no room for what it holds.
    """

    member: int
    cancel: bool = False
    """Keep the member after all."""


@message(50, Empty)
class Rebalance(NamedTuple):
    """Look for blocks that do not lie where the ring wants them, and move them; superuser."""


@message(51, Empty, peer=True)
class Retire(NamedTuple):
    """The primary tells a member that its decommission is done: it holds nothing, and ends."""


@message(40, Empty, peer=True)
class RenewLease(NamedTuple):
    """The primary asks an in-sync backup for its read lease: the backup promises not to take over
    before the lease time has passed since it answered."""


class ReconcileReply(NamedTuple):
    """Where a backup's log ends."""

    applied: int
    """Index of its last entry; -1: it holds no namespace."""
    digest: int
    """Rolling digest of the namespace there."""


@message(41, ReconcileReply, peer=True)
class Reconcile(NamedTuple):
    """A new primary begins: adopt its view, refuse the former one, say where the log ends."""

    view: View


class FetchLogReply(NamedTuple):
    """The payload holds the entries, packed (``memfs.node.log``)."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which no record needs
    """How many; fewer than wanted when the payload is full, 0 when they are not kept any more."""


@message(42, FetchLogReply, peer=True)
class FetchLog(NamedTuple):
    """A new primary fetches entries that another in-sync member has and it lacks."""

    first: int


@message(43, ViewReply)
class ForceRecover(NamedTuple):
    """Make this node the primary of what it holds, though in-sync members are lost; superuser.

    Everything acknowledged that only the lost members knew is gone.
    """

    accept_data_loss: bool


class NodeStateReply(NamedTuple):
    """What any node knows of itself and the cluster, with or without a primary."""

    name: str
    number: int
    """Its member number, 0 while it is no member."""
    role: str
    """``primary``, ``taking over``, ``backup`` or ``member``."""
    view: View | None
    applied: int
    """Index of the last log entry it holds; 0: it holds no namespace."""
    coordinator_reachable: bool
    primary_heard_ms: int
    """Milliseconds since the primary was last heard of; 0 on the primary itself."""
    obstacle: str
    """Why there is no service, as far as this node knows; empty: nothing known."""


@message(44, NodeStateReply)
class GetNodeState(NamedTuple):
    """Ask any node what it knows."""


@message(45, ViewReply)
class HandOver(NamedTuple):
    """Ask the primary to pass its role to an in-sync backup; nodes and the superuser."""

    member: int = 0
    """To whom; 0: whom the primary chooses."""
