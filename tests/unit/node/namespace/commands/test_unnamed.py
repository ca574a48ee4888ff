"""Files that are made without a name, as O_TMPFILE does, and get one by MakeLink or go."""

from __future__ import annotations

import pytest

from memfs.errors import (
    AccessDeniedError,
    MemfsError,
    NameQuotaError,
    NotDirectoryError,
    NotPermittedError,
    PathExistsError,
    PathNotFoundError,
    SpaceQuotaError,
    StaleHandleError,
)
from memfs.protocol import messages as m
from memfs.types import Attributes

from ..machine import BLOCK, Machine, blocks_of
from ..test_unlinked import READER, Opened, close


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.opens = Opened()
    machine.mkdir("/d")
    return machine


def made(machine: Machine, user: str = "root", **options: object) -> Attributes:
    return machine.run(m.CreateUnnamed(b"/d", **options), user).attributes  # type: ignore[arg-type, no-any-return]


def write(machine: Machine, file: Attributes, size: int, release: bool = False) -> None:
    refs = blocks_of(file.inode, file.generation, size)
    machine.run(m.Commit(file.inode, file.generation, size, refs, release))


def name(machine: Machine, file: Attributes, path: bytes, user: str = "root") -> Attributes:
    return machine.run(m.MakeLink(b"", path, file.inode), user).attributes  # type: ignore[no-any-return]


def test_it_is_nowhere_and_counts_nowhere(machine: Machine) -> None:
    before = machine.du("/"), machine.stat("/d").modified_ns
    file = made(machine, mode=0o640)
    write(machine, file, 2 * BLOCK)
    assert (file.links, file.mode, file.leased) == (0, 0o640, True)
    assert (machine.du("/"), machine.stat("/d").modified_ns) == before
    assert machine.ask(m.List(b"/d")).entries == ()
    machine.namespace.check_invariants()


def test_it_goes_with_its_lease(machine: Machine) -> None:
    file = made(machine)
    write(machine, file, 2 * BLOCK, release=True)
    assert len(machine.discards) == 2
    with pytest.raises(StaleHandleError):
        machine.ask(m.Lookup(b"", base=file.inode))
    assert machine.namespace.statistics().unlinked == 0
    assert machine.namespace.reclaiming == 0


def test_it_goes_when_nobody_has_it_open(machine: Machine) -> None:
    file = made(machine)
    machine.opens.open(file.inode)  # type: ignore[union-attr]
    write(machine, file, BLOCK, release=True)
    assert machine.ask(m.Lookup(b"", base=file.inode), "root", READER).attributes.size == BLOCK
    close(machine, file.inode)
    assert len(machine.discards) == 1
    machine.namespace.check_invariants()


@pytest.mark.parametrize("released", [True, False], ids=["released", "being written"])
def test_a_name_makes_it_a_file(machine: Machine, released: bool) -> None:
    file = made(machine)
    machine.opens.open(file.inode)  # type: ignore[union-attr]
    write(machine, file, 2 * BLOCK, release=released)
    assert name(machine, file, b"/d/f").links == 1
    if not released:
        write(machine, file, 3 * BLOCK, release=True)
    close(machine, file.inode)
    found = machine.stat("/d/f")
    assert (found.inode, found.size) == (file.inode, (2 if released else 3) * BLOCK)
    assert machine.du("/d")[0] == found.size and machine.discards == []
    machine.namespace.check_invariants()
    assert name(machine, file, b"/d/g").links == 2
    machine.run(m.Unlink(b"/d/f"))
    machine.run(m.Unlink(b"/d/g"))
    assert machine.du("/d")[0] == 0 and len(machine.discards) == (2 if released else 3)
    machine.namespace.check_invariants()


def test_its_first_name_is_the_only_one_that_it_gets_without_one(machine: Machine) -> None:
    file = made(machine)
    name(machine, file, b"/d/f")
    machine.run(m.Unlink(b"/d/f"))  # it is written still
    with pytest.raises(StaleHandleError, match="deleted"):
        name(machine, file, b"/d/g")


def test_without_leave_it_gets_none(machine: Machine) -> None:
    file = made(machine, linkable=False)
    with pytest.raises(StaleHandleError, match="deleted"):
        name(machine, file, b"/d/f")


def test_a_name_that_is_taken_is_not_given(machine: Machine) -> None:
    machine.file("/d/f")
    file = made(machine)
    with pytest.raises(PathExistsError):
        name(machine, file, b"/d/f")
    assert name(machine, file, b"/d/g").links == 1


