"""Messages 32-63: view, membership, and the log on its way to the backups."""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.registry import Empty, Lane, message
from memfs.types import Member, NodeUsage, View


class ViewReply(NamedTuple):
    """The newest view a node knows."""

    view: View


@message(32)
class GetView(NamedTuple):
    """Ask any node for its view."""

    @staticmethod
    def reply() -> type[ViewReply]:
        return ViewReply


class LeavingStatus(NamedTuple):
    """Progress of the decommission of a member."""

    member: int
    blocks: int
    """Blocks still to be moved away."""
    bytes: int
    waiting: str = ""
    """What it waits for besides moves; empty: nothing."""


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
    complete: bool = False
    """Since the members last changed every block was looked at, and none has too few copies now."""
    under_replicated: int = 0
    """Blocks with fewer copies than their files ask for, because there are too few nodes."""
    exposed: tuple[int, ...] = ()
    """Blocks with copies on members that are silent now, by copies elsewhere: 0, 1, 2, ..."""
    no_room: int = 0
    """Of ``blocks``, those that no living node had room for at the last attempt."""


class DepartedMember(NamedTuple):
    """A member that is one no more, and whose name nobody took up again."""

    number: int
    name: str
    host: str
    port: int
    ago_ms: int
    """Milliseconds since it went."""
    reason: str = ""
    """In words, as far as the primary knows it."""


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
    unavailable_reason: str = ""
    """Why the primary serves nothing now; empty: it serves."""
    departed: tuple[DepartedMember, ...] = ()
    """The last to go, the latest first."""
    log_entries: int = 0
    """Log entries that the primary keeps in memory for members that fell behind."""
    log_bytes: int = 0
    """... and their records; both are bounded."""
    security: str = ""
    """Of the primary: ``tls``, ``insecure`` (it believes everybody who reaches it), or ``loopback``
    (so it does, and listens for this host only)."""
    certificate_expires: int = 0
    """When its certificate ends, seconds since the epoch; 0: it has none."""
    bulk: str = ""
    """How its blocks go under TLS: ``tls``, or ``authenticated`` (in clear on proved connections);
    empty: there is no TLS."""


@message(33)
class GetStatus(NamedTuple):
    """Ask the primary for the cluster's state."""

    @staticmethod
    def reply() -> type[StatusReply]:
        return StatusReply


@message(34, peer=True)
class Join(NamedTuple):
    """A node asks the primary to become a member.

    Its ``number`` is 0, or the one under which its journal keeps blocks (``ack = journal``).
    """

    member: Member

    @staticmethod
    def reply() -> type[ViewReply]:
        return ViewReply


@message(35, peer=True)
class Heartbeat(NamedTuple):
    """A member tells the primary that it lives and how full it is."""

    usage: NodeUsage

    @staticmethod
    def reply() -> type[ViewReply]:
        return ViewReply


@message(36, peer=True)
class Leave(NamedTuple):
    """A member asks the primary to be taken out of the view."""

    member: int

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


class ReplicateReply(NamedTuple):
    """How far a backup has applied the log."""

    applied: int
    digest: int


@message(37, peer=True)
class Replicate(NamedTuple):
    """Log entries for a backup, packed in the payload (``memfs.node.log.entries``)."""

    first: int
    """Index of the first entry."""
    count: int  # type: ignore[assignment]  # hides tuple.count, which no record needs
    committed: int

    @staticmethod
    def reply() -> type[ReplicateReply]:
        return ReplicateReply


@message(38, lane=Lane.BULK, peer=True)
class InstallSnapshot(NamedTuple):
    """One piece of a namespace snapshot; the payload holds its bytes."""

    snapshot: int
    """Log index that the snapshot includes."""
    offset: int
    last: bool

    @staticmethod
    def reply() -> type[ReplicateReply]:
        return ReplicateReply


@message(39, peer=True)
class NewView(NamedTuple):
    """The primary tells a member of a new view."""

    view: View

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(48, privileged=True)
class SetWeight(NamedTuple):
    """Give a member another share of the ring; superuser. Blocks follow in the background."""

    member: int
    weight: int

    @staticmethod
    def reply() -> type[ViewReply]:
        return ViewReply


@message(49, privileged=True)
class Decommission(NamedTuple):
    """Move all blocks off a member, then let it go; superuser.

    NoSpaceError when the others have no room for what it holds, or are too few.
    """

    member: int
    cancel: bool = False
    """Keep the member after all."""
    fewer_copies: bool = False
    """Begin although fewer nodes are left than files ask for copies, or have too little room now:
    it waits for room."""

    @staticmethod
    def reply() -> type[ViewReply]:
        return ViewReply


