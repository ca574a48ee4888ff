"""Removing and counting trees that hold what is not the caller's: as ``rm -r`` and ``du`` may."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from memfs import limits
from memfs.errors import (
    AccessDeniedError,
    InvalidArgumentError,
    MemfsError,
    NotPermittedError,
)
from memfs.node.namespace.rules import subtrees
from memfs.node.namespace.tables.directory import Entries
from memfs.protocol import messages as m
from memfs.types import AclEntry, RenameMode

from ..machine import USERS, Machine

UIDS = {"root": 0, "alice": 64001, "bob": 64002, "carol": 64003}
Tree = dict[str, tuple[int, str]]
TREES: dict[str, Tree] = {
    "own": {"d/": (0o755, "alice"), "d/e/": (0o700, "alice"), "d/e/f": (0o600, "alice")},
    "home of another": {
        "d/": (0o777, "alice"),
        "d/b/": (0o700, "bob"),
        "d/b/thesis": (0o600, "bob"),
    },
    "empty home of another": {"d/": (0o777, "alice"), "d/b/": (0o700, "bob")},
    "file of another": {"d/": (0o755, "alice"), "d/f": (0o600, "bob")},
    "sticky, own name": {"d/": (0o1777, "root"), "d/f": (0o644, "alice")},
    "sticky, other's name": {"d/": (0o1777, "root"), "d/f": (0o666, "bob")},
    "sticky below": {
        "d/": (0o777, "alice"),
        "d/t/": (0o1777, "bob"),
        "d/t/f": (0o666, "bob"),
    },
    "sticky and own": {"d/": (0o1777, "alice"), "d/f": (0o600, "bob")},
    "own but read-only": {
        "d/": (0o755, "alice"),
        "d/e/": (0o500, "alice"),
        "d/e/f": (0o600, "bob"),
    },
    "open to all": {"d/": (0o777, "bob"), "d/e/": (0o777, "bob"), "d/e/f": (0o600, "bob")},
    "one level too deep": {
        "d/": (0o777, "bob"),
        "d/e/": (0o777, "bob"),
        "d/e/g/": (0o755, "bob"),
        "d/e/g/f": (0o666, "bob"),
    },
    "unreadable": {"d/": (0o777, "bob"), "d/e/": (0o773, "bob"), "d/e/f": (0o666, "bob")},
}


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that every user can reach."""
    path = Path(tempfile.mkdtemp(prefix="memfs-subtrees-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def built(tree: Tree) -> Machine:
    machine = Machine()
    for name, (mode, owner) in tree.items():
        path = f"/{name}"
        if name.endswith("/"):
            machine.mkdir(path, 0o777)
        else:
            machine.file(path)
        machine.run(m.SetAttributes(path.encode(), mode=mode, owner=owner))
    return machine


def build_local(tree: Tree, top: Path) -> None:
    for name, (mode, owner) in tree.items():
        path = top / name
        if name.endswith("/"):
            path.mkdir()
        else:
            path.touch()
        os.chown(path, UIDS[owner], 0)
        path.chmod(mode)


def runs(command: list[str], user: str) -> bool:
    uid = UIDS[user]
    done = subprocess.run(
        command, user=uid, group=uid, extra_groups=[], capture_output=True, check=False
    )
    return done.returncode == 0


@pytest.mark.parametrize("name", TREES)
def test_a_tree_is_removed_and_counted_by_whom_linux_would_let(name: str, scratch: Path) -> None:
    for user in ("alice", "carol"):
        build_local(TREES[name], scratch)
        machine = built(TREES[name])
        before = machine.du("/")
        counted = runs(["du", "-s", str(scratch / "d")], user)
        removed = runs(["rm", "-rf", str(scratch / "d")], user)
        assert allowed(machine, m.Summarise(b"/d"), user) is counted, user
        assert allowed(machine, m.RemoveDirectory(b"/d", recursive=True), user) is removed, user
        assert removed or machine.du("/") == before, "a refused removal keeps everything"
        shutil.rmtree(scratch / "d", ignore_errors=True)


def allowed(machine: Machine, request: object, user: str) -> bool:
    try:
        if isinstance(request, m.Summarise):
            machine.ask(request, user)
        else:
            machine.run(request, user)
    except PermissionError:
        return False
    return True


def test_the_refusal_names_the_directory_that_refuses() -> None:
    machine = built(TREES["home of another"])
    with pytest.raises(AccessDeniedError, match="/d/b"):
        machine.run(m.RemoveDirectory(b"/d/", recursive=True), "alice")
    with pytest.raises(AccessDeniedError, match="/d/b"):
        machine.ask(m.Summarise(b"/d"), "alice")


def test_guards_follow_moves_new_owners_modes_and_lists() -> None:
    """The machine recounts after every command; here each way to change them is taken."""
    machine = built(TREES["home of another"])
    machine.mkdir("/d/b/c", 0o700)
    machine.mkdir("/other", 0o711)
    moved = RenameMode.EXCHANGE
    for request in (
        m.SetAttributes(b"/d/b", owner="alice"),
        m.SetAttributes(b"/d/b/c", mode=0o500),
        m.Rename(b"/d/b", b"/other/b"),
        m.Rename(b"/d", b"/other/b", mode=moved),
        m.SetAttributes(b"/", owner="bob"),
        m.ChangeAcl(b"/d", m.AclChange.MODIFY, (AclEntry(0, "carol", 7),)),
        m.ChangeAcl(b"/d", m.AclChange.MODIFY, (AclEntry(0, "bob", 5, True),)),
        m.MakeDirectory(b"/d/x/y", parents=True),
        m.ChangeAcl(b"/d", m.AclChange.REMOVE_ALL),
        m.RemoveDirectory(b"/other", recursive=True),
    ):
        machine.run(request)
    machine.copy().namespace.check_invariants()


def test_a_directory_is_given_away_without_a_look_at_its_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The machine recounts after every command."""
    machine = Machine()
    machine.mkdir("/d", 0o777, "alice")
    for number, user in enumerate(("alice", "alice", "bob", "carol", "bob")):
        for mode in (0o755, 0o500):
            machine.mkdir(f"/d/{number}-{mode}", mode, user)
    copied = machine.copy()

    def looked(_: Entries) -> None:
        raise AssertionError("the names were looked at")

    monkeypatch.setattr(Entries, "items", looked)
    for each in (machine, copied):
        for user in ("bob", "root", "carol", "bob", "alice"):
            each.run(m.SetAttributes(b"/d", owner=user))
        each.run(m.SetAttributes(b"/", owner="alice"))
        assert each.namespace.volume.tree.directory(2).open_others == {"bob": 2, "carol": 1}


def test_a_tree_of_one_owner_costs_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    for number in range(40):
        machine.run(m.MakeDirectory(b"/d/%d" % number, 0o755, parents=True), "alice")
    monkeypatch.setattr(limits, "SUBTREE_STEPS", 40)
    machine.ask(m.Summarise(b"/d"), "carol")
    machine.run(m.SetAttributes(b"/d/7", mode=0o711))
    machine.ask(m.Summarise(b"/d"), "alice")
    with pytest.raises(InvalidArgumentError, match="one by one"):
        machine.ask(m.Summarise(b"/d"), "carol")
    machine.run(m.RemoveDirectory(b"/d", recursive=True), "alice")


def test_the_walk_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    machine.mkdir("/d", 0o777)
    for number in range(40):
        machine.mkdir(f"/d/{number}", 0o777)
    machine.run(m.SetAttributes(b"/d/7", owner="bob"))
    monkeypatch.setattr(limits, "SUBTREE_STEPS", 40)
    with pytest.raises(MemfsError, match="one by one"):
        machine.run(m.RemoveDirectory(b"/d", recursive=True), "alice")
    monkeypatch.undo()
    machine.run(m.RemoveDirectory(b"/d", recursive=True), "alice")


def crowd(directory: str, names: int, user: str = "alice") -> Machine:
    """Names of ``user`` in a directory of bob's that is sticky."""
    machine = Machine()
    machine.mkdir(directory, 0o777)
    for number in range(names):
        machine.run(m.MakeSymlink(b"%s/%03d" % (directory.encode(), number), b"x"), user)
    machine.run(m.SetAttributes(b"/d", mode=0o777))
    machine.run(m.SetAttributes(directory.encode(), mode=0o1777, owner="bob"))
    return machine


@pytest.mark.parametrize("directory", ["/d", "/d/s"])
def test_however_many_names_a_sticky_directory_has_is_known_without_looking_at_them(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = crowd(directory, 100)
    monkeypatch.setattr(limits, "SUBTREE_STEPS", 40)
    machine.ask(m.CheckRemoval(b"/d"), "alice")
    machine.ask(m.CheckRemoval(b"/d", deep=False), "alice")
    with pytest.raises(NotPermittedError, match=f'parent="{directory}":bob'):
        machine.ask(m.CheckRemoval(b"/d"), "carol")
    machine.run(m.RemoveDirectory(b"/d", recursive=True), "alice")
    machine.reclaim()


def test_one_name_of_somebody_else_keeps_a_sticky_directory_though_nobody_comes_across_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = crowd("/d", 20)
    machine.run(m.MakeSymlink(b"/d/zz", b"x"), "carol")
    with pytest.raises(NotPermittedError, match="/d/zz"):
        machine.run(m.RemoveDirectory(b"/d", recursive=True), "alice")
    monkeypatch.setattr(subtrees, "_NAMED", 10)
    with pytest.raises(NotPermittedError, match="user=alice, names of others: 1, parent="):
        machine.run(m.RemoveDirectory(b"/d", recursive=True), "alice")
    machine.run(m.Unlink(b"/d/zz"), "carol")
    machine.run(m.RemoveDirectory(b"/d", recursive=True), "alice")


def test_whose_names_are_is_known_whatever_becomes_of_them() -> None:
    """The machine recounts after every command; here each way to change it is taken."""
    machine = Machine()
    machine.mkdir("/d", 0o777, "alice")
    machine.mkdir("/e", 0o777, "bob")
    for user in ("alice", "bob", "carol"):
        machine.file(f"/d/{user}", 0, user)
        machine.mkdir(f"/d/{user}-d", 0o777, user)
    for request in (
        m.MakeLink(b"/d/bob", b"/e/1"),
        m.MakeLink(b"/d/bob", b"/d/2"),
        m.SetAttributes(b"/d/bob", owner="carol"),
        m.SetAttributes(b"/d/bob", group="others"),
        m.SetAttributes(b"/d", owner="carol"),
        m.SetAttributes(b"/d/carol-d", owner="alice"),
        m.SetAttributes(b"/", owner="carol"),
        m.Rename(b"/d/carol", b"/e/1"),
        m.Rename(b"/d/bob", b"/e/1", RenameMode.EXCHANGE),
        m.Rename(b"/d/alice-d", b"/d/2", RenameMode.EXCHANGE),
        m.MakeSymlink(b"/d/alice", b"x", replace=True),
        m.MakeLink(b"/e/1", b"/d/alice", replace=True),
        m.Unlink(b"/e/1"),
        m.SetAttributes(b"/d/alice", owner="bob"),
        m.SetAttributes(b"/d", owner="bob"),
        m.RemoveDirectory(b"/d/carol-d"),
    ):
        machine.run(request)
    for name, user in (("to", "alice"), ("from", "carol")):
        machine.file(f"/d/{name}", 0, user)
    machine.run(m.Concat(b"/d/to", (b"/d/from",)))
    for name in (b"/d/bob", b"/d/fresh"):  # over carol's, and root's own
        draft = machine.run(m.CreateDraft(name)).attributes
        machine.run(m.PublishDraft(draft.inode, draft.generation, name, 0))
    machine.copy().namespace.check_invariants()
    machine.run(m.RemoveDirectory(b"/d", recursive=True))
    machine.reclaim()


def test_a_restored_namespace_knows_whose_names_are() -> None:
    machine = crowd("/d", 1_500)  # several leaves
    machine.run(m.MakeSymlink(b"/d/0000", b"x"), "carol")
    machine.run(m.MakeSymlink(b"/d/~", b"x"), "bob")
    copied = machine.copy()
    copied.namespace.check_invariants()
    assert copied.namespace.volume.tree.directory(2).foreign == {"alice": 1_500, "carol": 1}


def test_a_rename_takes_along_what_is_not_the_callers_as_on_linux(scratch: Path) -> None:
    for name in ("home of another", "sticky, other's name"):
        build_local(TREES[name], scratch)
        machine = built(TREES[name])
        renamed = runs(["mv", "-T", str(scratch / "d"), str(scratch / "e")], "alice")
        assert allowed(machine, m.Rename(b"/d", b"/e"), "alice") is renamed
        for each in ("d", "e"):
            shutil.rmtree(scratch / each, ignore_errors=True)


assert set(UIDS) <= set(USERS)
