"""Quotas: what they count, what they refuse, and that a refusal changes nothing."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from memfs import errors
from memfs.errors import (
    InvalidArgumentError,
    NameQuotaError,
    NotDirectoryError,
    NotPermittedError,
    SpaceQuotaError,
)
from memfs.node.namespace import Namespace
from memfs.node.namespace.tables.inodes import ROOT
from memfs.node.namespace.tables.results import MARK_BYTES
from memfs.protocol import messages as m
from memfs.types import RenameMode

from ..machine import BLOCK, Machine, blocks_of
from ..workload import Workload, step

SNAPSHOT = Path(__file__).parents[1] / "snapshots" / "version-1.snapshot"


def limit(machine: Machine, path: str, names: int | None = None, space: int | None = None) -> None:
    machine.run(m.SetQuota(path.encode(), names, space))


def usage(machine: Machine, path: str) -> tuple[int, int, int, int]:
    return tuple(machine.ask(m.GetQuota(path.encode())))  # type: ignore[return-value]


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.mkdir("/q/d", 0o777)
    machine.mkdir("/out", 0o777)
    machine.run(m.SetAttributes(b"/q", mode=0o777))
    return machine


def test_setting_and_clearing(machine: Machine) -> None:
    assert usage(machine, "/q") == (-1, -1, 2, 0)
    limit(machine, "/q", 10)
    limit(machine, "/q", None, 5 * BLOCK)
    assert usage(machine, "/q") == (10, 5 * BLOCK, 2, 0)
    summary = machine.ask(m.Summarise(b"/q"))
    assert (summary.names_quota, summary.space_quota) == (10, 5 * BLOCK)
    limit(machine, "/q", -1)
    assert usage(machine, "/q")[:2] == (-1, 5 * BLOCK)
    limit(machine, "/q", None, -1)
    assert not machine.namespace.volume.tree.quotas
    limit(machine, "/q", 1)
    machine.run(m.RemoveDirectory(b"/q", recursive=True))
    machine.reclaim()
    assert not machine.namespace.volume.tree.quotas


def test_who_may_limit_what(machine: Machine) -> None:
    machine.file("/q/f", BLOCK)
    with pytest.raises(NotPermittedError):
        machine.run(m.SetQuota(b"/q", 5), "alice")
    machine.run(m.SetQuota(b"/q", 5), "admin")
    with pytest.raises(NotDirectoryError):
        limit(machine, "/q/f", 5)
    for wrong in (-2, 1 << 63):
        with pytest.raises((InvalidArgumentError, errors.ProtocolError)):
            limit(machine, "/q", wrong)
    assert usage(machine, "/q/f") == (-1, -1, 1, 2 * BLOCK)
    machine.run(m.SetAttributes(b"/q", mode=0o700))
    with pytest.raises(errors.AccessDeniedError):
        machine.ask(m.GetQuota(b"/q"), "alice")


class TestNames:
    def test_every_kind_of_name_counts(self, machine: Machine) -> None:
        machine.file("/q/f")
        limit(machine, "/q", 3)
        refused = [
            m.Create(b"/q/d/new"),
            m.MakeDirectory(b"/q/new"),
            m.MakeSymlink(b"/q/new", b"f"),
            m.MakeLink(b"/q/f", b"/q/new"),
        ]
        before = list(machine.namespace.volume.tree.inodes.slots())
        for request in refused:
            with pytest.raises(NameQuotaError, match="quota of 3 names: 3 are used, 1 more"):
                machine.run(request)
        assert list(machine.namespace.volume.tree.inodes.slots()) == before
        machine.run(m.Create(b"/q/f"))  # emptied, no new name
        machine.run(m.Rename(b"/q/f", b"/q/d/g"))
        machine.run(m.Unlink(b"/q/d/g"))
        machine.run(m.MakeDirectory(b"/q/new"))

    def test_a_link_that_replaces_needs_no_name(self, machine: Machine) -> None:
        machine.file("/q/f")
        machine.file("/q/g")
        limit(machine, "/q", 4)
        machine.run(m.MakeSymlink(b"/q/g", b"f", replace=True))
        machine.run(m.MakeLink(b"/q/f", b"/q/g", replace=True))
        assert usage(machine, "/q")[2] == 4
        with pytest.raises(NameQuotaError):
            machine.run(m.MakeLink(b"/q/f", b"/q/new", replace=True))

    def test_missing_directories_count_at_once(self, machine: Machine) -> None:
        limit(machine, "/q", 4)
        with pytest.raises(NameQuotaError):
            machine.file("/q/1/2/f", parents=True)
        assert machine.names("/q") == ["d"]
        with pytest.raises(NameQuotaError):
            machine.run(m.MakeDirectory(b"/q/1/2/3", parents=True))
        machine.run(m.MakeDirectory(b"/q/1/2", parents=True))

    def test_the_nearest_and_all_above_are_asked(self, machine: Machine) -> None:
        limit(machine, "/", 6)
        limit(machine, "/q/d", 1)
        with pytest.raises(NameQuotaError):
            machine.file("/q/d/f")
        machine.file("/q/1")
        machine.file("/q/2")
        with pytest.raises(NameQuotaError):
            machine.file("/out/3")

    def test_links_count_where_they_lie(self, machine: Machine) -> None:
        machine.file("/out/f", BLOCK)
        limit(machine, "/q", 4, 10 * BLOCK)
        machine.run(m.MakeLink(b"/out/f", b"/q/a"))
        machine.run(m.MakeLink(b"/out/f", b"/q/b"))
        assert usage(machine, "/q")[2:] == (4, 0)
        with pytest.raises(NameQuotaError):
            machine.run(m.MakeLink(b"/out/f", b"/q/c"))
        machine.run(m.Unlink(b"/out/f"))
        assert usage(machine, "/q")[2:] == (4, 2 * BLOCK)
        machine.run(m.Unlink(b"/q/a"))
        assert usage(machine, "/q")[2:] == (3, 2 * BLOCK)

    def test_trees_that_move_in(self, machine: Machine) -> None:
        machine.file("/out/t/1/f", BLOCK, parents=True)
        limit(machine, "/q", 4)
        with pytest.raises(NameQuotaError, match="3 more"):
            machine.run(m.Rename(b"/out/t", b"/q/t"))
        limit(machine, "/q", 5)
        machine.run(m.Rename(b"/out/t", b"/q/t"))
        assert usage(machine, "/q")[2] == 5
        machine.run(m.Rename(b"/q/t/1", b"/q/d"))  # inside, though full; onto an empty one
        machine.run(m.Rename(b"/q/d", b"/out/d"))
        assert usage(machine, "/q")[2] == 2

    def test_swapping(self, machine: Machine) -> None:
        machine.file("/out/t/f", BLOCK, parents=True)
        machine.file("/q/x")
        limit(machine, "/q", 3)
        with pytest.raises(NameQuotaError):
            machine.run(m.Rename(b"/q/x", b"/out/t", RenameMode.EXCHANGE))
        with pytest.raises(NameQuotaError):
            machine.run(m.Rename(b"/out/t", b"/q/x", RenameMode.EXCHANGE))
        limit(machine, "/q", 4)
        machine.run(m.Rename(b"/out/t", b"/q/x", RenameMode.EXCHANGE))


class TestSpace:
    def test_commits_that_grow(self, machine: Machine) -> None:
        """What was committed before stays, and the writer goes on."""
        limit(machine, "/q", None, 4 * BLOCK)
        lease = machine.run(m.Create(b"/q/f"))
        inode, generation = lease.attributes.inode, lease.attributes.generation
        machine.run(m.Commit(inode, generation, 2 * BLOCK, blocks_of(inode, generation, 2 * BLOCK)))
        more = blocks_of(inode, generation, 3 * BLOCK, sequence=1)
        with pytest.raises(SpaceQuotaError, match=r"16384 bytes.*16384 are used, 8192 more"):
            machine.run(m.Commit(inode, generation, 3 * BLOCK, more, release=True))
        assert machine.stat("/q/f").size == 2 * BLOCK and machine.stat("/q/f").leased
        assert [ref.sequence for ref in machine.blocks("/q/f")] == [0, 0]
        machine.run(m.Commit(inode, generation, BLOCK))
        limit(machine, "/q", None, 3 * BLOCK)
        machine.run(m.Commit(inode, generation, BLOCK, release=True))

    def test_growth_of_a_linked_file_is_charged_to_its_home(self, machine: Machine) -> None:
        machine.file("/q/f", 0)
        machine.run(m.MakeLink(b"/q/f", b"/out/f"))
        limit(machine, "/q", None, 0)
        lease = machine.run(m.AcquireLease(b"/out/f")).attributes
        with pytest.raises(SpaceQuotaError):
            machine.write(lease, 1)

    def test_replication_counts(self, machine: Machine) -> None:
        machine.file("/q/f", BLOCK)
        limit(machine, "/q", None, 2 * BLOCK)
        with pytest.raises(SpaceQuotaError):
            machine.run(m.SetAttributes(b"/q/f", mode=0o600, replication=3))
        assert machine.stat("/q/f").mode == 0o644
        machine.run(m.SetAttributes(b"/q/f", replication=1))
        with pytest.raises(SpaceQuotaError):
            machine.file("/q/g", BLOCK, replication=2)
        machine.run(m.Unlink(b"/q/g"))

    def test_whole_files(self, machine: Machine) -> None:
        limit(machine, "/q", None, 2 * BLOCK)

        def put(path: bytes, size: int) -> int:
            (inode,) = machine.run(m.ReserveInodes(1)).inodes
            file = m.NewFile(path, inode, size, blocks_of(inode, 1, size), parents=True)
            return machine.run(m.PutFiles((file,))).results[0].code  # type: ignore[no-any-return]

        assert put(b"/q/new/f", BLOCK + 1) == SpaceQuotaError.code
        assert machine.names("/q") == ["d"]
        assert put(b"/q/new/f", BLOCK) == 0
        assert put(b"/q/new/f", BLOCK + 1) == SpaceQuotaError.code
        assert put(b"/q/new/f", BLOCK) == 0  # what it replaces makes room
        assert put(b"/q/new/f", 5) == 0

    def test_concat(self, machine: Machine) -> None:
        for name in ("/q/f", "/out/g", "/q/h"):
            machine.file(name, BLOCK)
        limit(machine, "/q", None, 4 * BLOCK)
        with pytest.raises(SpaceQuotaError):
            machine.run(m.Concat(b"/q/f", (b"/out/g",)))
        machine.run(m.Concat(b"/q/f", (b"/q/h",)))
        assert usage(machine, "/q")[2:] == (3, 4 * BLOCK)

    def test_moves(self, machine: Machine) -> None:
        machine.file("/out/f", 2 * BLOCK)
        machine.file("/q/f", BLOCK)
        limit(machine, "/q", None, 4 * BLOCK)
        with pytest.raises(SpaceQuotaError):
            machine.run(m.Rename(b"/out/f", b"/q/g"))
        machine.run(m.Rename(b"/out/f", b"/q/f"))
        assert usage(machine, "/q")[3] == 4 * BLOCK

    def test_less_than_is_used_only_stops_growth(self, machine: Machine) -> None:
        machine.file("/q/f", 2 * BLOCK)
        limit(machine, "/q", 1, 1)
        machine.run(m.Rename(b"/q/f", b"/q/d/f"))
        machine.run(m.SetAttributes(b"/q/d/f", replication=1))


def test_asking_before_anything_is_made(machine: Machine) -> None:
    machine.file("/q/d/f", BLOCK, replication=2)
    inode = machine.stat("/q/d/f").inode
    limit(machine, "/q", 4, 5 * BLOCK)
    machine.ask(m.Access(b"/q/d", 0, names=1, space=3 * BLOCK))
    machine.ask(m.Access(b"", 0, base=inode, space=3 * BLOCK))
    with pytest.raises(NameQuotaError):
        machine.ask(m.Access(b"/q/d", 0, names=2))
    for path, base in ((b"/q/d", 1), (b"/q/d/f", 1), (b"", inode)):
        with pytest.raises(SpaceQuotaError):
            machine.ask(m.Access(path, 0, base=base, space=3 * BLOCK + 1))
    machine.ask(m.Access(b"/out", 0, names=99, space=99 * BLOCK))


def test_they_survive_a_snapshot(machine: Machine) -> None:
    limit(machine, "/q", 3, 7)
    copy = machine.copy()
    assert usage(copy, "/q") == (3, 7, 2, 0)
    assert list(copy.namespace.snapshot()) == list(machine.namespace.snapshot())


def test_a_snapshot_of_version_1_is_understood() -> None:
    """Taken before there were quotas: the names of links are counted when it is read."""
    machine = Machine(Namespace.restore([SNAPSHOT.read_bytes()]))
    machine.namespace.check_invariants()
    assert (machine.namespace.applied, machine.namespace.digest) == (13, 2963172891)
    assert machine.du("/d") == (9000, 1, 2, 18000)
    assert usage(machine, "/") == (-1, -1, 10, 18020)
    assert usage(machine, "/d")[2] == 5
    machine.run(m.Unlink(b"/d/e/one"), client=2)
    machine.run(m.Unlink(b"/d/e/four"), client=2)
    assert machine.copy().namespace.digest == machine.namespace.digest


GROWN = (NameQuotaError.code, SpaceQuotaError.code)


@pytest.mark.parametrize("seed", range(30))
def test_exactly_what_would_exceed_is_refused(seed: int) -> None:
    """Against a copy of the same state without quotas: it shows what would have happened."""
    machine, workload = Machine(), Workload(5100 + seed)
    dice = random.Random(seed)
    for _ in range(40):
        step(machine, workload)
    refusals = 0
    for _ in range(60):
        limit_some(machine, dice)
        free = machine.copy()
        free.namespace.volume.tree.quotas.clear()
        before = used(machine)
        entry = step(machine, workload)
        results = free.apply(entry).record
        grown = {key for key in before if key in used(free) and exceeds(machine, free, before, key)}
        recorded = machine.namespace.results.get(entry.client, entry.request_id) or b""
        refused = machine_refused(recorded[MARK_BYTES:])
        refusals += refused
        moved = bool(machine.namespace.volume.tree.parents or free.namespace.volume.tree.parents)
        batch = isinstance(results, m.PutFilesReply)
        early = entry.opcode == m.BY_REQUEST[m.CreateDraft].opcode  # for what it will be
        assert moved or batch or early or refused == bool(grown), entry
        assert not refused or used(machine) == before
        if not moved:
            assert all(now <= max(before.get(key, 0), most) for key, now, most in full(machine))
    assert refusals or seed != 1, "a seed in which much is refused"


def machine_refused(outcome: bytes) -> bool:
    return outcome[:1] == b"\1" and any(outcome[1:3] == bytes([0x93, code]) for code in GROWN)


def limit_some(machine: Machine, dice: random.Random) -> None:
    """Give some directory a tight quota."""
    tree = machine.namespace.volume.tree
    slots = [slot for slot in tree.inodes.slots() if tree.inodes.kind[slot] == 1]
    slot = dice.choice([each for each in slots if tree.is_attached(each)])
    totals = tree.directory(slot)
    chosen = (totals.names + dice.randrange(3), totals.space + dice.choice([0, 1, 3]) * BLOCK)
    if slot != ROOT or dice.random() < 0.3:
        tree.quotas[slot] = dice.choice([chosen, (-1, chosen[1]), (chosen[0], -1)])


def used(machine: Machine) -> dict[tuple[int, str], int]:
    """Names and space of all attached directories."""
    tree = machine.namespace.volume.tree
    found: dict[tuple[int, str], int] = {}
    for slot in tree.inodes.slots():
        if tree.inodes.kind[slot] == 1 and tree.is_attached(slot):
            inode = tree.inodes.id_of(slot)
            found[inode, "names"] = tree.directory(slot).names
            found[inode, "space"] = tree.directory(slot).space
    return found


def full(machine: Machine) -> list[tuple[Any, int, int]]:
    tree, now = machine.namespace.volume.tree, used(machine)
    return [
        ((tree.inodes.id_of(slot), which), now[tree.inodes.id_of(slot), which], most)
        for slot, quota in tree.quotas.items()
        for which, most in zip(("names", "space"), quota, strict=True)
        if most >= 0 and (tree.inodes.id_of(slot), which) in now
    ]


def exceeds(
    machine: Machine, free: Machine, before: dict[tuple[int, str], int], key: tuple[int, str]
) -> bool:
    """Would a quota have been exceeded, by growth?"""
    quota = machine.namespace.volume.tree.quotas.get(key[0] & 0xFFFFFFFF)
    if quota is None:
        return False
    most = quota[0] if key[1] == "names" else quota[1]
    return most >= 0 and used(free)[key] > max(before[key], most)


def test_what_cannot_be_linked_is_no_matter_of_quotas(machine: Machine) -> None:
    limit(machine, "/q", 2)
    with pytest.raises(NotPermittedError):
        machine.run(m.MakeLink(b"/out", b"/q/link"))
