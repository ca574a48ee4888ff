"""Snapshots: exact, frozen, bounded pieces, and no damage goes unnoticed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest

from memfs.errors import ProtocolError
from memfs.node.namespace import Namespace, snapshot
from memfs.node.namespace.containers import slot_map
from memfs.node.namespace.snapshot import PIECE_BYTES
from memfs.node.namespace.tables import inodes
from memfs.node.namespace.tables.directory import LEAF
from memfs.protocol import messages as m

from .machine import BLOCK, Machine, block
from .workload import Workload, run, step


@pytest.fixture(scope="module")
def used() -> Machine:
    """A machine in which every part of the state holds something."""
    machine = run(seed=3, steps=250)
    machine.run(m.SetAttributes(b"/", mode=0o777))
    for name in ("x", "y"):
        machine.file(f"/snap/{name}", 2 * BLOCK, parents=True)
    machine.run(m.Concat(b"/snap/x", (b"/snap/y",)))
    machine.file("/snap/linked", 5)
    machine.run(m.MakeLink(b"/snap/linked", b"/snap/again"))
    machine.run(m.MakeSymlink(b"/snap/link", b"x"))
    machine.run(m.SetXattr(b"/snap/linked", "user.a", b"\0\xff"))
    machine.file("/gone/f", BLOCK, parents=True)
    machine.run(m.RemoveDirectory(b"/gone", recursive=True))
    held = machine.run(m.Create(b"/snap/big"), client=9).attributes
    for first in range(0, 1500, 500):
        refs = tuple(block(held.inode, first + index) for index in range(500))
        machine.run(m.Commit(held.inode, 1, (first + 500) * BLOCK, refs), client=9)
    machine.run(m.Commit(held.inode, 1, 0), client=9)
    machine.run(m.ReserveInodes(3), client=8)
    machine.run(m.ReserveInodes(9), client=7)
    machine.run(m.ExpireSession(7))
    volume = machine.namespace.volume
    assert volume.blocks.dropped and volume.blocks.absorbed and volume.reclaim
    assert volume.tree.parents and volume.tree.xattrs and volume.tree.inodes.free_slots
    return machine


def test_what_is_restored_is_the_same(used: Machine) -> None:
    copy = used.copy().namespace
    copy.check_invariants()
    assert list(copy.snapshot()) == list(used.namespace.snapshot())
    assert (copy.digest, copy.applied, copy.now_ns, copy.settings) == (
        used.namespace.digest,
        used.namespace.applied,
        used.namespace.now_ns,
        used.namespace.settings,
    )
    assert copy.statistics() == used.namespace.statistics()
    assert dict(copy.sessions).keys() == dict(used.namespace.sessions).keys()


@pytest.mark.parametrize("seed", range(12))
def test_a_snapshot_is_of_the_moment_it_was_taken(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several are read by and by while commands go on; what is given up is forgotten."""
    monkeypatch.setattr(inodes, "PART_BITS", 2)
    monkeypatch.setattr(slot_map, "_PART_BITS", 2)
    machine, workload, dice = run(seed, steps=60), Workload(100 + seed), random.Random(seed)
    taken = []
    for number in range(150):
        if number % 30 == 0:
            expected = list(sections_of(machine))
            taken.append((expected, sections_of(machine), list[bytes]()))
            next(sections_of(machine))
        for _, rest, read in taken:
            read += itertools.islice(rest, dice.randrange(3))
        step(machine, workload)
    for expected, rest, read in taken:
        assert [*read, *rest] == expected
    taken.clear()
    del rest
    volume = machine.namespace.volume
    tree = volume.tree
    arenas = (tree.directories, tree.targets, volume.blocks.tables)
    slots = (tree.inodes, tree.inodes.free_slots, tree.acls, tree.parents, volume.mounts.tags)
    assert not any(each.images for each in (*arenas, *slots))


def sections_of(machine: Machine) -> Iterator[bytes]:
    """The sections of a snapshot that is taken now."""
    held = machine.namespace
    image = snapshot.Image(held.volume, held.results, held.applied, held.digest, held.now_ns)
    return snapshot.sections(image)


def test_names_of_a_large_directory_are_those_of_the_moment() -> None:
    """Leaves are lent, not copied: whatever happens to one, the snapshot has the old."""
    machine = Machine()
    namespace = machine.namespace

    def do(*requests: object) -> None:
        for request in requests:
            record = namespace.apply(machine.entry(request)).record
            assert not isinstance(record, m.ErrorReply), record

    do(*[m.MakeDirectory(b"/%06d" % number) for number in range(3 * LEAF)])
    expected = list(namespace.snapshot())
    early, late = namespace.snapshot(), namespace.snapshot()
    read = [next(late)]
    do(*[m.RemoveDirectory(b"/%06d" % number) for number in range(0, 3 * LEAF, 2)])
    do(*[m.Rename(b"/%06d" % at, b"/%06d-" % at) for at in range(1, 3 * LEAF, 10)])
    do(m.Rename(b"/%06d" % 3, b"/%06d" % 5, m.RenameMode.EXCHANGE))
    assert list(early) == expected == [*read, *late]
    namespace.check_invariants()


def test_pieces_are_bounded_and_may_be_cut_anywhere(used: Machine) -> None:
    pieces = list(used.namespace.snapshot())
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
    whole = b"".join(pieces)
    cuts = [whole[at : at + 1000] for at in range(0, len(whole), 1000)]
    assert list(Namespace.restore(cuts).snapshot()) == pieces


def test_large_states_come_in_several_pieces() -> None:
    machine = Machine()
    namespace = machine.namespace
    for batch in range(40):
        inodes = namespace.apply(machine.entry(m.ReserveInodes(256))).record.inodes
        files = [
            m.NewFile(b"/d%d/%06d" % (batch % 3, inode), inode, 0, (), parents=True)
            for inode in inodes
        ]
        namespace.apply(machine.entry(m.PutFiles(tuple(files))))
    pieces = list(namespace.snapshot())
    assert len(pieces) > 1 and max(map(len, pieces)) <= PIECE_BYTES
    copy = Namespace.restore(pieces)
    copy.check_invariants()
    assert copy.statistics().files == 40 * 256


def test_damage_is_noticed(used: Machine) -> None:
    whole = b"".join(used.namespace.snapshot())
    for at in range(0, len(whole), max(1, len(whole) // 300)):
        broken = bytearray(whole)
        broken[at] ^= 0x10
        with pytest.raises(ProtocolError):
            Namespace.restore([bytes(broken)])
        with pytest.raises(ProtocolError):
            Namespace.restore([whole[:at]])
    with pytest.raises(ProtocolError):
        Namespace.restore([whole, b"\0" * 20])
    with pytest.raises(ProtocolError):
        Namespace.restore([])
