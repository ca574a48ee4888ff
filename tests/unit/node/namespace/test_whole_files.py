"""Small files in columns: the short way finds what the long way finds."""

from __future__ import annotations

import pytest

from memfs import limits
from memfs.errors import InvalidArgumentError
from memfs.protocol import messages as m
from memfs.types import ROOT_INODE

from .machine import BLOCK, USERS, Machine
from .oracle import Oracle
from .test_random import command, commit
from .workload import Workload


def agree(machine: Machine, path: bytes, user: str, inline: int) -> None:
    """Both ways say the same of a file, whatever else the batch holds."""
    (whole,) = machine.ask(m.ReadFiles((path,), inline), user).files
    found = machine.query(m.ReadMany((b"/", path, path), inline), user)
    assert found.blocks[1] == found.blocks[2]
    inode, generation, sequence, length, crc, replicas = found.blocks[1]
    if length < 0:
        assert found.others[1] == whole, path
        return
    assert not whole.code and whole.attributes.size == length, path
    if length:
        (ref,) = whole.blocks
        assert ref == (inode, 0, generation, sequence, length, crc, replicas), path


@pytest.mark.parametrize("seed", range(12))
def test_both_ways_find_the_same(seed: int) -> None:
    machine, oracle, workload = Machine(), Oracle(), Workload(seed)
    for _ in range(120):
        command(machine, oracle, workload)
        commit(machine, oracle, workload)
    names = [raw for raw, _ in oracle.every()]
    names += [name + end for name in names for end in (b"/", b"/.", b"/..", b"/none")]
    names += [name.lstrip(b"/") for name in names] + [b"", b"//", b"/\0", b"/" + b"x" * 256]
    for name in names:
        for user in USERS:
            agree(machine, name, user, workload.dice.choice([0, 99, BLOCK]))


def test_usual_files_are_told_of_by_their_blocks() -> None:
    machine = Machine()
    machine.file("/d/f", BLOCK - 1, parents=True)
    machine.file("/d/empty", 0)
    machine.file("/d/large", BLOCK + 1)
    paths = (b"/d/f", b"d/empty", b"/d/large", b"/d/f")
    found = machine.query(m.ReadMany(paths, limits.SMALL_FILE_BYTES))
    assert [block[3] for block in found.blocks] == [BLOCK - 1, 0, -1, BLOCK - 1]
    assert [each.attributes.size for each in found.others] == [BLOCK + 1]
    inode = machine.stat("/d/f").inode
    assert found.blocks[0][:1] == (inode,) != (ROOT_INODE,)


def test_who_may_not_read_is_refused_by_both_ways() -> None:
    machine = Machine()
    machine.file("/open/f", 9, parents=True)
    machine.file("/closed/f", 9, parents=True)
    machine.file("/open/secret", 9)
    machine.run(m.SetAttributes(b"/closed", mode=0o600))
    machine.run(m.SetAttributes(b"/open/secret", mode=0o600))
    for user in USERS:
        for path in (b"/open/f", b"/closed/f", b"/open/secret", b"/closed", b"/closed/none"):
            agree(machine, path, user, 99)


def test_a_batch_has_a_bound_and_a_record_ends() -> None:
    machine = Machine()
    machine.file("/f", 1)
    most = limits.FILES_PER_BATCH
    with pytest.raises(InvalidArgumentError):
        machine.query(m.ReadMany((b"/f",) * (most + 1), 99))
    assert len(machine.query(m.ReadMany((b"/f",) * most, 99)).blocks) == most
    machine.file("/large", 300 * BLOCK)
    found = machine.query(m.ReadMany((b"/large",) * most, 99))
    assert 0 < len(found.blocks) == len(found.others) < most
