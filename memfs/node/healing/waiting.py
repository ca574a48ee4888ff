"""Blocks that wait to be copied, by their situations: thousands are decided about at once.

Pure. Invariant: no situation without blocks, and the count is that of all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from memfs.node.healing.placement_check import Situation
from memfs.protocol.messages import BlockVersion

Way = tuple[int, int]
"""A source and a target."""


class WaitingBlocks:
    """Blocks of one urgency; those of a situation come in the order in which they were found."""

    def __init__(self) -> None:
        self.ways: dict[Situation, tuple[Way, ...]] = {}
        """Of situations of which none was free at the last look: look at others first."""
        self._versions: dict[Situation, dict[BlockVersion, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def situations(self) -> list[Situation]:
        """Those in which blocks are, the oldest first."""
        return list(self._versions)

    def first(self, situation: Situation, count: int) -> list[BlockVersion]:
        """The first blocks of a situation."""
        return list(islice(self._versions.get(situation, ()), count))

    def add(self, situation: Situation, versions: Iterable[BlockVersion]) -> None:
        """Let blocks wait, behind those that do."""
        there = self._versions.setdefault(situation, {})
        before = len(there)
        there.update(dict.fromkeys(versions))
        self._count += len(there) - before
        if not there:
            del self._versions[situation]

    def remove(self, situation: Situation, versions: Iterable[BlockVersion]) -> None:
        """They wait no more, if they did."""
        there = self._versions.get(situation)
        if there is None:
            return
        before = len(there)
        for version in versions:
            there.pop(version, None)
        self._count -= before - len(there)
        if not there:
            del self._versions[situation]
            self.ways.pop(situation, None)

    def clear(self) -> None:
        """Nothing waits."""
        self._versions.clear()
        self.ways.clear()
        self._count = 0
