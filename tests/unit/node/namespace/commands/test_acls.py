"""Access control lists: rules, inheritance, enforcement, and how they live with mode bits."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memfs.errors import (
    AccessDeniedError,
    InvalidArgumentError,
    NotPermittedError,
    UnsupportedError,
)
from memfs.node.namespace.rules import acls as rules
from memfs.protocol import messages as m
from memfs.security.acls import format_entry, order, parse_entries
from memfs.types import AclEntry

from ..machine import Machine

SET, MODIFY, REMOVE, REMOVE_DEFAULT, REMOVE_ALL = m.AclChange


def change(
    machine: Machine,
    path: str,
    kind: int,
    text: str = "",
    user: str = "root",
    removal: bool = False,
) -> None:
    entries = parse_entries(text, permissions=not removal)
    machine.run(m.ChangeAcl(path.encode(), kind, entries), user)


def acl(machine: Machine, path: str) -> str:
    reply = machine.ask(m.GetAcl(path.encode()))
    assert reply.attributes == machine.stat(path)
    return ",".join(map(format_entry, reply.entries))


def mode(machine: Machine, path: str) -> int:
    return machine.stat(path).mode


def refused(machine: Machine, request: object, user: str) -> bool:
    try:
        machine.ask(request, user)
    except AccessDeniedError:
        return True
    return False


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.mkdir("/d", 0o755, "alice")
    machine.file("/d/f", 5, "alice", mode=0o640)
    return machine


def test_without_a_list_the_mode_is_all(machine: Machine) -> None:
    assert acl(machine, "/d/f") == "user::rw-,group::r--,other::---"
    assert not machine.stat("/d/f").acl


def test_a_named_user_brings_a_mask(machine: Machine) -> None:
    change(machine, "/d/f", MODIFY, "user:bob:rw-")
    assert acl(machine, "/d/f") == "user::rw-,user:bob:rw-,group::r--,mask::rw-,other::---"
    assert mode(machine, "/d/f") == 0o660
    assert machine.stat("/d/f").acl


def test_chmod_changes_the_mask(machine: Machine) -> None:
    change(machine, "/d/f", MODIFY, "user:bob:rw-")
    machine.run(m.SetAttributes(b"/d/f", mode=0o604))
    assert acl(machine, "/d/f") == "user::rw-,user:bob:rw-,group::r--,mask::---,other::r--"
    machine.run(m.SetAttributes(b"/d/f", owner="carol", group="others"))
    assert machine.stat("/d/f").acl


def test_a_given_mask_is_kept_until_entries_change(machine: Machine) -> None:
    change(machine, "/d/f", MODIFY, "user:bob:rwx,mask::r--")
    assert mode(machine, "/d/f") == 0o640
    change(machine, "/d/f", MODIFY, "default:user:bob:r--".removeprefix("default:"))
    assert mode(machine, "/d/f") == 0o640
    change(machine, "/d/f", MODIFY, "group:artists:-wx")
    assert mode(machine, "/d/f") == 0o670


def test_removing_entries(machine: Machine) -> None:
    change(machine, "/d/f", MODIFY, "user:bob:rw-,group:artists:r-x")
    change(machine, "/d/f", REMOVE, "user:bob,group:artists", removal=True)
    assert acl(machine, "/d/f") == "user::rw-,group::r--,mask::r--,other::---"
    change(machine, "/d/f", REMOVE, "mask:", removal=True)
    assert acl(machine, "/d/f") == "user::rw-,group::r--,other::---"
    assert not machine.stat("/d/f").acl


def test_a_mask_that_is_needed_stays(machine: Machine) -> None:
    change(machine, "/d/f", MODIFY, "user:bob:rw-")
    with pytest.raises(InvalidArgumentError):
        change(machine, "/d/f", REMOVE, "mask:", removal=True)
    with pytest.raises(InvalidArgumentError):
        change(machine, "/d/f", REMOVE, "other:", removal=True)


def test_removing_all_gives_the_group_its_own_permissions_back(machine: Machine) -> None:
    change(machine, "/d/f", MODIFY, "user:bob:rwx")
    assert mode(machine, "/d/f") == 0o670
    change(machine, "/d/f", REMOVE_ALL)
    assert mode(machine, "/d/f") == 0o640
    change(machine, "/d/f", SET, "u::rwx,g::r-x,o::---,u:bob:r")
    change(machine, "/d/f", SET)
    assert (mode(machine, "/d/f"), machine.stat("/d/f").acl) == (0o750, False)


def test_setting_replaces_one_scope(machine: Machine) -> None:
    change(machine, "/d", MODIFY, "default:user:bob:rwx")
    assert acl(machine, "/d") == (
        "user::rwx,group::r-x,other::r-x,"
        "default:user::rwx,default:user:bob:rwx,default:group::r-x,default:mask::rwx,"
        "default:other::r-x"
    )
    change(machine, "/d", SET, "user::rwx,group::---,other::---")
    assert mode(machine, "/d") == 0o700 and machine.stat("/d").acl
    change(machine, "/d", SET, "default:user::rwx,default:group::r-x,default:other::---")
    assert "default:mask" not in acl(machine, "/d")
    change(machine, "/d", REMOVE_DEFAULT)
    assert acl(machine, "/d") == "user::rwx,group::---,other::---"
    assert not machine.stat("/d").acl
    with pytest.raises(InvalidArgumentError):
        change(machine, "/d", SET, "user:bob:rwx")


@pytest.mark.parametrize(
    "text",
    [
        "default:user:bob:rwx",
        "user:bob:rwx,user:bob:r--",
        ",".join(f"user:u{number}:r" for number in range(33)),
        ",".join(f"user:u{number}:r" for number in range(29)),
        f"user:{'x' * 256}:r",
    ],
)
def test_lists_that_a_file_cannot_have(machine: Machine, text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        change(machine, "/d/f", MODIFY, text)
    assert not machine.stat("/d/f").acl


@pytest.mark.parametrize("entry", [(4, "", 7), (-1, "", 7), (0, "a", 8), (2, "a", 1), (3, "a", 1)])
def test_entries_that_make_no_sense(machine: Machine, entry: tuple[int, str, int]) -> None:
    with pytest.raises(InvalidArgumentError):
        machine.run(m.ChangeAcl(b"/d/f", MODIFY, (AclEntry(*entry),)))
    with pytest.raises(InvalidArgumentError):
        machine.run(m.ChangeAcl(b"/d/f", 5))


def test_the_owner_changes_a_list_and_anybody_sees_it(machine: Machine) -> None:
    with pytest.raises(NotPermittedError):
        change(machine, "/d/f", MODIFY, "user:bob:rw-", user="bob")
    change(machine, "/d/f", MODIFY, "user:bob:rw-", user="alice")
    assert len(machine.ask(m.GetAcl(b"/d/f"), "carol").entries) == 5
    machine.run(m.MakeSymlink(b"/link", b"d/f"))
    assert acl(machine, "/link") == acl(machine, "/d/f")
    link = machine.stat("/link", follow=False).inode
    with pytest.raises(UnsupportedError):
        machine.run(m.ChangeAcl(b"", REMOVE_ALL, base=link))


class TestEnforcement:
    """alice owns /d/f; bob is in people, alice's group; carol in others; hermit in hermit."""

    def test_owner_before_all(self, machine: Machine) -> None:
        change(machine, "/d/f", SET, "u::---,g::rwx,o::rwx,u:alice:rwx")
        assert refused(machine, m.Access(b"/d/f", 4), "alice")

    def test_a_named_user_before_groups_and_other(self, machine: Machine) -> None:
        change(machine, "/d/f", SET, "u::rwx,g::rwx,o::rwx,u:bob:r--")
        assert not refused(machine, m.Access(b"/d/f", 4), "bob")
        assert refused(machine, m.Access(b"/d/f", 2), "bob")

    def test_the_mask_limits_named_users_and_groups(self, machine: Machine) -> None:
        change(machine, "/d/f", SET, "u::rwx,g::rwx,o::---,u:carol:rwx,m::r--")
        for user in ("bob", "carol"):
            assert not refused(machine, m.Access(b"/d/f", 4), user)
            assert refused(machine, m.Access(b"/d/f", 2), user)

    def test_any_group_that_grants_all_is_enough(self, machine: Machine) -> None:
        change(machine, "/d/f", SET, "u::rwx,g::r--,g:artists:-w-,g:others:r-x,o::rwx")
        machine.run(m.SetAttributes(b"/d/f", owner="bob"))
        assert not refused(machine, m.Access(b"/d/f", 2), "alice")  # artists
        assert not refused(machine, m.Access(b"/d/f", 4), "alice")  # people
        assert refused(machine, m.Access(b"/d/f", 6), "alice")  # neither grants both
        assert refused(machine, m.Access(b"/d/f", 2), "carol")  # a group that matches ends it
        assert not refused(machine, m.Access(b"/d/f", 6), "hermit")

    def test_search_on_the_way(self, machine: Machine) -> None:
        change(machine, "/d", MODIFY, "user:carol:---")
        assert mode(machine, "/d") == 0o755
        assert refused(machine, m.Lookup(b"/d/f"), "carol")
        assert not refused(machine, m.Lookup(b"/d/f"), "hermit")
        assert not refused(machine, m.Lookup(b"/d/f"), "root")

    def test_making_and_removing_names(self, machine: Machine) -> None:
        change(machine, "/d", MODIFY, "user:carol:rwx")
        machine.file("/d/new", 3, "carol")
        machine.run(m.Unlink(b"/d/f"), "carol")
        with pytest.raises(AccessDeniedError):
            machine.run(m.Unlink(b"/d/new"), "hermit")

    def test_writing_and_whole_files(self, machine: Machine) -> None:
        machine.run(m.SetAttributes(b"/d", mode=0o777))
        change(machine, "/d/f", MODIFY, "user:carol:-w-")
        (inode,) = machine.run(m.ReserveInodes(1), "carol").inodes
        put = m.PutFiles((m.NewFile(b"/d/f", inode, 0, ()),))
        assert machine.run(put, "carol").results[0].code == 0
        assert machine.stat("/d/f").owner == "alice"
        assert "user:carol:-w-" in acl(machine, "/d/f")


