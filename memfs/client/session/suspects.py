"""Which nodes to avoid after a write to a chain of them failed.

A chain says that it failed, not where. So every node of it is suspected, more so each time, and the
next chain avoids the most suspected ones as far as the cluster has others. What one write learns
about silent nodes holds for the next ones of the same client for a while; otherwise each block on
its way to an unreachable node would find that out again. Pure but for randomness.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

REMEMBERED_SECONDS: Final = 30.0
"""As long as a node that no heartbeat reaches may stay in the ring; then it is tried again."""


class Silent:
    """Nodes in replica chains that lately did not answer this client's writes."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._now = monotonic
        self._counts: Counter[int] = Counter()
        self._since: dict[int, float] = {}
        self.version = 0
        """Another one whenever the counts may be others."""

    def blame(self, chain: Iterable[int]) -> None:
        """Note that a write to these nodes was not answered; any of them may be the cause."""
        now = self._now()
        self.version += 1
        for number in chain:
            self._counts[number] += 1
            self._since[number] = now

    def trust(self, chain: Iterable[int]) -> None:
        """All of these nodes answered."""
        if self._counts:
            for number in chain:
                self._forget(number)

    def counts(self) -> Mapping[int, int]:
        """How often each node was blamed within the time that blame is remembered."""
        if self._counts:
            latest = self._now() - REMEMBERED_SECONDS
            for number in [each for each, since in self._since.items() if since < latest]:
                self._forget(number)
        return self._counts

    def _forget(self, number: int) -> None:
        if self._since.pop(number, None) is not None:
            del self._counts[number]
            self.version += 1


class Suspects:
    """Suspicion of nodes during one write."""

    def __init__(self, dice: random.Random, silent: Silent) -> None:
        """``silent``: what earlier writes found out."""
        self._dice = dice
        self._silent = silent
        self._counts: Counter[int] = Counter()

    def blame(self, chain: Iterable[int]) -> None:
        """A write to these nodes failed."""
        self._counts.update(chain)

    def to_avoid(self, members: int, wanted: int) -> list[int]:
        """The most suspected nodes, as many as ``members`` can spare when ``wanted`` are needed."""
        silent = self._silent.counts()
        if not self._counts and not silent:
            return []
        counts = self._counts + Counter(silent)
        spare = max(0, members - wanted)
        numbers = list(counts)
        self._dice.shuffle(numbers)
        return sorted(numbers, key=lambda number: -counts[number])[:spare]
