"""The repair queue: blocks that need something, what is under way, and what the last scan counted.

Owns the one answer to "does this block need anything", asked by the scan, after every copy and for
every report; those who do it (:mod:`~memfs.node.healing.copies`,
:mod:`~memfs.node.healing.excess_replicas`) ask again at the moment they act. Everything here may be
forgotten: the next scan finds it anew.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable
from typing import NamedTuple

from memfs import limits
from memfs.node.healing.corrupt import CorruptCopies
from memfs.node.healing.placement_check import PlacementCheck
from memfs.node.namespace.state import Namespace, PlacedBlock
from memfs.node.replication.role import NamespaceRole
from memfs.protocol import messages as m
from memfs.types import BlockRef, View

QUEUED_BLOCKS = 32_768
"""Blocks of one urgency that wait, 300 B each; the next scan finds the others."""
RESCUES = MOVES = limits.REPLICAS_MAX
"""The first queue behind those of 1, 2, ... copies left: moves of blocks that only leaving members
hold. They go first, since a departure may be cut short."""
DEPARTURES = MOVES + 1
"""Moves of blocks that leaving members hold and others as well."""
BALANCING = MOVES + 2
"""All other moves."""

Way = tuple[int, int]
"""A source and a target."""

Queue = OrderedDict[m.BlockVersion, tuple[Way, ...]]
"""Versions, each with the ways of which none was free at the last look; none: look at it."""


class CopyBatch(NamedTuple):
    """Versions to be copied from one member to another."""

    source: int
    target: int
    blocks: list[PlacedBlock]
    moving: bool

    @property
    def bytes(self) -> int:
        """Bytes to copy."""
        return sum(block.ref.length for block in self.blocks)

    @property
    def versions(self) -> list[m.BlockVersion]:
        """Their identities."""
        return [block.ref.version for block in self.blocks]


class Findings:
    """What the last scan found, counted down as it is dealt with."""

    def __init__(self) -> None:
        self.endangered: Counter[int] = Counter()
        """Blocks by copies left; 0: lost."""
        self.under_replicated = 0
        """Blocks that lack copies for lack of nodes alone."""
        self.exposed: Counter[int] = Counter()
        """Blocks with copies on silent members, by copies elsewhere."""
        self.at_risk = 0
        """... that have enough copies as long as no silent member is gone for good."""
        self.most_copies = 0
        """The most that any block should have."""
        self.blocks = 0
        """Blocks with too few copies."""
        self.bytes = 0
        """... and what is to be copied of them."""
        self.moves = 0
        self.move_bytes = 0
        self.leaving: Counter[int] = Counter()
        """Bytes that have to be moved away from members that take nothing more."""
        self.leaving_blocks: Counter[int] = Counter()
        self.named: Counter[int] = Counter()
        """Blocks of which such a member is still named as a holder, moved or not."""
        self.queued: set[m.BlockVersion] = set()
        """While the scan goes on: blocks that it has counted and queued, and that still wait."""

    @property
    def endangered_now(self) -> int:
        """Blocks with fewer copies than wanted, those of silent members not counted."""
        return self.blocks + self.at_risk

    def moved(self, block: PlacedBlock, from_members: Iterable[int]) -> None:
        """A block is where it should be: it has left these members."""
        for number in from_members:
            self.leaving[number] = max(0, self.leaving[number] - block.ref.length)
            self.leaving_blocks[number] = max(0, self.leaving_blocks[number] - 1)


class NoRoom:
    """Blocks that no living node had room for: of the last round of attempts and of this one."""

    def __init__(self) -> None:
        self._before = self._now = 0

    def met(self) -> None:
        """Count one more block."""
        self._now += 1

    def next_round(self) -> None:
        """All blocks will be tried again."""
        self._before, self._now = self._now, 0

    @property
    def blocks(self) -> int:
        """How many."""
        return max(self._before, self._now)


class RepairQueue:
    """The primary's list of blocks that need something."""

    def __init__(self, role: NamespaceRole, corrupt: CorruptCopies, grace_seconds: float) -> None:
        """``grace_seconds``: how long readers may still use a copy that is too many."""
        self.findings = Findings()
        self.counting: Findings | None = None
        """What the scan that goes on has found so far."""
        self.queues: list[Queue] = [OrderedDict() for _ in range(BALANCING + 1)]
        """By urgency: versions with 1, 2, ... copies left, then moves by theirs."""
        self.excess_replicas: OrderedDict[m.BlockVersion, float] = OrderedDict()
        """Versions with surplus copies, and when these may go."""
        self.doubtful: deque[m.BlockVersion] = deque(maxlen=QUEUED_BLOCKS)
        """Versions about to be published with too few copies: to be considered once they are."""
        self.in_flight: dict[m.BlockVersion, CopyBatch] = {}
        self.wake = asyncio.Event()
        """Set when there is something new to do."""
        self.unbalanced = True
        """There may be blocks elsewhere than the ring wants them."""
        self.silent: frozenset[int] = frozenset()
        """Members whose last heartbeat is too old, as of the last look."""
        self.stuck = 0
        """Blocks that could not be helped since the last scan began."""
        self.no_room = NoRoom()
        self.overflowed = False
        """A queue was full: not everything found is queued."""
        self.scan_at = 0.0
        """When the next scan is due."""
        self.corrupt = corrupt
        corrupt.followers.append(self.consider)
        self._role = role
        self._membership = role.membership
        self._grace = grace_seconds
        self._now = self._membership.environment.clock.monotonic
        self._placement: PlacementCheck | None = None
        self._placed_for: object = None
        self._placed_in: View | None = None

    @property
    def leads(self) -> bool:
        """Is this node the primary, and serving?"""
        return self._role.leads

    @property
    def waiting(self) -> int:
        """Blocks that lack copies and are queued."""
        return sum(map(len, self.queues[:MOVES]))

    @property
    def namespace(self) -> Namespace:
        """The primary's. Raises NotPrimaryError."""
        return self._role.primary.namespace

    def placement(self) -> PlacementCheck:
        """The demands of the present view; the same object while nothing about blocks changes."""
        view, placement = self._membership.view, self._placement
        if placement is not None and view is self._placed_in:
            return placement
        self._placed_in = view
        key = ring_key(view)
        if placement is None or key != self._placed_for:
            self._placed_for = key
            placement = self._placement = PlacementCheck(view, self.corrupt.copies)
            self.unbalanced = True
            self.look_again()
        return placement

    @property
    def is_scarce(self) -> bool:
        """Are there fewer nodes than copies that files ask for? Raises NotPrimaryError."""
        return self.placement().most < self.copies_asked_for

    @property
    def copies_asked_for(self) -> int:
        """The most: by default, or of any file that the last scan met. Raises NotPrimaryError."""
        return max(self.namespace.settings.replication, self.findings.most_copies)

    def is_present(self, placement: PlacementCheck) -> bool:
        """Does this placement speak for the present view?"""
        return placement is self._placement and ring_key(self._membership.view) == self._placed_for

    def look_at_members(self) -> None:
        """Count what silent members hold anew as soon as one falls silent, or is back."""
        alive = self._membership.is_alive
        silent = frozenset([number for number in self.placement().members if not alive(number)])
        if silent != self.silent:
            self.silent = silent
            self.look_again()

    def look_again(self) -> None:
        """Scan soon."""
        self.scan_at = 0.0
        self.wake.set()

    def look_for_moves(self) -> None:
        """Scan soon, for misplaced blocks too."""
        self.unbalanced = True
        self.look_again()

    def examine(
        self, block: PlacedBlock, placement: PlacementCheck, balance: bool, found: Findings
    ) -> None:
        """Count and queue what a block needs, if anything; with ``balance``, moves too."""
        complete = placement.is_complete(block)
        self._count_copies(block, placement, found)
        if complete and not balance:
            return
        ref = block.ref
        version = ref.version
        if not complete:
            live, missing = placement.live(ref), placement.missing(block)
            found.endangered[len(live)] += bool(missing or not live)
            if not live:
                self.corrupt.lost(version, ref)
                return
            if missing:
                found.blocks += 1
                found.bytes += missing * ref.length
                self._enqueue(len(live) - 1, version, found)
                return
            if placement.kept(block) != ref.replicas:
                self._remove_later(version, block, placement)
        if balance and placement.moves(block):
            found.moves += 1
            found.move_bytes += ref.length
            self._enqueue(_urgency(ref, placement), version, found)

    @property
    def shown(self) -> Findings:
        """The findings to report: of the last complete scan, or of the present one where they are
        more."""
        counting = self.counting
        more = counting is not None and counting.blocks > self.findings.blocks
        return counting if counting is not None and more else self.findings

    def counted_in(self, version: m.BlockVersion) -> list[Findings]:
        """The findings that count a block under repair: the present scan may not have reached it
        yet."""
        counting = self.counting
        if counting is None or version not in counting.queued:
            return [self.findings]
        return [self.findings, counting]

    def _count_copies(self, block: PlacedBlock, placement: PlacementCheck, found: Findings) -> None:
        """Note what a block lacks that cannot or should not be repaired now. Fast: called for every
        block."""
        replicas, copies = block.ref.replicas, block.replication
        if copies > found.most_copies:
            found.most_copies = copies
        if (
            copies > placement.most
            and not placement.missing(block)
            and len(placement.live(block.ref)) < copies
        ):
            found.under_replicated += 1
        if self.silent and not self.silent.isdisjoint(replicas):
            live = placement.live(block.ref)
            left = len(live) - len(self.silent.intersection(live))
            if left < min(len(live), copies):
                found.exposed[left] += 1
                found.at_risk += not placement.missing(block)
        if not placement.ring.takers.issuperset(replicas):
            self._count_leaving(block, placement, found)

    def _count_leaving(
        self, block: PlacedBlock, placement: PlacementCheck, found: Findings
    ) -> None:
        to_move = bool(placement.moves(block))
        for number in placement.leaving(block.ref):
            found.named[number] += 1
            found.leaving_blocks[number] += to_move
            found.leaving[number] += to_move * block.ref.length

    def consider(self, version: m.BlockVersion) -> None:
        """Queue a version if it lacks anything, as it is now. Raises NotPrimaryError."""
        block = self.namespace.placed_block(version)
        if block is not None:
            self.examine(block, self.placement(), True, Findings())

    def consider_doubtful(self, count: int) -> None:
        """Consider up to ``count`` of :attr:`doubtful`. Raises NotPrimaryError."""
        for _ in range(min(count, len(self.doubtful))):
            self.consider(self.doubtful.popleft())

    def forget_all(self) -> None:
        """Another node is the primary, and finds all of it anew."""
        if self._placement is None:
            return
        self._placement = None
        self.unbalanced = True
        self.findings = Findings()
        self.silent = frozenset()
        self.excess_replicas.clear()
        self.doubtful.clear()
        self.corrupt.forget_all()
        for queue in self.queues:
            queue.clear()

    def _enqueue(self, urgency: int, version: m.BlockVersion, found: Findings) -> None:
        queue, waits = self.queues[urgency], version in self.in_flight
        if not waits and len(queue) < QUEUED_BLOCKS:
            queue[version] = ()
            waits = True
            self.wake.set()
        if not waits:
            self.overflowed = True
        elif found is self.counting:
            found.queued.add(version)

    def give_up(self, version: m.BlockVersion) -> None:
        """Nothing can, or need be, done about a version that was queued."""
        if self.counting is not None:
            self.counting.queued.discard(version)

    def _remove_later(
        self, version: m.BlockVersion, block: PlacedBlock, placement: PlacementCheck
    ) -> None:
        """List excess replicas for later; names of former members can go at once, since they serve
        no reader."""
        surplus = len(placement.live(block.ref)) > placement.wanted(block.replication)
        if len(self.excess_replicas) < QUEUED_BLOCKS:
            self.excess_replicas.setdefault(
                version, self._now() + (self._grace if surplus else 0.0)
            )


def _urgency(ref: BlockRef, placement: PlacementCheck) -> int:
    """The queue of a block that is to be moved."""
    if not placement.leaving(ref):
        return BALANCING
    return DEPARTURES if placement.staying(ref) else RESCUES


def ring_key(view: View) -> object:
    """The part of a view that matters to blocks."""
    return tuple((m.number, m.weight, m.leaving, m.domain) for m in view.members)
