"""In which order a rank sees the items of an epoch.

Pure. Invariant: the same parameters give the same order on every machine and Python, and all ranks
get equally many items.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class EpochOrder:
    """The order of ``size`` items, shuffled by ``seed`` anew in each epoch, for one rank of many.

    Without ``drop_last`` the first items are repeated until all ranks have equally many, and the
    last batch may be short; with it what does not fill a batch on every rank is left out.
    """

    size: int
    batch_size: int
    seed: int | None = 0
    """None: the items' own order."""
    rank: int = 0
    world_size: int = 1
    drop_last: bool = False

    def __post_init__(self) -> None:
        if self.size < 0 or self.batch_size < 1:
            raise ValueError("size must be at least 0 and batch_size at least 1")
        if self.world_size < 1:
            raise ValueError(f"world_size must be at least 1, not {self.world_size}")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank must be from 0 to {self.world_size - 1}, not {self.rank}")

    def batches(self, epoch: int) -> list[list[int]]:
        """The numbers of the items of each batch of this rank."""
        mine = self._items(epoch)[self.rank :: self.world_size]
        return [mine[at : at + self.batch_size] for at in range(0, len(mine), self.batch_size)]

    @property
    def batch_count(self) -> int:
        """Batches of an epoch, for each rank."""
        whole = self.world_size * self.batch_size
        if self.drop_last:
            return self.size // whole
        return -(-self.size // whole)

    def _items(self, epoch: int) -> list[int]:
        """Those of all ranks, dealt out in turn."""
        items = list(range(self.size))
        if self.seed is not None:
            # Python promises the same sequence of random() for a seed, and of no other method.
            random = Random(f"{self.seed}/{epoch}").random
            items.sort(key=lambda _: random())
        if self.drop_last:
            return items[: self.size - self.size % (self.world_size * self.batch_size)]
        missing = -self.size % self.world_size
        repeats = -(-missing // self.size) if self.size else 0
        return items + (items * repeats)[:missing]
