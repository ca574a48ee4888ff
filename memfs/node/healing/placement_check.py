"""What one view asks of a block: which copies count, which are missing, which are too many.

Pure: a placement is made from one view and never changes; what is known of bad copies is looked up
at every question. *Balanced* means that the set of members that hold a block is the ring's
placement of its group; the order does not matter. Since the ring is a function of the view alone,
moving blocks there comes to an end.

Invariant (AckedR): what :meth:`PlacementCheck.kept` leaves are copies that count, and as many as
there were up to the number wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from memfs.cluster.ring import Ring
from memfs.node.namespace.state import PlacedBlock
from memfs.protocol.messages import BlockVersion
from memfs.types import BlockRef, View

BadCopies = Mapping[BlockVersion, Collection[int]]
"""Members whose copy of a version is corrupt or missing."""

_NOBODY: frozenset[int] = frozenset()


class PlacementCheck:
    """The demands of one view."""

    def __init__(self, view: View, bad: BadCopies) -> None:
        """``bad`` may change meanwhile."""
        self.ring = Ring(view.members, view.epoch)
        self.members = frozenset(member.number for member in view.members)
        self.most = max(1, len(self.ring.takers))
        """Copies that a block can have."""
        self.departures = any(member.leaving for member in view.members)
        """Is a member on its way out?"""
        self._bad = bad
        self._complete: dict[tuple[tuple[int, ...], int], bool] = {}

    def live(self, ref: BlockRef) -> tuple[int, ...]:
        """The holders that count: members, with a copy that is not known to be bad."""
        bad = self._bad.get(ref.version, _NOBODY) if self._bad else _NOBODY
        return tuple([n for n in ref.replicas if n in self.members and n not in bad])

    def leaving(self, ref: BlockRef) -> tuple[int, ...]:
        """The holders that take nothing more: they give way to others."""
        takers = self.ring.takers
        return tuple([n for n in ref.replicas if n in self.members and n not in takers])

    def wanted(self, replication: int) -> int:
        """Copies of a block that the cluster can and should have."""
        return min(replication, self.most)

    def is_complete(self, block: PlacedBlock) -> bool:
        """Has it the right number of copies, on members? Quick: asked of every block."""
        replicas = block.ref.replicas
        key = (replicas, block.replication)
        known = self._complete.get(key)
        if known is None:
            wanted = self.wanted(block.replication)
            known = len(replicas) == wanted and self.members.issuperset(replicas)
            self._complete[key] = known
        return known and (not self._bad or block.ref.version not in self._bad)

    def missing(self, block: PlacedBlock) -> int:
        """Copies that it lacks."""
        return max(0, self.wanted(block.replication) - len(self.live(block.ref)))

    def targets(self, block: PlacedBlock, exclude: frozenset[int] = frozenset()) -> tuple[int, ...]:
        """The members that should get the missing copies, in other domains than those of the
        existing ones.

        Copies on members that take nothing new any more count, and give way by a move.
        """
        ref = block.ref
        live = self.live(ref)
        wanted = self.wanted(block.replication)
        if len(live) >= wanted:
            return ()
        # A bad copy is dropped and may be made anew where it was.
        return self.ring.extend(ref.inode, group_of(block), live, wanted, exclude)

    def placement(self, block: PlacedBlock) -> tuple[int, ...]:
        """Where the ring wants it."""
        ref = block.ref
        return self.ring.place(ref.inode, group_of(block), self.wanted(block.replication))

    def moves(self, block: PlacedBlock) -> tuple[int, ...]:
        """The members that should hold it and do not, while others do instead."""
        live = self.live(block.ref)
        return tuple([number for number in self.placement(block) if number not in live])

    def staying(self, ref: BlockRef) -> tuple[int, ...]:
        """The holders that count and do not leave."""
        takers = self.ring.takers
        return tuple([number for number in self.live(ref) if number in takers])

    def refuges(self, block: PlacedBlock, full: frozenset[int]) -> tuple[int, ...]:
        """Where a block of leaving members goes that has no room where the ring wants it.

        Empty: enough copies are on members that stay.
        """
        ref = block.ref
        staying, wanted = self.staying(ref), self.wanted(block.replication)
        if len(staying) >= wanted:
            return ()
        return self.ring.extend(ref.inode, group_of(block), staying, wanted, full)

    def kept(self, block: PlacedBlock) -> tuple[int, ...]:
        """Its holders without those that are too many or gone; all of them when none counts.

        Those of the placement stay first, then those that take new copies.
        """
        live = self.live(block.ref)
        if not live:
            return block.ref.replicas
        placement, takers = self.placement(block), self.ring.takers
        order = sorted(live, key=lambda n: (n not in placement, n not in takers))
        chosen = order[: max(1, self.wanted(block.replication))]
        return tuple([number for number in live if number in chosen])


def group_of(block: PlacedBlock) -> int:
    """The placement group of a block, under the inode that it was written for."""
    return block.ref.index // block.group_blocks
