"""What one view asks of a block: which copies count, which are missing, which are too many.

Pure: a placement is made from one view and never changes; what is known of bad copies is looked up
when a block's *situation* is told, and the questions are asked of that: thousands of blocks share
one. *Balanced* means that the set of members that hold a block is the ring's placement of its
group; the order does not matter. Since the ring is a function of the view alone, moving blocks
there comes to an end.

Invariant (AckedR): what :meth:`PlacementCheck.kept` leaves are copies that count, and as many as
there were up to the number wanted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from memfs.cluster.ring import Ring
from memfs.node.namespace.runs import PlacedBlock, Row, Run
from memfs.protocol.messages import BlockVersion
from memfs.types import View

BadCopies = Mapping[BlockVersion, Collection[int]]
"""Members whose copy of a version is corrupt or missing."""

KNOWN_SITUATIONS = 65_536
"""Positions on the ring whose situations are remembered, 100 B each."""

_NOBODY: frozenset[int] = frozenset()


class Situation(NamedTuple):
    """All that a view asks of blocks depends on."""

    replicas: tuple[int, ...]
    """The holders that the file names."""
    live: tuple[int, ...]
    """Those that count: members, with a copy that is not known to be bad."""
    replication: int
    block_size: int
    group_blocks: int
    placement: tuple[int, ...]
    """Where the ring wants them."""
    epoch: int = 0
    """Of the ring."""


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
        self._known: dict[tuple[object, ...], dict[int, Situation]] = {}
        """Of runs, by their holders and demands: situations by positions on the ring."""
        self._known_count = 0

    # --- situations --------------------------------------------------------------------------

    def situation(self, block: PlacedBlock) -> Situation:
        """That of one block."""
        return self._situation(Run(block.ref.replicas, *block[1:], []), block.ref[:6])

    def alike(self, run: Run) -> dict[Situation, list[Row]]:
        """The blocks of a run by their situations."""
        bad, group_blocks, rows = self._bad, run.group_blocks, run.rows
        known = self._known.setdefault(run[:4], {})
        found: dict[Situation, list[Row]] = {}
        positions = self.ring.positions([(row[0], row[1] // group_blocks) for row in rows])
        for at, row in zip(positions, rows, strict=True):
            situation = known.get(at)
            if bad and row[:4] in bad:
                situation = self._situation(run, row)
            elif situation is None:
                situation = self._remember(known, at, self._situation(run, row))
            alike = found.get(situation)
            if alike is None:
                found[situation] = [row]
            else:
                alike.append(row)
        return found

    def alike_since(self, situation: Situation, run: Run) -> dict[Situation, list[Row]]:
        """As :meth:`alike`, of blocks that were all in one situation before: mostly they are still,
        and where the ring wants each need not be asked."""
        same_run = (situation.replicas, *situation[2:5]) == run[:4]
        if not same_run or self._bad or situation.epoch != self.ring.epoch:
            return self.alike(run)
        if situation.live != tuple([n for n in situation.replicas if n in self.members]):
            return self.alike(run)
        return {situation: run.rows}

    def split(self, run: Run) -> tuple[Run, list[Row]]:
        """A run without the blocks that have bad copies; and these."""
        bad = self._bad
        if not bad or bad.keys().isdisjoint([BlockVersion(*row[:4]) for row in run.rows]):
            return run, []
        bad_ones = [row for row in run.rows if row[:4] in bad]
        return run._replace(rows=[row for row in run.rows if row[:4] not in bad]), bad_ones

    def _situation(self, run: Run, row: Row) -> Situation:
        bad = self._bad.get(BlockVersion(*row[:4]), _NOBODY) if self._bad else _NOBODY
        live = tuple([n for n in run.replicas if n in self.members and n not in bad])
        group = row[1] // run.group_blocks
        placement = self.ring.place(row[0], group, self.wanted(run.replication))
        return Situation(run.replicas, live, *run[1:4], placement, self.ring.epoch)

    def _remember(self, known: dict[int, Situation], at: int, situation: Situation) -> Situation:
        if self._known_count >= KNOWN_SITUATIONS:
            self._known.clear()
            self._known_count = 0
        known[at] = situation
        self._known_count += 1
        return situation

    # --- questions ---------------------------------------------------------------------------

    def wanted(self, replication: int) -> int:
        """Copies of a block that the cluster can and should have."""
        return min(replication, self.most)

    def is_complete(self, replicas: tuple[int, ...], replication: int) -> bool:
        """Is that the right number of copies, on members, if none is bad?"""
        right = len(replicas) == self.wanted(replication)
        return right and self.members.issuperset(replicas)

    def missing(self, situation: Situation) -> int:
        """Copies that it lacks."""
        return max(0, self.wanted(situation.replication) - len(situation.live))

    def targets(
        self, situation: Situation, row: Row, exclude: frozenset[int] = frozenset()
    ) -> tuple[int, ...]:
        """The members that should get the missing copies of a block, in other domains than those of
        the existing ones.

        Copies on members that take nothing new any more count, and give way by a move. A bad copy
        is dropped and may be made anew where it was.
        """
        if not self.missing(situation):
            return ()
        return self._extend(situation, row, situation.live, exclude)

    def moves(self, situation: Situation) -> tuple[int, ...]:
        """The members that should hold it and do not, while others do instead."""
        live = situation.live
        return tuple([number for number in situation.placement if number not in live])

    def leaving(self, situation: Situation) -> tuple[int, ...]:
        """The holders that take nothing more: they give way to others."""
        takers = self.ring.takers
        return tuple([n for n in situation.replicas if n in self.members and n not in takers])

    def staying(self, situation: Situation) -> tuple[int, ...]:
        """The holders that count and do not leave."""
        takers = self.ring.takers
        return tuple([number for number in situation.live if number in takers])

    def refuges(self, situation: Situation, row: Row, full: frozenset[int]) -> tuple[int, ...]:
        """Where a block of leaving members goes that has no room where the ring wants it.

        Empty: enough copies are on members that stay.
        """
        staying = self.staying(situation)
        if len(staying) >= self.wanted(situation.replication):
            return ()
        return self._extend(situation, row, staying, full)

    def kept(self, situation: Situation) -> tuple[int, ...]:
        """Its holders without those that are too many or gone; all of them when none counts.

        Those of the placement stay first, then those that take new copies.
        """
        live, placement, takers = situation.live, situation.placement, self.ring.takers
        if not live:
            return situation.replicas
        order = sorted(live, key=lambda n: (n not in placement, n not in takers))
        chosen = order[: max(1, self.wanted(situation.replication))]
        return tuple([number for number in live if number in chosen])

    def _extend(
        self, situation: Situation, row: Row, held: tuple[int, ...], exclude: frozenset[int]
    ) -> tuple[int, ...]:
        group = row[1] // situation.group_blocks
        wanted = self.wanted(situation.replication)
        return self.ring.extend(row[0], group, held, wanted, exclude)
