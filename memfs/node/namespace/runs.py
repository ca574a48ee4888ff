"""Blocks by the run: those of one page that have the same holders and the same demands.

What is asked of all blocks, scans for healing, is answered a run at a time: a block costs a row, no
object. Pure: reads only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from memfs.node.namespace.tables.inodes import FILE, ROOT
from memfs.node.namespace.tables.tree import Tree
from memfs.node.namespace.tables.volume import Volume
from memfs.protocol.messages import BlockVersion
from memfs.types import BlockRef

Row = tuple[int, int, int, int, int, int]
"""inode, index, generation, sequence, length, CRC"""

_SLOTS_PER_BLOCK = 4
"""Slots that a page looks at for each block that it may hold; a page may be empty where many inodes
in a row have no blocks."""


class PlacedBlock(NamedTuple):
    """A block with what is needed to re-replicate it."""

    ref: BlockRef
    replication: int
    block_size: int
    group_blocks: int


class Run(NamedTuple):
    """Blocks with what is needed to re-replicate them, which they have in common."""

    replicas: tuple[int, ...]
    """Members that hold them."""
    replication: int
    block_size: int
    group_blocks: int
    rows: list[Row]
    """The blocks."""


_Rows = dict[tuple[int, int], list[Row]]
"""By the numbers of replica set and layout."""


def page(
    volume: Volume, after: tuple[int, int], limit: int
) -> tuple[list[Run], tuple[int, int] | None]:
    """Up to ``limit`` blocks of all files, and where the next page begins (None: the end).

    ``after`` is (0, 0) or what the last page returned: a slot, and a position in its file.
    """
    inodes = volume.tree.inodes
    rows: _Rows = {}
    is_alive = _Liveness(volume.tree)
    directory, attached = -1, False
    found = 0
    first, position = max(after[0], ROOT), after[1]
    end = min(first + _SLOTS_PER_BLOCK * limit, inodes.used)
    for slot, (kind, parent, extra, own) in enumerate(inodes.headers(first, end), first):
        if kind != FILE or not (extra or own[6]):
            continue
        if parent != directory or not is_alive.by_directory:
            directory, attached = parent, is_alive(slot, parent)
        if not attached:
            continue
        if found >= limit:
            return _runs(volume, rows), (slot, 0)
        incarnation, layout, generation, sequence, length, crc, replicas = own
        if not extra:
            row = incarnation << 32 | slot, 0, generation, sequence, length, crc
            rows.setdefault((replicas, layout), []).append(row)
            found += 1
            continue
        for at in volume.blocks.positions(slot, position if slot == first else 0):
            if found >= limit:
                return _runs(volume, rows), (slot, at)
            several = volume.blocks.row(slot, at)
            assert several is not None, "a position that is no hole"
            rows.setdefault((several[6], layout), []).append(several[:6])
            found += 1
    return _runs(volume, rows), None if end >= inodes.used else (end, 0)


def of_versions(volume: Volume, versions: Iterable[BlockVersion]) -> list[Run]:
    """Those of the versions that files refer to."""
    rows: _Rows = {}
    for _, _, layout, row in volume.blocks.find_rows(versions):
        if row is not None:
            rows.setdefault((row[6], layout), []).append(row[:6])
    return _runs(volume, rows)


def _runs(volume: Volume, rows: _Rows) -> list[Run]:
    sets, layouts = volume.blocks.replica_sets.values, volume.tree.layouts.values
    found = []
    for (replicas, layout), each in rows.items():
        block_size, group_blocks, replication = layouts[layout]
        found.append(Run(sets[replicas], replication, block_size, group_blocks, each))
    return found


class _Liveness:
    """As ``Tree.is_alive``, of many files: a directory is looked at once."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.by_directory = not (tree.parents or tree.unlinked or tree.nameless)
        """Has every file exactly one name? Those of one directory are alive together."""
        self._attached: dict[int, bool] = {}

    def __call__(self, slot: int, parent: int) -> bool:
        if not self.by_directory:
            return self._tree.is_alive(slot)
        known = self._attached.get(parent)
        if known is None:
            known = self._attached[parent] = self._tree.is_attached(parent)
        return known
