"""Which nodes to avoid after a write to a chain of them failed.

A chain says that it failed, not where. So every node of it is suspected, more so each time, and the
next chain avoids the most suspected ones as far as the cluster has others. Pure but for dice.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable


class Suspects:
    """Suspicion of nodes during one write."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._counts: Counter[int] = Counter()

    def blame(self, chain: Iterable[int]) -> None:
        """A write to these nodes failed."""
        self._counts.update(chain)

    def to_avoid(self, members: int, wanted: int) -> list[int]:
        """The most suspected nodes, as many as ``members`` can spare when ``wanted`` are needed."""
        spare = max(0, members - wanted)
        numbers = list(self._counts)
        self._dice.shuffle(numbers)
        return sorted(numbers, key=lambda number: -self._counts[number])[:spare]

    def __bool__(self) -> bool:
        return bool(self._counts)
