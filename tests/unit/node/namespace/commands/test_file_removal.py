"""Many files removed by one command: everything is as after removing them one by one."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest

from memfs import limits
from memfs.errors import MemfsError
from memfs.protocol import messages as m
from memfs.types import FileKind

from ..machine import BLOCK, Machine

USERS = ("root", "alice", "bob")


class Opens:
    """Some inodes are open, by anybody."""

    def __init__(self, inodes: Iterable[int]) -> None:
        self._inodes = frozenset(inodes)

    def is_open(self, inode: int) -> bool:
        return inode in self._inodes

    def has_open(self, client: int, inode: int) -> bool:
        return False


def populated(seed: int) -> tuple[Machine, list[str]]:
    """A namespace with every kind of file, and the paths of them all, some by several ways."""
    dice, machine = random.Random(seed), Machine()
    names: list[str] = []
    for number, user in enumerate(USERS):
        directory = f"/{user}"
        machine.mkdir(directory)
        machine.run(m.SetAttributes(directory.encode(), mode=(0o777, 0o1777, 0o755)[number]))
        machine.run(m.SetAttributes(directory.encode(), owner=dice.choice(USERS)))
        machine.run(m.MakeSymlink(f"{directory}/here".encode(), b"."))
        names += [f"{directory}/here", f"{directory}/here/none", f"{directory}/", "/nowhere/x"]
    opened: list[int] = []
    for number in range(40):
        path = f"/{dice.choice(USERS)}/{number:02}"
        names.append(path if dice.random() < 0.9 else path.replace("/", "//", 1))
        kind = make(machine, dice, path)
        machine.run(m.SetAttributes(path.encode(), owner=dice.choice(USERS)))
        if dice.random() < 0.1 and kind in (FileKind.FILE, FileKind.DIRECTORY):
            machine.run(m.SetXattr(path.encode(), "user.a", b"x"))
        if dice.random() < 0.1 and kind != FileKind.DIRECTORY:
            other = f"/{dice.choice(USERS)}/link {number}"
            machine.run(m.MakeLink(path.encode(), other.encode()))
            names.append(other)
        if dice.random() < 0.1:
            opened.append(machine.stat(path, follow=False).inode)
        if dice.random() < 0.1:
            names.append(f"/{dice.choice(USERS)}/here/{number:02}")
    machine.opens = Opens(opened)
    machine.discards.clear()
    if dice.random() < 0.7:
        names.sort(key=lambda name: name.rpartition("/")[0])  # runs of one directory
    else:
        dice.shuffle(names)
    return machine, names


def make(machine: Machine, dice: random.Random, path: str) -> FileKind:
    kind = dice.randrange(8)
    if kind == 0:
        machine.run(m.MakeSymlink(path.encode(), b"/alice"))
    elif kind == 1:
        machine.run(m.MakeNode(path.encode(), int(FileKind.FIFO), 0o600))
    elif kind == 2:
        machine.mkdir(path)
    elif kind == 3:
        machine.run(m.Create(path.encode()), client=7)  # and it stays open for writing
    else:
        machine.file(path, dice.choice((0, 1, BLOCK, 3 * BLOCK)))
    return machine.stat(path, follow=False).kind


def removed(machine: Machine, names: list[str], user: str, *, together: bool) -> list[Any]:
    """Codes and texts of the outcomes."""
    told: list[Any] = []
    for start in range(0, len(names), limits.FILES_PER_COMMAND):
        paths = tuple(name.encode() for name in names[start : start + limits.FILES_PER_COMMAND])
        if together:
            told += machine.run(m.UnlinkMany(paths), user).results
            continue
        for path in paths:
            try:
                machine.run(m.Unlink(path), user)
            except MemfsError as error:
                told.append((error.code, error.message))
            else:
                told.append((0, ""))
    return told


def state(machine: Machine) -> dict[str, Any]:
    """All that one can see, and what decides the numbers of what is made next."""
    volume, namespace = machine.namespace.volume, machine.namespace
    tree = volume.tree
    return {
        "names": [
            (
                user,
                [
                    (entry.name, entry.attributes._replace(modified_ns=0, changed_ns=0, change=0))
                    for entry in machine.ask(m.List(f"/{user}".encode(), b"", 1000)).entries
                ],
            )
            for user in USERS
        ],
        "totals": [machine.du(f"/{user}") for user in USERS],
        "statistics": namespace.statistics()._replace(results=0),
        "free": list(tree.inodes.free_slots),
        "unlinked": sorted(tree.unlinked),
        "owners": tree.owners.by_user(),
        "layouts": dict(zip(tree.layouts.values, tree.layouts.counts, strict=True)),
        "holders": dict(
            zip(volume.blocks.replica_sets.values, volume.blocks.replica_sets.counts, strict=True)
        ),
        "xattrs": tree.xattrs.bytes,
        "discards": machine.discards,
    }


@pytest.mark.parametrize("seed", range(20))
def test_as_one_after_the_other(seed: int) -> None:
    (together, names), (single, same) = populated(seed), populated(seed)
    assert names == same
    user = USERS[seed % len(USERS)]
    outcomes = removed(together, names, user, together=True)
    assert outcomes == removed(single, names, user, together=False)
    assert any(code == 0 for code, _ in outcomes)
    assert state(together) == state(single)


def test_backups_do_the_same(seed: int = 3) -> None:
    """They know of open files what the entries say."""
    machine, names = populated(seed)
    removed(machine, names, "root", together=True)
    backup = Machine(open_to_all=False)
    for entry in machine.log:
        backup.apply(entry)
    assert backup.namespace.digest == machine.namespace.digest
    assert state(backup)["free"] == state(machine)["free"]


def test_a_snapshot_shows_what_was_there() -> None:
    machine, names = populated(5)
    image = machine.namespace.snapshot()
    whole = b"".join(populated(5)[0].namespace.snapshot())
    first = next(image)
    removed(machine, names, "root", together=True)
    assert first + b"".join(image) == whole


def test_a_symlink_that_was_the_way_is_gone_for_those_that_follow() -> None:
    machine = Machine()
    machine.mkdir("/d")
    machine.file("/d/f")
    machine.run(m.MakeSymlink(b"/d/here", b"."))
    paths = (b"/d/here/here", b"/d/here/f", b"/d/f")
    assert [bool(each.code) for each in machine.run(m.UnlinkMany(paths)).results] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("seed", range(5))
def test_a_tree_is_freed_step_by_step(seed: int) -> None:
    dice, (machine, _) = random.Random(seed), populated(seed)
    before = machine.namespace.statistics()
    for user in USERS:
        machine.run(m.RemoveDirectory(f"/{user}".encode(), True))
    assert machine.namespace.statistics().files == 0
    while machine.namespace.reclaiming:
        machine.run(m.Reclaim(dice.randrange(1, 20)))
    after = machine.namespace.statistics()
    kept = len(machine.namespace.unlinked())
    assert after.inodes == 1 + kept < before.inodes
    blocks = machine.namespace.volume.blocks
    assert sum(blocks.replica_sets.counts) == sum(
        len(list(blocks.positions(slot))) for slot in machine.namespace.volume.tree.unlinked
    )
