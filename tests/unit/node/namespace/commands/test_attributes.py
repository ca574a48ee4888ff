"""chmod, chown, utimens, setrep."""

from __future__ import annotations

from typing import Any

import pytest

from memfs.errors import (
    AccessDeniedError,
    InvalidArgumentError,
    IsDirectoryError,
    MemfsError,
    NotPermittedError,
    UnsupportedError,
)
from memfs.protocol import messages as m

from ..machine import BLOCK, Machine


@pytest.fixture
def machine() -> Machine:
    """/f belongs to alice and people, is 10 bytes long and 0o666; /d likewise, 0o777."""
    machine = Machine()
    machine.file("/f", 10, "alice", mode=0o666)
    machine.mkdir("/d", 0o777, "alice")
    return machine


def change(machine: Machine, user: str = "root", path: bytes = b"/f", **changes: Any) -> Any:
    return machine.run(m.SetAttributes(path, **changes), user).attributes


FREE, PERMIT, ACCESS = None, NotPermittedError, AccessDeniedError


@pytest.mark.parametrize("path", [b"/f", b"/d"])
@pytest.mark.parametrize(
    ("changes", "alice", "bob", "root"),
    [
        ({}, FREE, FREE, FREE),
        ({"mode": 0o600}, FREE, PERMIT, FREE),
        ({"mode": 0o7777}, FREE, PERMIT, FREE),
        ({"owner": "alice"}, FREE, PERMIT, FREE),
        ({"owner": "bob"}, PERMIT, PERMIT, FREE),
        ({"group": "people"}, FREE, PERMIT, FREE),
        ({"group": "artists"}, FREE, PERMIT, FREE),
        ({"group": "others"}, PERMIT, PERMIT, FREE),
        ({"owner": "alice", "group": "artists"}, FREE, PERMIT, FREE),
        ({"modified_ns": 1}, FREE, PERMIT, FREE),
        ({"accessed_ns": -1}, FREE, PERMIT, FREE),
        ({"now": True}, FREE, FREE, FREE),
        ({"now": True, "modified_ns": 1}, FREE, PERMIT, FREE),
    ],
)
def test_who_may_change_what(
    machine: Machine,
    path: bytes,
    changes: dict[str, Any],
    alice: type[MemfsError] | None,
    bob: type[MemfsError] | None,
    root: type[MemfsError] | None,
) -> None:
    for user, error in (("bob", bob), ("alice", alice), ("root", root), ("admin", root)):
        before = machine.stat(path.decode())
        if error is None:
            change(machine, user, path, **changes)
        else:
            with pytest.raises(error):
                change(machine, user, path, **changes)
            assert machine.stat(path.decode()) == before


def test_touching_without_write_permission_is_denied(machine: Machine) -> None:
    change(machine, mode=0o444)
    with pytest.raises(AccessDeniedError):
        change(machine, "bob", now=True)
    change(machine, "alice", now=True)


def test_one_time_may_be_now_and_the_other_stay(machine: Machine) -> None:
    before = change(machine, modified_ns=5, accessed_ns=7)
    found = change(machine, modified_now=True)
    assert found.modified_ns == found.changed_ns > before.changed_ns and found.accessed_ns == 7
    found = change(machine, accessed_now=True, modified_ns=9)
    assert (found.accessed_ns, found.modified_ns) == (found.changed_ns, 9)
    change(machine, mode=0o666)
    with pytest.raises(NotPermittedError):  # as utimensat: write permission is for both only
        change(machine, "bob", modified_now=True)
    change(machine, "alice", accessed_now=True)


def test_all_parts_are_checked_before_any_takes_effect(machine: Machine) -> None:
    before = machine.stat("/f")
    for bad in (
        {"owner": "bob"},
        {"group": "others"},
        {"replication": 99},
        {"modified_ns": 1 << 63},
    ):
        with pytest.raises(MemfsError):
            change(machine, "alice", mode=0o600, accessed_ns=5, **bad)
        assert machine.stat("/f") == before