class TestInheritance:
    DEFAULT = "default:user::rwx,default:user:bob:rwx,default:group::r-x,default:other::r--"

    def test_a_file_gets_the_default_list_limited_by_its_mode(self, machine: Machine) -> None:
        change(machine, "/d", MODIFY, self.DEFAULT)
        machine.file("/d/new", mode=0o640)
        assert acl(machine, "/d/new") == ("user::rw-,user:bob:rwx,group::r-x,mask::r--,other::---")
        assert mode(machine, "/d/new") == 0o640

    def test_the_unmasked_mode_counts(self, machine: Machine) -> None:
        change(machine, "/d", MODIFY, self.DEFAULT)
        machine.file("/d/new", mode=0o600, unmasked=0o666)
        assert acl(machine, "/d/new") == ("user::rw-,user:bob:rwx,group::r-x,mask::rw-,other::r--")
        machine.file("/plain", mode=0o600, unmasked=0o666)
        assert mode(machine, "/plain") == 0o600

    def test_a_directory_hands_it_on(self, machine: Machine) -> None:
        change(machine, "/d", MODIFY, self.DEFAULT)
        machine.run(m.MakeDirectory(b"/d/e", 0o1700, unmasked=0o777))
        assert mode(machine, "/d/e") == 0o1774
        assert (
            acl(machine, "/d/e").split("default:", 1)[1]
            == acl(machine, "/d").split("default:", 1)[1]
        )
        machine.run(m.MakeSymlink(b"/d/e/s", b"x"))
        assert not machine.stat("/d/e/s", follow=False).acl

    def test_a_minimal_default_list_leaves_plain_files(self, machine: Machine) -> None:
        change(machine, "/d", MODIFY, "default:user::rwx,default:group::-w-,default:other::---")
        machine.file("/d/new", mode=0o666)
        assert (mode(machine, "/d/new"), machine.stat("/d/new").acl) == (0o620, False)
        machine.mkdir("/d/e", 0o777)
        assert (mode(machine, "/d/e"), machine.stat("/d/e").acl) == (0o720, True)

    def test_directories_on_the_way_can_be_gone_on_in(self, machine: Machine) -> None:
        change(machine, "/d", MODIFY, "default:user::r--,user:bob:rwx")
        machine.file("/d/1/2/3/f", 0, "bob", parents=True)
        assert mode(machine, "/d/1") == 0o755
        assert mode(machine, "/d/1/2/3/f") == 0o444

    def test_it_is_not_handed_to_what_moves_in(self, machine: Machine) -> None:
        change(machine, "/d", MODIFY, self.DEFAULT)
        machine.file("/f")
        machine.run(m.Rename(b"/f", b"/d/moved"))
        assert not machine.stat("/d/moved").acl

    def test_whole_files_inherit_too(self, machine: Machine) -> None:
        change(machine, "/d", MODIFY, self.DEFAULT)
        (inode,) = machine.run(m.ReserveInodes(1)).inodes
        machine.run(m.PutFiles((m.NewFile(b"/d/new", inode, 0, (), unmasked=0o666),)))
        assert mode(machine, "/d/new") == 0o664


