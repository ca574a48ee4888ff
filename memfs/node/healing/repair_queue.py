"""The repair queue: blocks that need something, what is under way, and what the last scan counted.

Owns the one answer to "does this block need anything", asked by the scan, after every copy and for
every report; those who do it (:mod:`~memfs.node.healing.copies`,
:mod:`~memfs.node.healing.excess_replicas`) ask again at the moment they act. Everything here may be
forgotten: the next scan finds it anew.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator

from memfs import limits
from memfs.node.healing.corrupt import CorruptCopies
from memfs.node.healing.placement_check import PlacementCheck, Situation
from memfs.node.healing.waiting import WaitingBlocks
from memfs.node.namespace import Namespace, Run
from memfs.node.namespace.runs import Row
from memfs.node.replication.role import NamespaceRole
from memfs.protocol import messages as m
from memfs.types import BlockVersion, View

QUEUED_BLOCKS = 32_768
"""Blocks of one urgency that wait, 300 B each; the next scan finds the others."""
RESCUES = MOVES = limits.REPLICAS_MAX
"""The first queue behind those of 1, 2, ... copies left: moves of blocks that only leaving members
hold. They go first, since a departure may be cut short."""
DEPARTURES = MOVES + 1
"""Moves of blocks that leaving members hold and others as well."""
BALANCING = MOVES + 2
"""All other moves."""


_tuple = tuple.__new__
"""Makes a named tuple in a third of the time that its name takes."""


class CopyBatch:
    """Versions to be copied from one member to another."""

    def __init__(self, source: int, target: int, moving: bool) -> None:
        """``moving``: they have copies enough, elsewhere."""
        self.source = source
        self.target = target
        self.moving = moving
        self.blocks: list[m.CopyBlock] = []
        self.versions: list[m.BlockVersion] = []
        """Their identities."""
        self._situations: list[tuple[int, Situation]] = []
        """From which number on blocks were in which one."""
        self.bytes = 0
        """Bytes to copy."""

    def add(self, situation: Situation, rows: list[Row]) -> list[m.BlockVersion]:
        """Add blocks; returns their identities."""
        layout = situation.block_size, situation.group_blocks
        added = versions_of(rows)
        self._situations.append((len(self.versions), situation))
        self.blocks += [_tuple(m.CopyBlock, row + layout) for row in rows]
        self.versions += added
        self.bytes += length_of(rows)
        return added

    def alike(self, start: int, stop: int) -> Iterator[tuple[Situation, range]]:
        """The blocks from number ``start`` to before ``stop`` by the situations in which they were
        added."""
        ends = [first for first, _ in self._situations[1:]]
        for (first, situation), end in zip(self._situations, [*ends, stop], strict=True):
            if max(first, start) < min(end, stop):
                yield situation, range(max(first, start), min(end, stop))


def versions_of(rows: Iterable[Row]) -> list[m.BlockVersion]:
    """The identities of blocks."""
    return [_tuple(BlockVersion, row[:4]) for row in rows]


def length_of(rows: Iterable[Row]) -> int:
    """Bytes of blocks together."""
    return sum([row[4] for row in rows])


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
        self.moves_left_out = False
        """Only what lacks copies was looked for."""
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

    def moved(self, blocks: int, length: int, from_members: Iterable[int]) -> None:
        """Blocks of ``length`` bytes are where they should be: they have left these members."""
        for number in from_members:
            self.leaving[number] = max(0, self.leaving[number] - length)
            self.leaving_blocks[number] = max(0, self.leaving_blocks[number] - blocks)


class NoRoom:
    """Blocks that no living node had room for: of the last round of attempts and of this one."""

    def __init__(self) -> None:
        self._before = self._now = 0

    def met(self, blocks: int) -> None:
        """Count some more."""
        self._now += blocks

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
        self.queues = [WaitingBlocks() for _ in range(BALANCING + 1)]
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
        self.urgent = True
        """There may be many that lack copies: look for these first."""
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
        corrupt.followers.append(lambda version: self.consider((version,)))
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
            former = frozenset() if placement is None else placement.members
            placement = self._placement = PlacementCheck(view, self.corrupt.copies)
            self.urgent = self.urgent or not placement.members.issuperset(former)
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

    def examine(self, run: Run, placement: PlacementCheck, balance: bool, found: Findings) -> None:
        """Count and queue what blocks need, if anything; with ``balance``, moves too."""
        whole, damaged = placement.split(run)
        if placement.is_complete(run.replicas, run.replication) and not balance:
            copies = run.replicas, run.replicas, run.replication
            self._count_copies(copies, len(whole.rows), placement, found)
            whole = whole._replace(rows=damaged)
        else:
            whole = run
        for situation, rows in placement.alike(whole).items():
            self._examine_alike(situation, rows, placement, balance, found)

    def _examine_alike(
        self,
        situation: Situation,
        rows: list[Row],
        placement: PlacementCheck,
        balance: bool,
        found: Findings,
    ) -> None:
        live, missing = situation.live, placement.missing(situation)
        copies = situation.replicas, live, situation.replication
        self._count_copies(copies, len(rows), placement, found)
        if not placement.ring.takers.issuperset(situation.replicas):
            self._count_leaving(situation, rows, placement, found)
        if missing or not live:
            found.endangered[len(live)] += len(rows)
        if not live:
            for version in versions_of(rows):
                self.corrupt.lost(version, situation.replicas)
            return
        if missing:
            found.blocks += len(rows)
            found.bytes += missing * length_of(rows)
            self._enqueue(len(live) - 1, situation, rows, found)
            return
        if placement.kept(situation) != situation.replicas:
            self._remove_later(situation, rows, placement)
        if balance and placement.moves(situation):
            found.moves += len(rows)
            found.move_bytes += length_of(rows)
            self._enqueue(_urgency(situation, placement), situation, rows, found)

    @property
    def shown(self) -> Findings:
        """The findings to report: of the last complete scan, or of the present one where they are
        more."""
        counting = self.counting
        more = counting is not None and counting.blocks > self.findings.blocks
        return counting if counting is not None and more else self.findings

    def counted_in(self, rows: list[Row]) -> list[tuple[Findings, list[Row]]]:
        """The findings that count blocks under repair, and which of them: the present scan may not
        have reached all of them yet."""
        counting = self.counting
        if counting is None:
            return [(self.findings, rows)]
        queued = counting.queued
        return [(self.findings, rows), (counting, [row for row in rows if row[:4] in queued])]

    def _count_copies(
        self,
        of: tuple[tuple[int, ...], tuple[int, ...], int],
        blocks: int,
        placement: PlacementCheck,
        found: Findings,
    ) -> None:
        """Note what blocks lack that cannot or should not be repaired now. ``of`` them: holders,
        those that count, copies asked for."""
        replicas, live, copies = of
        missing = placement.wanted(copies) > len(live)
        if copies > found.most_copies:
            found.most_copies = copies
        if copies > placement.most and not missing and len(live) < copies:
            found.under_replicated += blocks
        if self.silent and not self.silent.isdisjoint(replicas):
            left = len(live) - len(self.silent.intersection(live))
            if left < min(len(live), copies):
                found.exposed[left] += blocks
                if not missing:
                    found.at_risk += blocks

    def _count_leaving(
        self, situation: Situation, rows: list[Row], placement: PlacementCheck, found: Findings
    ) -> None:
        to_move = bool(placement.moves(situation))
        for number in placement.leaving(situation):
            found.named[number] += len(rows)
            found.leaving_blocks[number] += to_move * len(rows)
            found.leaving[number] += to_move * length_of(rows)

    def consider(self, versions: Iterable[m.BlockVersion]) -> None:
        """Queue versions that lack anything, as they are now. Raises NotPrimaryError."""
        for run in self.namespace.runs_of(versions):
            self.examine(run, self.placement(), True, Findings())

    def consider_doubtful(self, count: int) -> None:
        """Consider up to ``count`` of :attr:`doubtful`. Raises NotPrimaryError."""
        self.consider([self.doubtful.popleft() for _ in range(min(count, len(self.doubtful)))])

    def forget_all(self) -> None:
        """Another node is the primary, and finds all of it anew."""
        if self._placement is None:
            return
        self._placement = None
        self.unbalanced = self.urgent = True
        self.findings = Findings()
        self.silent = frozenset()
        self.excess_replicas.clear()
        self.doubtful.clear()
        self.corrupt.forget_all()
        for queue in self.queues:
            queue.clear()

    def _enqueue(
        self, urgency: int, situation: Situation, rows: list[Row], found: Findings
    ) -> None:
        queue, versions = self.queues[urgency], versions_of(rows)
        new = versions
        if self.in_flight:
            new = [version for version in versions if version not in self.in_flight]
        room = QUEUED_BLOCKS - len(queue)
        if len(new) > room:
            self.overflowed = True
            left_out = frozenset(new[room:])
            new = new[:room]
            versions = [version for version in versions if version not in left_out]
        if new:
            queue.add(situation, new)
            self.wake.set()
        if found is self.counting:
            found.queued.update(versions)

    def give_up(self, versions: Iterable[m.BlockVersion]) -> None:
        """Nothing can, or need be, done about versions that were queued."""
        if self.counting is not None:
            self.counting.queued.difference_update(versions)

    def _remove_later(
        self, situation: Situation, rows: list[Row], placement: PlacementCheck
    ) -> None:
        """List excess replicas for later; names of former members can go at once, since they serve
        no reader."""
        surplus = len(situation.live) > placement.wanted(situation.replication)
        due = self._now() + (self._grace if surplus else 0.0)
        for version in versions_of(rows):
            if len(self.excess_replicas) < QUEUED_BLOCKS:
                self.excess_replicas.setdefault(version, due)


def _urgency(situation: Situation, placement: PlacementCheck) -> int:
    """The queue of blocks that are to be moved."""
    if not placement.leaving(situation):
        return BALANCING
    return DEPARTURES if placement.staying(situation) else RESCUES


def ring_key(view: View) -> object:
    """The part of a view that matters to blocks."""
    return tuple((m.number, m.weight, m.leaving, m.domain) for m in view.members)