def test_times(machine: Machine) -> None:
    done = change(machine, modified_ns=-(1 << 63), accessed_ns=(1 << 63) - 1)
    assert (done.modified_ns, done.accessed_ns) == (-(1 << 63), (1 << 63) - 1)
    assert done.changed_ns == done.change * 10**9
    touched = change(machine, now=True)
    assert touched.modified_ns == touched.accessed_ns == touched.changed_ns


def test_nothing_asked_changes_nothing(machine: Machine) -> None:
    before = machine.stat("/f")
    assert change(machine) == before == machine.stat("/f")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"mode": 0o10000}, InvalidArgumentError),
        ({"mode": -1}, InvalidArgumentError),
        ({"owner": ""}, InvalidArgumentError),
        ({"group": ""}, InvalidArgumentError),
        ({"owner": "é" * 128}, InvalidArgumentError),
        ({"modified_ns": 1 << 63}, InvalidArgumentError),
        ({"replication": 0}, InvalidArgumentError),
        ({"replication": 9}, InvalidArgumentError),
    ],
)
def test_impossible_values(
    machine: Machine, changes: dict[str, Any], error: type[MemfsError]
) -> None:
    with pytest.raises(error):
        change(machine, **changes)


@pytest.mark.parametrize(
    ("before", "after"), [(0o6755, 0o755), (0o6745, 0o2745), (0o1777, 0o1777), (0o4666, 0o666)]
)
@pytest.mark.parametrize("user", ["root", "alice"])
def test_files_that_change_hands_lose_set_id_bits(
    machine: Machine, user: str, before: int, after: int
) -> None:
    change(machine, mode=before)
    assert change(machine, user, group="artists").mode == after
    assert change(machine, user, group="artists", mode=before).mode == before


def test_directories_that_change_hands_keep_them(machine: Machine) -> None:
    change(machine, path=b"/d", mode=0o2755)
    assert change(machine, "alice", b"/d", group="artists").mode == 0o2755


def test_set_gid_is_only_for_groups_of_ones_own(machine: Machine) -> None:
    change(machine, group="others")
    assert change(machine, "alice", mode=0o2755).mode == 0o755
    assert change(machine, "root", mode=0o2755).mode == 0o2755


def test_replication_changes_the_space_wanted(machine: Machine) -> None:
    assert change(machine, "bob", replication=5).replication == 5
    assert machine.du("/") == (10, 1, 2, 50)
    with pytest.raises(IsDirectoryError):
        change(machine, path=b"/d", replication=1)


def test_symlinks_themselves(machine: Machine) -> None:
    machine.run(m.MakeSymlink(b"/s", b"f"), "alice")
    change(machine, "alice", b"/s", mode=0o600)
    assert machine.stat("/f").mode == 0o600
    with pytest.raises(UnsupportedError):
        change(machine, "alice", b"/s", mode=0o600, follow=False)
    with pytest.raises(InvalidArgumentError):
        change(machine, "alice", b"/s", replication=1, follow=False)
    done = change(machine, "alice", b"/s", group="artists", modified_ns=5, follow=False)
    assert (done.kind, done.group, done.modified_ns) == (2, "artists", 5)
    assert machine.stat("/f").group == "people"


def test_owners_of_many_files_are_stored_once(machine: Machine) -> None:
    for number in range(50):
        machine.file(f"/d/{number}", user="bob")
    assert len(machine.namespace.volume.tree.owners.numbers) == 4  # nobody, root, alice, bob
    machine.run(m.RemoveDirectory(b"/d", recursive=True))
    machine.reclaim()
    assert len(machine.namespace.volume.tree.owners.numbers) == 3


def test_reading_leaves_the_access_time(machine: Machine) -> None:
    before = machine.stat("/f")
    machine.blocks("/f")
    assert machine.stat("/f") == before and before.size < BLOCK