@message(50, privileged=True)
class Rebalance(NamedTuple):
    """Look for blocks that do not lie where the ring wants them, and move them; superuser."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(51, peer=True)
class Retire(NamedTuple):
    """The primary tells a member that its decommission is done: it holds nothing, and ends."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(40, peer=True)
class RenewLease(NamedTuple):
    """The primary asks an in-sync backup for its read lease: the backup promises not to take over
    before the lease time has passed since it answered."""

    committed: int = 0
    """Log index up to which everything is acknowledged: told to who gets no entries now."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


class ReconcileReply(NamedTuple):
    """Where a backup's log ends."""

    applied: int
    """Index of its last entry; -1: it holds no namespace."""
    digest: int
    """Rolling digest of the namespace there."""


@message(41, peer=True)
class Reconcile(NamedTuple):
    """A new primary begins: adopt its view, refuse the former one, say where the log ends."""

    view: View

    @staticmethod
    def reply() -> type[ReconcileReply]:
        return ReconcileReply


class FetchLogReply(NamedTuple):
    """The payload holds the entries, packed (``memfs.node.log.entries``)."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which no record needs
    """How many; fewer than wanted when the payload is full, 0 when they are not kept any more."""


@message(42, peer=True)
class FetchLog(NamedTuple):
    """A new primary fetches entries that another in-sync member has and it lacks."""

    first: int

    @staticmethod
    def reply() -> type[FetchLogReply]:
        return FetchLogReply


@message(43, privileged=True)
class ForceRecover(NamedTuple):
    """Make this node the primary of what it holds, though in-sync members are lost; superuser.

    Everything acknowledged that only the lost members knew is gone.
    """

    accept_data_loss: bool

    @staticmethod
    def reply() -> type[ViewReply]:
        return ViewReply


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
    primary_heartbeat_ms: int
    """Milliseconds since the primary was last heard of; 0 on the primary itself."""
    unavailable_reason: str
    """Why there is no service, as far as this node knows; empty: nothing known."""


@message(44)
class GetNodeState(NamedTuple):
    """Ask any node what it knows."""

    @staticmethod
    def reply() -> type[NodeStateReply]:
        return NodeStateReply


class BoundStatus(NamedTuple):
    """Use of something that is bounded."""

    name: str
    used: int
    """By all together."""
    largest: int
    """By the client who uses most."""
    limit: int
    """Bound per client."""
    total_limit: int
    """Bound for all together."""


class BoundsReply(NamedTuple):
    """The bounds of the node that answers, and those of the namespace if it holds that."""

    bounds: tuple[BoundStatus, ...]


@message(46)
class GetBounds(NamedTuple):
    """Ask any node how much its clients use of what is bounded per client."""

    @staticmethod
    def reply() -> type[BoundsReply]:
        return BoundsReply


class ShareHolder(NamedTuple):
    """Somebody who uses some of what is bounded."""

    who: str
    """A user, a user at an address, or an address."""
    used: int
    limit: int


class ShareUse(NamedTuple):
    """What is bounded for each of them, and who has most of it."""

    name: str
    used: int
    """By all together."""
    limit: int
    """Most for one for whom nothing else is said."""
    total_limit: int
    """Most for all together; 0: there is none."""
    heaviest: tuple[ShareHolder, ...]


class SharesReply(NamedTuple):
    """Of the node that answers, and of the namespace if it is the primary."""

    shares: tuple[ShareUse, ...]


@message(47, privileged=True)
class GetShares(NamedTuple):
    """Ask any node who has most of what it bounds; superuser."""

    heaviest: int = 3
    """How many of each, 16 at most."""

    @staticmethod
    def reply() -> type[SharesReply]:
        return SharesReply


@message(45, privileged=True)
class HandOver(NamedTuple):
    """Ask the primary to pass its role to an in-sync backup; nodes and the superuser."""

    member: int = 0
    """To whom; 0: whom the primary chooses."""

    @staticmethod
    def reply() -> type[ViewReply]:
        return ViewReply


class CapabilityKey(NamedTuple):
    """A key that capabilities are proved with; nodes share it."""

    number: int
    material: bytes
    age_ms: int
    """Since it was made."""

    def __repr__(self) -> str:
        return f"CapabilityKey({self.number:#x})"


class CapabilityKeysReply(NamedTuple):
    """The keys that are good, the newest last; none: blocks need no capabilities."""

    keys: tuple[CapabilityKey, ...]


@message(52, peer=True)
class GetCapabilityKeys(NamedTuple):
    """A node asks the primary for the keys of capabilities."""

    @staticmethod
    def reply() -> type[CapabilityKeysReply]:
        return CapabilityKeysReply