def test_its_name_may_be_that_of_another_file(machine: Machine) -> None:
    machine.file("/d/f", BLOCK)
    file = made(machine)
    write(machine, file, 2 * BLOCK, release=False)
    named = machine.run(m.MakeLink(b"", b"/d/f", file.inode, replace=True)).attributes
    assert (named.inode, named.links) == (file.inode, 1)
    assert machine.du("/d") == (2 * BLOCK, 1, 1, 4 * BLOCK) and len(machine.discards) == 1
    machine.namespace.check_invariants()


def test_what_it_replaces_makes_room_under_a_quota(machine: Machine) -> None:
    machine.file("/d/f", BLOCK)
    machine.run(m.SetQuota(b"/d", 2, 2 * BLOCK))
    small, large = made(machine), made(machine)
    write(machine, small, BLOCK)
    write(machine, large, BLOCK + 1)
    with pytest.raises(SpaceQuotaError):
        machine.run(m.MakeLink(b"", b"/d/f", large.inode, replace=True))
    machine.run(m.MakeLink(b"/d/f", b"/also"))
    with pytest.raises(SpaceQuotaError):  # what it replaces goes nowhere
        machine.run(m.MakeLink(b"", b"/d/f", small.inode, replace=True))
    machine.run(m.Unlink(b"/also"))
    machine.run(m.MakeLink(b"", b"/d/f", small.inode, replace=True))
    assert machine.stat("/d/f").inode == small.inode


def test_others_name_it_not(machine: Machine) -> None:
    machine.run(m.SetAttributes(b"/d", mode=0o777))
    file = machine.run(m.CreateUnnamed(b"/d"), "alice", 3).attributes
    assert file.owner == "alice"
    with pytest.raises(StaleHandleError):
        machine.run(m.MakeLink(b"", b"/d/f", file.inode), "alice", 4)
    machine.opens.open(file.inode, 3)  # type: ignore[union-attr]
    assert machine.run(m.MakeLink(b"", b"/d/f", file.inode), "alice", 3).attributes.links == 1


@pytest.mark.parametrize(
    "request_, user, error",
    [
        (m.CreateUnnamed(b"/d"), "alice", AccessDeniedError),
        (m.CreateUnnamed(b"/nowhere"), "root", PathNotFoundError),
        (m.CreateUnnamed(b"/f"), "root", NotDirectoryError),
        (m.CreateUnnamed(b"/d", owner="bob"), "alice", NotPermittedError),
    ],
)
def test_where_it_cannot_be_made(
    machine: Machine, request_: m.CreateUnnamed, user: str, error: type[MemfsError]
) -> None:
    machine.file("/f")
    with pytest.raises(error):
        machine.run(request_, user)
    machine.namespace.check_invariants()


def test_its_directory_says_its_group_and_its_list(machine: Machine) -> None:
    machine.run(m.SetAttributes(b"/d", mode=0o2775, group="artists"))
    as_named = machine.run(m.Create(b"/d/f", 0o640)).attributes
    file = made(machine, mode=0o640)
    assert (file.group, file.mode) == (as_named.group, as_named.mode) == ("artists", 0o640)


def test_quotas_count_it_from_its_name_on(machine: Machine) -> None:
    machine.run(m.SetQuota(b"/d", names=2))
    file, other = made(machine), made(machine)
    name(machine, file, b"/d/f")
    with pytest.raises(NameQuotaError):
        name(machine, other, b"/d/g")
    machine.run(m.SetQuota(b"/d", names=-1, space=BLOCK))
    write(machine, other, 4 * BLOCK)
    with pytest.raises(SpaceQuotaError):
        name(machine, other, b"/d/g")
    machine.namespace.check_invariants()


def test_a_limit_of_inodes_counts_it(machine: Machine) -> None:
    machine.run(m.SetAttributes(b"/d", mode=0o777))
    machine.run(m.SetLimit("inodes", "alice", 1))
    file = made(machine, "alice")
    with pytest.raises(NameQuotaError):
        made(machine, "alice")
    name(machine, file, b"/d/f")  # it is counted already


def test_a_snapshot_knows_which_may_get_a_name(machine: Machine) -> None:
    file, other = made(machine), made(machine, linkable=False)
    copy = machine.copy()
    copy.namespace.check_invariants()
    assert list(copy.namespace.snapshot()) == list(machine.namespace.snapshot())
    assert name(copy, file, b"/d/f").links == 1
    with pytest.raises(StaleHandleError):
        name(copy, other, b"/d/g")
