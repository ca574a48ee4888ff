"""What is to be done about blocks: queues, what is under way, and what the last scan counted.

Owns the one answer to "does this block need anything", asked by the scan, after every copy and for
every report; those who do it (:mod:`~memfs.node.healing.copies`, :mod:`~memfs.node.healing.trims`)
ask again at the moment they act. Everything here may be forgotten: the next scan finds it anew.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from typing import NamedTuple

from memfs import limits
from memfs.node.healing.corrupt import CorruptCopies
from memfs.node.healing.judge import Judge
from memfs.node.namespace.state import Namespace, PlacedBlock
from memfs.node.namespace_role import NamespaceRole
from memfs.protocol import messages as m
from memfs.types import View

QUEUED_BLOCKS = 32_768
"""Blocks of one urgency that wait, 300 B each; the next scan finds the others."""
MOVES = limits.REPLICAS_MAX
"""The queue behind those of 1, 2, ... copies left."""

Queue = OrderedDict[m.BlockVersion, None]


class Batch(NamedTuple):
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
        return [m.BlockVersion(*block.ref[:4]) for block in self.blocks]


class Findings:
    """What the last scan found, counted down as it is dealt with."""

    def __init__(self) -> None:
        self.endangered: Counter[int] = Counter()
        """Blocks by copies left; 0: lost."""
        self.blocks = 0
        """Blocks with too few copies."""
        self.bytes = 0
        """... and what is to be copied of them."""
        self.moves = 0
        self.move_bytes = 0
        self.leaving: Counter[int] = Counter()
        """Bytes of blocks on members that are leaving."""
        self.leaving_blocks: Counter[int] = Counter()


class Agenda:
    """The primary's list of blocks that need something."""

    def __init__(self, role: NamespaceRole, corrupt: CorruptCopies, grace_seconds: float) -> None:
        """``grace_seconds``: how long readers may still use a copy that is too many."""
        self.findings = Findings()
        self.queues: list[Queue] = [OrderedDict() for _ in range(MOVES + 1)]
        """By urgency: versions with 1, 2, ... copies left, then moves."""
        self.trims: OrderedDict[m.BlockVersion, float] = OrderedDict()
        """Versions with surplus copies, and when these may go."""
        self.doubtful: deque[m.BlockVersion] = deque(maxlen=QUEUED_BLOCKS)
        """Versions about to be published with too few copies: to be considered once they are."""
        self.in_flight: dict[m.BlockVersion, Batch] = {}
        self.wake = asyncio.Event()
        """Set when there is something new to do."""
        self.unbalanced = True
        """There may be blocks elsewhere than the ring wants them."""
        self.stuck = 0
        """Blocks that could not be helped since the last scan began."""
        self.overflowed = False
        """A queue was full: not everything found is queued."""
        self.scan_at = 0.0
        """When the next scan is due."""
        self.corrupt = corrupt
        self._role = role
        self._membership = role.membership
        self._grace = grace_seconds
        self._now = self._membership.environment.clock.monotonic
        self._judge: Judge | None = None
        self._judged: object = None

    @property
    def leads(self) -> bool:
        """Is this node the primary, and serving?"""
        return self._role.leads

    @property
    def namespace(self) -> Namespace:
        """The primary's. Raises NotPrimaryError."""
        return self._role.primary.namespace

    def judge(self) -> Judge:
        """The demands of the present view; the same object while nothing about blocks changes."""
        view = self._membership.view
        assert view is not None, "the primary has a view"
        key = ring_key(view)
        if self._judge is None or key != self._judged:
            self._judged = key
            self._judge = Judge(view, self.corrupt.copies)
            self.unbalanced = True
            self.look_again()
        return self._judge

    def is_present(self, judge: Judge) -> bool:
        """Does this judge speak for the present view?"""
        view = self._membership.view
        return judge is self._judge and view is not None and ring_key(view) == self._judged

    def look_again(self) -> None:
        """Scan soon."""
        self.scan_at = 0.0
        self.wake.set()

    def look_for_moves(self) -> None:
        """Scan soon, for misplaced blocks too."""
        self.unbalanced = True
        self.look_again()

    def examine(self, block: PlacedBlock, judge: Judge, balance: bool, found: Findings) -> None:
        """Count and queue what a block needs, if anything; with ``balance``, moves too."""
        complete = judge.is_complete(block)
        if complete and not balance:
            return
        ref = block.ref
        version = m.BlockVersion(*ref[:4])
        if not complete:
            live, missing = judge.live(ref), judge.missing(block)
            found.endangered[len(live)] += bool(missing or not live)
            if not live:
                self.corrupt.lost(version, ref)
                return
            if missing:
                found.blocks += 1
                found.bytes += missing * ref.length
                self._enqueue(len(live) - 1, version)
                return
            if judge.kept(block) != ref.replicas:
                self._trim_later(version, block, judge)
        if balance and judge.moves(block):
            found.moves += 1
            found.move_bytes += ref.length
            self._enqueue(MOVES, version)
        for number in ref.replicas:
            if number not in judge.ring.takers:
                found.leaving[number] += ref.length
                found.leaving_blocks[number] += 1

    def consider(self, version: m.BlockVersion) -> None:
        """Queue a version if it lacks anything, as it is now. Raises NotPrimaryError."""
        block = self.namespace.placed_block(version)
        if block is not None:
            self.examine(block, self.judge(), True, Findings())

    def consider_doubtful(self, count: int) -> None:
        """Consider up to ``count`` of :attr:`doubtful`. Raises NotPrimaryError."""
        for _ in range(min(count, len(self.doubtful))):
            self.consider(self.doubtful.popleft())

    def forget_all(self) -> None:
        """Another node is the primary, and finds all of it anew."""
        if self._judge is None:
            return
        self._judge = None
        self.unbalanced = True
        self.findings = Findings()
        self.trims.clear()
        self.doubtful.clear()
        self.corrupt.forget_all()
        for queue in self.queues:
            queue.clear()

    def _enqueue(self, urgency: int, version: m.BlockVersion) -> None:
        queue = self.queues[urgency]
        if version in self.in_flight:
            return
        if len(queue) < QUEUED_BLOCKS:
            queue[version] = None
            self.wake.set()
        else:
            self.overflowed = True

    def _trim_later(self, version: m.BlockVersion, block: PlacedBlock, judge: Judge) -> None:
        """Members that are gone serve no reader: only their names go, and at once."""
        surplus = len(judge.live(block.ref)) > judge.wanted(block.replication)
        if len(self.trims) < QUEUED_BLOCKS:
            self.trims.setdefault(version, self._now() + (self._grace if surplus else 0.0))


def ring_key(view: View) -> object:
    """What of a view matters to blocks."""
    return tuple((m.number, m.weight, m.leaving, m.domain) for m in view.members)
