"""The benchmark of the namespace runs, and what must not grow with the size of things does not."""

from __future__ import annotations

import math
import tracemalloc

import pytest

from benchmarks import namespace_memory
from memfs.node.namespace.tables.block_maps import BlockMaps
from memfs.node.namespace.tables.inodes import FILE, Inodes
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


@pytest.mark.parametrize("parts", [b"", b"-12"], ids=["whole", "in parts"])
def test_a_known_object_takes_250_bytes_at_most(parts: bytes) -> None:
    """With a name of 17 bytes and an ETag of S3; nothing at all where nothing was listed."""
    count, page = 20_000, 200
    machine = Machine()
    machine.run(m.Mount(b"/x", "s3://bucket"))
    inode, namespace = machine.stat("/x").inode, machine.namespace

    def learn(numbers: range) -> None:
        objects = tuple(
            m.KnownObject(b"object-%010d" % number, 5, 7, b'"%032x%s"' % (number << 64, parts))
            for number in numbers
        )
        namespace.apply(machine.entry(m.LearnObjects(1, 1, inode, objects)))

    learn(range(page))
    tracemalloc.start()
    try:
        for first in range(page, page + count, page):
            learn(range(first, first + page))
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(machine.names("/x")) and namespace.volume.mounts.tags.count == count + page
    each = grown / count + 91  # its inode, which does not lie in traced memory
    assert each <= 250, f"{each:.0f} bytes"