def test_equal_lists_are_stored_once_and_forgotten(machine: Machine) -> None:
    tree = machine.namespace.volume.tree
    for name in ("a", "b", "c"):
        machine.file(f"/{name}")
        change(machine, f"/{name}", MODIFY, "user:bob:rw-,group:artists:r--")
    assert len(tree.acls) == 3 and len(tree.acl_values.numbers) == 2
    machine.run(m.Concat(b"/a", (b"/b",)))
    machine.run(m.Unlink(b"/c"))
    change(machine, "/a", REMOVE_ALL)
    assert not tree.acls and len(tree.acl_values.numbers) == 1


def test_they_survive_a_snapshot(machine: Machine) -> None:
    change(machine, "/d", MODIFY, TestInheritance.DEFAULT)
    machine.file("/d/new")
    copy = machine.copy()
    copy.namespace.check_invariants()
    assert acl(copy, "/d/new") == acl(machine, "/d/new")
    assert list(copy.namespace.snapshot()) == list(machine.namespace.snapshot())


# --- the rules on all sorts of lists -----------------------------------------------------------

NAMES = st.sampled_from(["", "a", "b"])
ENTRIES = st.lists(
    st.builds(
        lambda kind, name, permission, default: AclEntry(
            kind, name if kind < 2 else "", permission, default
        ),
        st.integers(0, 3),
        NAMES,
        st.integers(0, 7),
        st.booleans(),
    ),
    max_size=6,
    unique_by=order,
)


