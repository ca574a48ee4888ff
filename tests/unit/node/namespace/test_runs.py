"""Runs of blocks: every block of every file once, and those of versions that are current."""

from __future__ import annotations

import pytest

from memfs.protocol import messages as m
from memfs.types import BlockRef, BlockVersion
from tests.support.placed import placed_blocks

from .machine import BLOCK, Machine, blocks_of


def populated() -> tuple[Machine, set[BlockRef]]:
    """Files of no, one and many blocks, with holes, with two names, put together; some are gone."""
    machine = Machine()
    for number, size in enumerate((0, 1, BLOCK, 3 * BLOCK, 700 * BLOCK)):
        machine.file(f"/{number}", size)
        machine.file(f"/gone-{number}", size)
        machine.run(m.Unlink(b"/gone-%d" % number))
    machine.run(m.MakeLink(b"/3", b"/other"))
    machine.file("/first", 2 * BLOCK)
    machine.file("/second", BLOCK)
    machine.run(m.Concat(b"/first", (b"/second",)))
    machine.mkdir("/dir")
    lease = machine.run(m.Create(b"/dir/far")).attributes
    refs = blocks_of(lease.inode, lease.generation, 9 * BLOCK)[5:6]
    machine.run(m.Commit(lease.inode, lease.generation, 9 * BLOCK, refs, release=True))
    paths = ["/0", "/1", "/2", "/3", "/4", "/first", "/dir/far"]
    return machine, {ref for path in paths for ref in machine.blocks(path) if ref.length}


@pytest.mark.parametrize("page", [1, 2, 7, 256, 1000])
def test_every_block_of_every_file_comes_once(page: int) -> None:
    machine, expected = populated()
    found = [placed.ref for placed in placed_blocks(machine.namespace, page)]
    assert len(found) == len(expected) and set(found) == expected


def test_blocks_of_a_deleted_tree_do_not_come() -> None:
    machine, _ = populated()
    machine.run(m.RemoveDirectory(b"/dir", recursive=True))
    far = [placed.ref for placed in placed_blocks(machine.namespace)]
    assert all(machine.namespace.block(ref.version) == ref for ref in far)
    assert len(far) == len(populated()[1]) - 1


def test_of_versions_those_that_are_current_come() -> None:
    machine, expected = populated()
    outdated = [BlockVersion(ref.inode, ref.index, ref.generation, 9) for ref in expected]
    nowhere = [BlockVersion(1 << 40, 0, 1, 0), BlockVersion(0, 0, 0, 0), BlockVersion(1, 0, 1, 0)]
    asked = [ref.version for ref in expected] + outdated + nowhere
    runs = machine.namespace.runs_of(asked)
    found = {BlockRef(*row, run.replicas) for run in runs for row in run.rows}
    assert found == expected
    for run in runs:
        for row in run.rows:
            placed = machine.namespace.placed_block(BlockVersion(*row[:4]))
            assert placed is not None and placed[1:] == run[1:4]
