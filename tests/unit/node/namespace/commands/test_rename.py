"""rename in all its corners."""

from __future__ import annotations

import pytest

from memfs.errors import (
    DirectoryNotEmptyError,
    InvalidArgumentError,
    IsDirectoryError,
    MemfsError,
    NotDirectoryError,
    PathExistsError,
    PathNotFoundError,
    StaleHandleError,
)
from memfs.protocol import messages as m
from memfs.types import RenameMode

from ..machine import BLOCK, Machine

REPLACE, KEEP, EXCHANGE = RenameMode


@pytest.fixture
def machine() -> Machine:
    """/f and /g files, /e an empty directory, /d/s/x a file, /l a symlink to d."""
    machine = Machine()
    machine.file("/f", 5)
    machine.file("/g", 7)
    machine.mkdir("/e")
    machine.file("/d/s/x", BLOCK, parents=True)
    machine.run(m.MakeSymlink(b"/l", b"d"))
    return machine


def rename(machine: Machine, source: str, target: str, mode: int = REPLACE) -> None:
    machine.run(m.Rename(source.encode(), target.encode(), mode))


@pytest.mark.parametrize(
    ("source", "target", "mode", "error"),
    [
        # what does not exist
        ("/x", "/y", REPLACE, PathNotFoundError),
        ("/f", "/x/y", REPLACE, PathNotFoundError),
        ("/f", "/x", EXCHANGE, PathNotFoundError),
        ("/f/x", "/y", REPLACE, NotDirectoryError),
        ("/f", "/g/x", REPLACE, NotDirectoryError),
        # no names to rename
        ("/", "/x", REPLACE, InvalidArgumentError),
        ("/f", "/", REPLACE, InvalidArgumentError),
        ("/d/.", "/x", REPLACE, InvalidArgumentError),
        ("/d/s/..", "/x", REPLACE, InvalidArgumentError),
        ("/e", "/d/.", REPLACE, InvalidArgumentError),
        ("/e", "/d/..", REPLACE, InvalidArgumentError),
        ("/f", "/h", 3, InvalidArgumentError),
        # slashes insist on directories
        ("/f/", "/h", REPLACE, NotDirectoryError),
        ("/f", "/h/", REPLACE, NotDirectoryError),
        ("/l/", "/h", REPLACE, NotDirectoryError),
        # kinds
        ("/f", "/e", REPLACE, IsDirectoryError),
        ("/l", "/e", REPLACE, IsDirectoryError),
        ("/e", "/f", REPLACE, NotDirectoryError),
        ("/e", "/l", REPLACE, NotDirectoryError),
        ("/e", "/d", REPLACE, DirectoryNotEmptyError),
        ("/f", "/d", REPLACE, IsDirectoryError),
        # cycles
        ("/d", "/d/x", REPLACE, InvalidArgumentError),
        ("/d", "/d/s/x", REPLACE, InvalidArgumentError),
        ("/d", "/d/s/x/y", REPLACE, NotDirectoryError),
        ("/d", "/l/x", REPLACE, InvalidArgumentError),
        ("/d", "/d/s/x", EXCHANGE, InvalidArgumentError),
        ("/d/s/x", "/d", EXCHANGE, InvalidArgumentError),
        ("/d/s", "/d", REPLACE, DirectoryNotEmptyError),
        ("/d/s/x", "/d", REPLACE, DirectoryNotEmptyError),
        # keep
        ("/f", "/g", KEEP, PathExistsError),
        ("/f", "/f", KEEP, PathExistsError),
        ("/d", "/e", KEEP, PathExistsError),
        ("/f", "/l", KEEP, PathExistsError),
    ],
)
def test_what_cannot_be_renamed(
    machine: Machine, source: str, target: str, mode: int, error: type[MemfsError]
) -> None:
    before = machine.names("/"), machine.names("/d/s"), machine.du("/")
    with pytest.raises(error):
        rename(machine, source, target, mode)
    assert (machine.names("/"), machine.names("/d/s"), machine.du("/")) == before


def test_a_file_replaces_a_file_at_once(machine: Machine) -> None:
    moved, gone = machine.stat("/f"), machine.stat("/g")
    lost = machine.blocks("/g")
    rename(machine, "/f", "/g")
    assert machine.stat("/g").inode == moved.inode and machine.discards == list(lost)
    with pytest.raises(StaleHandleError):
        machine.ask(m.Lookup(b"", base=gone.inode))
    assert machine.du("/") == (BLOCK + 5, 3, 4, 2 * (BLOCK + 5))