@given(st.lists(st.tuples(st.sampled_from(["modified", "removed", "replaced"]), ENTRIES)))
def test_every_sequence_of_changes_leaves_a_valid_list(
    changes: list[tuple[str, list[AclEntry]]],
) -> None:
    acl, mode = rules.NO_ACL, 0o640
    for name, entries in changes:
        before = rules.whole(acl, mode)
        try:
            after = getattr(rules, name)(before, entries)
        except InvalidArgumentError:
            continue
        acl, mode = rules.stored(after, mode)
        assert rules.whole(acl, mode) == after == sorted(after, key=order)
        if name == "modified":
            lone = {entry for entry in entries if entry.kind == rules.MASK and not acl.default}
            assert set(entries) - lone <= set(after)
        if name == "removed":
            gone = {order(entry) for entry in entries if entry.kind != rules.MASK}
            base = {(scope, kind, "") for scope in (False, True) for kind in (0, 1, 3)}
            assert not gone - base & {order(entry) for entry in after}
    for directory, bits in itertools.product((False, True), (0o000, 0o640, 0o777)):
        if acl.default:
            child, child_mode = rules.inherited(acl.default, bits, directory)
            assert bool(child.default) == directory
            given_mode = rules.whole(child, child_mode)
            assert rules.modified(given_mode, ()) == given_mode
