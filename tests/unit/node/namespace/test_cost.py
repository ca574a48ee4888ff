"""The benchmark of the namespace runs, and what must not grow with the size of things does not."""

from __future__ import annotations

import math

from benchmarks import namespace_memory
from memfs.node.namespace.blocks import BlockMaps
from memfs.node.namespace.inodes import FILE, Inodes
from memfs.protocol import messages as m

from .machine import BLOCK, Machine, block


def test_the_benchmark_runs() -> None:
    growth, *costs = namespace_memory.measure(600)
    assert math.isfinite(growth), "of this whole process, which may have shrunk meanwhile"
    assert all(math.isfinite(cost) and cost >= 0 for cost in costs)


def test_a_single_block_lies_in_the_row_and_more_in_a_table() -> None:
    machine = Machine()
    machine.file("/one", BLOCK)
    machine.file("/two", 2 * BLOCK)
    assert len(machine.namespace.volume.blocks.tables.items) == 2  # nothing, and that of /two


def test_a_hole_costs_an_empty_chunk() -> None:
    inodes = Inodes()
    maps = BlockMaps(inodes)
    slot = inodes.allocate()
    inodes.fill(slot, FILE, 0, 0, 1, 0, 0)
    discards: list[m.BlockRef] = []
    maps.put(slot, 1 << 20, block(inodes.id_of(slot), 1 << 20), discards)
    (_, table) = maps.tables.items
    assert sum(map(len, table)) == 32 and list(maps.positions(slot)) == [1 << 20]


def test_large_files_are_concatenated_by_chunks() -> None:
    machine = Machine()
    refs = []
    for name, count in (("/a", 300), ("/b", 700), ("/c", 513)):
        machine.file(name, count * BLOCK)
        for first in range(0, count, 500):
            refs += machine.ask(m.GetBlocks(name.encode(), first, 500)).blocks
    machine.run(m.Concat(b"/a", (b"/b", b"/c")))
    found = []
    for first in range(0, 1513, 500):
        found += machine.ask(m.GetBlocks(b"/a", first, 500)).blocks
    assert found == refs
