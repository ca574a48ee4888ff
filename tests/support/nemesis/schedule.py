"""Which fault comes next: pure, from a seed.

Faults are dealt like cards: every kind that is possible comes once before any comes again, so that
a run of some length has seen all of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from tests.support.nemesis.faults import FAULTS, Fault, Need


class Schedule:
    """An endless sequence of faults."""

    def __init__(self, seed: int | str, has: Iterable[Need], only: Iterable[str] = ()) -> None:
        """Args: ``has``, what the cluster offers; ``only``, names of the kinds to use.

        Raises ValueError when an ``only`` is unknown or impossible, or nothing is left.
        """
        offered = frozenset(has)
        chosen = list(only) or list(FAULTS)
        unknown = [name for name in chosen if name not in FAULTS]
        if unknown:
            raise ValueError(f"no such fault: {', '.join(unknown)}; known: {', '.join(FAULTS)}")
        self.kinds = [FAULTS[name] for name in chosen if FAULTS[name].needs <= offered]
        if not self.kinds:
            raise ValueError("none of the faults is possible here")
        self.random = random.Random(f"schedule {seed}")
        self._deck: list[Fault] = []

    def next(self) -> Fault:
        """The next fault."""
        if not self._deck:
            self._deck = self.random.sample(self.kinds, len(self.kinds))
        return self._deck.pop()