def test_a_writer_of_a_replaced_file_goes_on_out_of_sight(machine: Machine) -> None:
    held = machine.run(m.AcquireLease(b"/g")).attributes
    rename(machine, "/f", "/g")
    inode = machine.stat("/g").inode
    assert machine.write(held, 5).links == 0
    assert machine.stat("/g").inode == inode != held.inode
    with pytest.raises(StaleHandleError):
        machine.write(held, 5)


def test_a_writer_keeps_its_lease_when_the_file_moves(machine: Machine) -> None:
    held = machine.run(m.AcquireLease(b"/f")).attributes
    rename(machine, "/f", "/d/s/y")
    machine.write(held, 99)
    assert machine.stat("/d/s/y").size == 99 and machine.du("/d")[0] == BLOCK + 99


def test_a_directory_replaces_an_empty_one(machine: Machine) -> None:
    rename(machine, "/d", "/e")
    assert machine.names("/e/s") == ["x"] and machine.stat("/").links == 3
    assert machine.du("/e") == (BLOCK, 1, 2, 2 * BLOCK)


def test_directories_carry_their_totals_along(machine: Machine) -> None:
    rename(machine, "/d/s", "/e/t")
    assert machine.du("/d") == (0, 0, 1, 0)
    assert machine.du("/e") == (BLOCK, 1, 2, 2 * BLOCK)
    assert (machine.stat("/d").links, machine.stat("/e").links) == (2, 3)
    assert machine.stat("/e/t/..").inode == machine.stat("/e").inode


def test_the_same_file_under_two_names_stays(machine: Machine) -> None:
    """POSIX: if both name the same file, rename does nothing."""
    machine.run(m.MakeLink(b"/f", b"/e/f"))
    for source, target in (("/f", "/e/f"), ("/f", "/f"), ("/d", "/d"), ("/d/", "/d/")):
        before = machine.stat(source)
        rename(machine, source, target)
        assert machine.stat(source) == before == machine.stat(target)
    rename(machine, "/f", "/e/f", EXCHANGE)
    assert machine.stat("/f").links == 2


def test_symlinks_are_moved_not_followed(machine: Machine) -> None:
    rename(machine, "/l", "/e/l")
    assert machine.stat("/e/l", follow=False).kind == 2
    machine.run(m.MakeSymlink(b"/k", b"f"))
    rename(machine, "/g", "/k")
    assert machine.stat("/k", follow=False).size == 7 and machine.stat("/f").size == 5


def test_keep_moves_where_nothing_is(machine: Machine) -> None:
    rename(machine, "/f", "/e/f", KEEP)
    assert machine.names("/e") == ["f"]


@pytest.mark.parametrize(
    ("one", "other"), [("/f", "/d"), ("/d/s", "/f"), ("/d/s/x", "/e"), ("/d/s", "/e"), ("/f", "/g")]
)
def test_exchange_swaps_anything(machine: Machine, one: str, other: str) -> None:
    first, second = machine.stat(one), machine.stat(other)
    total = machine.du("/")
    rename(machine, one, other, EXCHANGE)
    assert machine.stat(one).inode == second.inode
    assert machine.stat(other).inode == first.inode
    assert machine.du("/") == total and machine.discards == []


def test_slashes_after_directories_are_fine(machine: Machine) -> None:
    rename(machine, "/d/", "/n/")
    rename(machine, "/n", "/e//")
    assert machine.names("/e") == ["s"]


def test_times_of_both_parents_and_change_time_of_what_moved(machine: Machine) -> None:
    before = machine.stat("/f")
    rename(machine, "/f", "/d/s/y")
    now = machine.namespace.applied * 10**9
    assert machine.stat("/").modified_ns == machine.stat("/d/s").modified_ns == now
    moved = machine.stat("/d/s/y")
    assert (moved.changed_ns, moved.modified_ns) == (now, before.modified_ns)
    assert moved.change == machine.namespace.applied == machine.stat("/").change


def test_the_rename_dance_never_makes_a_cycle(machine: Machine) -> None:
    """TreeAcyclic: a/b and b/a asked for at the same time."""
    machine.mkdir("/a")
    machine.mkdir("/b")
    rename(machine, "/a", "/b/a")
    with pytest.raises(PathNotFoundError):
        rename(machine, "/b", "/a/b")
    with pytest.raises(InvalidArgumentError):
        rename(machine, "/b", "/b/a/b")


def test_handles_name_the_base_of_either_path(machine: Machine) -> None:
    source, target = machine.stat("/d/s").inode, machine.stat("/e").inode
    machine.run(m.Rename(b"x", b"y", source_base=source, target_base=target))
    assert machine.names("/e") == ["y"]
