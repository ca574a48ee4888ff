"""All blocks that files have, one by one, as an observer wants them."""

from __future__ import annotations

from collections.abc import Iterator

from memfs.node.namespace import Namespace, PlacedBlock
from memfs.types import BlockRef


def placed_blocks(namespace: Namespace, page: int = 1000) -> Iterator[PlacedBlock]:
    """Every block of every file, in the order of their files within a page's runs."""
    after: tuple[int, int] | None = (0, 0)
    while after is not None:
        runs, after = namespace.runs(after, page)
        assert sum(len(run.rows) for run in runs) <= page
        for run in runs:
            for row in run.rows:
                yield PlacedBlock(BlockRef(*row, run.replicas), *run[1:4])
