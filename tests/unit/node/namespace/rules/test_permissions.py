"""Who may do what: every operation against every way of being allowed or not.

The rules are those of POSIX; where POSIX leaves a choice, of Linux.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from memfs.errors import AccessDeniedError, MemfsError, NotPermittedError
from memfs.protocol import messages as m
from memfs.types import RenameMode

from ..machine import Machine

# What alice (owner), bob (group) and carol (other) need of which inode for each operation on
# /d/f, where /d and /d/f belong to alice and the group people. Bits: read 4, write 2, search 1.
OPERATIONS: dict[str, tuple[Any, int, int]] = {
    # operation: request, bits of /d, bits of /d/f
    "stat": (m.Lookup(b"/d/f"), 1, 0),
    "lstat": (m.Lookup(b"/d/f", False), 1, 0),
    "open for reading": (m.GetBlocks(b"/d/f"), 1, 4),
    "open for writing": (m.AcquireLease(b"/d/f"), 1, 2),
    "empty": (m.Create(b"/d/f"), 1, 2),
    "create": (m.Create(b"/d/new"), 3, 0),
    "create exclusively": (m.Create(b"/d/new", exclusive=True), 3, 0),
    "create with parents": (m.Create(b"/d/a/b/c", parents=True), 3, 0),
    "mkdir": (m.MakeDirectory(b"/d/new"), 3, 0),
    "mkdir -p": (m.MakeDirectory(b"/d/a/b", parents=True), 3, 0),
    "mkdir -p of what exists": (m.MakeDirectory(b"/d", parents=True), 0, 0),
    "symlink": (m.MakeSymlink(b"/d/new", b"x"), 3, 0),
    "link": (m.MakeLink(b"/d/f", b"/d/new"), 3, 0),
    "symlink over": (m.MakeSymlink(b"/d/f", b"x", replace=True), 3, 0),
    "link over": (m.MakeLink(b"/d/f", b"/d/link", replace=True), 3, 0),
    "unlink": (m.Unlink(b"/d/f"), 3, 0),
    "rmdir": (m.RemoveDirectory(b"/d/empty"), 3, 0),
    "rename": (m.Rename(b"/d/f", b"/d/new"), 3, 0),
    "rename out": (m.Rename(b"/d/f", b"/open/f"), 3, 0),
    "rename in": (m.Rename(b"/open/g", b"/d/g"), 3, 0),
    "rename over": (m.Rename(b"/open/g", b"/d/f"), 3, 0),
    "exchange": (m.Rename(b"/open/g", b"/d/f", RenameMode.EXCHANGE), 3, 0),
    "list": (m.List(b"/d"), 4, 0),
    "du": (m.Summarise(b"/d"), 5, 0),
    "a page of du": (m.SummarisePage(b"/d"), 5, 0),
    "du of a file": (m.Summarise(b"/d/f"), 1, 0),
    "may read": (m.Access(b"/d/f", 4), 1, 4),
    "may write": (m.Access(b"/d/f", 2), 1, 2),
    "may execute": (m.Access(b"/d/f", 1), 1, 1),
    "may all": (m.Access(b"/d/f", 7), 1, 7),
    "exists": (m.Access(b"/d/f", 0), 1, 0),
    "touch": (m.SetAttributes(b"/d/f", now=True), 1, 2),
    "setrep": (m.SetAttributes(b"/d/f", replication=3), 1, 2),
    "get xattrs": (m.GetXattrs(b"/d/f"), 1, 4),
    "set xattr": (m.SetXattr(b"/d/f", "user.a", b"1"), 1, 2),
    "remove xattr": (m.RemoveXattr(b"/d/f", "user.x"), 1, 2),
    "readlink": (m.ReadLink(b"/d/link"), 1, 0),
    "follow": (m.Lookup(b"/d/link"), 1, 0),
    "through": (m.Lookup(b"/d/empty/../f"), 1, 0),
    "concat into": (m.Concat(b"/d/f", (b"/open/g",)), 1, 2),
    "concat from": (m.Concat(b"/open/g", (b"/d/f",)), 3, 4),
}
CLASSES = {"alice": 6, "bob": 3, "carol": 0}
OWNER_NEEDS_NO_BITS = {"touch"}


@pytest.fixture
def prepared() -> Callable[[int, int], Machine]:
    def build(directory: int, file: int) -> Machine:
        machine = Machine()
        machine.mkdir("/d", 0o777, "alice")
        machine.mkdir("/open", 0o777)
        machine.mkdir("/d/empty", 0o777, "alice")
        machine.file("/d/f", 0, "alice", mode=0o666)
        machine.run(m.MakeSymlink(b"/d/link", b"f"), "alice")
        machine.run(m.SetXattr(b"/d/f", "user.x", b"1"), "alice")
        machine.file("/open/g", 0, "alice", mode=0o666)
        machine.run(m.SetAttributes(b"/d/f", mode=file))
        machine.run(m.SetAttributes(b"/d", mode=directory))
        return machine

    return build


def attempt(machine: Machine, request: Any, user: str) -> type[MemfsError] | None:
    command = m.BY_REQUEST[type(request)].command
    try:
        (machine.run if command else machine.ask)(request, user)
    except MemfsError as error:
        return type(error)
    return None


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("user", CLASSES)
def test_exactly_the_bits_needed_are_enough(
    operation: str, user: str, prepared: Callable[[int, int], Machine]
) -> None:
    request, directory, file = OPERATIONS[operation]
    shift = CLASSES[user]
    others = 0o777 & ~(7 << shift)  # the other classes may do everything: it must not help
    machine = prepared(others | directory << shift, others | file << shift)
    assert attempt(machine, request, user) is None
    for bit in (4, 2, 1):
        if directory & bit:
            machine = prepared(others | (directory & ~bit) << shift, others | file << shift)
            assert attempt(machine, request, user) is AccessDeniedError, f"/d without {bit}"
        if file & bit and not (user == "alice" and operation in OWNER_NEEDS_NO_BITS):
            machine = prepared(others | directory << shift, others | (file & ~bit) << shift)
            assert attempt(machine, request, user) is AccessDeniedError, f"/d/f without {bit}"


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if "execute" not in name])
@pytest.mark.parametrize("user", ["root", "admin"])
def test_superusers_may_do_everything(
    operation: str, user: str, prepared: Callable[[int, int], Machine]
) -> None:
    machine = prepared(0, 0o100 if operation == "may all" else 0)
    assert attempt(machine, OPERATIONS[operation][0], user) is None


def test_even_superusers_execute_only_what_somebody_may() -> None:
    machine = Machine()
    machine.file("/f", mode=0o666)
    with pytest.raises(AccessDeniedError):
        machine.ask(m.Access(b"/f", 1))
    machine.run(m.SetAttributes(b"/f", mode=0o001))
    machine.ask(m.Access(b"/f", 1))


def test_search_permission_is_needed_on_every_ancestor() -> None:
    machine = Machine()
    machine.mkdir("/a/b/c", 0o777)
    machine.file("/a/b/c/f", mode=0o666)
    machine.stat("/a/b/c/f", "alice")
    for ancestor in (b"/a", b"/a/b", b"/a/b/c", b"/"):
        machine.run(m.SetAttributes(ancestor, mode=0o766))
        with pytest.raises(AccessDeniedError):
            machine.stat("/a/b/c/f", "alice")
        machine.run(m.SetAttributes(ancestor, mode=0o711))
        machine.stat("/a/b/c/f", "alice")


_BY_HANDLE = [
    m.Lookup(b""),
    m.GetBlocks(b""),
    m.GetXattrs(b""),
    m.GetAcl(b""),
    m.Access(b"", 4),
    m.Summarise(b""),
    m.List(b""),
    m.AcquireLease(b""),
    m.SetAttributes(b"", now=True),
    m.SetXattr(b"", "user.x", b""),
]


@pytest.mark.parametrize("request_", _BY_HANDLE, ids=lambda each: type(each).__name__)
def test_a_handle_serves_who_could_walk_to_it(request_: Any) -> None:
    machine = Machine()
    machine.mkdir("/home", 0o700)
    inode = machine.file("/home/sub/f", mode=0o666, parents=True).inode
    act = machine.run if m.BY_REQUEST[type(request_)].command else machine.ask
    by_handle = request_._replace(base=inode)
    with pytest.raises(AccessDeniedError):
        act(by_handle, "alice")
    machine.run(m.SetAttributes(b"/home", mode=0o711))
    act(by_handle, "alice")


def test_a_handle_of_a_directory_likewise_and_any_name_of_a_file_will_do() -> None:
    machine = Machine()
    home = machine.mkdir("/home", 0o700).inode
    inner = machine.mkdir("/home/inner", 0o777).inode
    file = machine.file("/home/f", mode=0o666).inode
    for request in (m.Create(b"g", base=inner), m.Rename(b"f", b"/f", source_base=home)):
        with pytest.raises(AccessDeniedError):
            machine.run(request, "alice")
    with pytest.raises(AccessDeniedError):
        machine.ask(m.Lookup(b"../f", base=inner), "alice")
    machine.ask(m.Lookup(b"", base=home), "alice")
    machine.run(m.MakeLink(b"/home/f", b"/also"))
    assert machine.ask(m.GetBlocks(b"", base=file), "alice").attributes.links == 2


# --- the sticky bit ----------------------------------------------------------------------------

REMOVALS = [
    m.Unlink(b"/tmp/f"),
    m.Rename(b"/tmp/f", b"/tmp/g"),
    m.Rename(b"/tmp/f", b"/open/g"),
    m.Rename(b"/open/o", b"/tmp/f"),
    m.Rename(b"/open/o", b"/tmp/f", RenameMode.EXCHANGE),
    m.RemoveDirectory(b"/tmp/d"),
    m.RemoveDirectory(b"/tmp/d", recursive=True),
    m.Concat(b"/open/o", (b"/tmp/f",)),
]


@pytest.mark.parametrize("request_", REMOVALS, ids=repr)
@pytest.mark.parametrize(
    ("user", "allowed"),
    [("root", True), ("admin", True), ("alice", True), ("carol", True), ("bob", False)],
)
def test_the_sticky_bit_leaves_names_to_their_owners(
    request_: Any, user: str, allowed: bool
) -> None:
    machine = Machine()
    machine.mkdir("/tmp", 0o1777, "carol")  # carol owns the directory, alice what is in it
    machine.mkdir("/open", 0o777)
    machine.file("/open/o", mode=0o666)
    machine.file("/tmp/f", user="alice", mode=0o666)
    machine.mkdir("/tmp/d", 0o777, "alice")
    assert attempt(machine, request_, user) is (None if allowed else NotPermittedError)


# --- who owns what is made ---------------------------------------------------------------------


@pytest.mark.parametrize(("user", "group"), [("alice", "people"), ("hermit", "hermit")])
def test_new_files_belong_to_their_maker(user: str, group: str) -> None:
    machine = Machine()
    made = [
        machine.file("/f", user=user),
        machine.mkdir("/d", user=user),
        machine.run(m.MakeSymlink(b"/l", b"x"), user).attributes,
    ]
    assert {(each.owner, each.group) for each in made} == {(user, group)}


def test_set_gid_directories_hand_their_group_on() -> None:
    machine = Machine()
    machine.mkdir("/d", 0o777, "carol")
    machine.run(m.SetAttributes(b"/d", mode=0o2777), "carol")
    file, directory = machine.file("/d/f", user="bob"), machine.mkdir("/d/s/t", user="bob")
    assert (file.owner, file.group, file.mode) == ("bob", "others", 0o644)
    assert (directory.group, directory.mode) == ("others", 0o2755)
    assert machine.stat("/d/s").mode == 0o2755
    # set-gid and executable for a group that is not his: taken away
    assert machine.file("/d/x", user="bob", mode=0o2755).mode == 0o755
    assert machine.file("/d/y", user="bob", mode=0o2745).mode == 0o2745
    assert machine.file("/d/z", user="carol", mode=0o2755).mode == 0o2755


def test_renaming_a_directory_needs_to_write_it_when_its_parent_changes() -> None:
    machine = Machine()
    machine.mkdir("/a", 0o777)
    machine.mkdir("/b", 0o777)
    machine.mkdir("/a/d", 0o555, "alice")
    machine.run(m.Rename(b"/a/d", b"/a/e"), "alice")
    with pytest.raises(AccessDeniedError):
        machine.run(m.Rename(b"/a/e", b"/b/e"), "alice")
    machine.run(m.SetAttributes(b"/a/e", mode=0o755), "alice")
    machine.run(m.Rename(b"/a/e", b"/b/e"), "alice")
    machine.mkdir("/a/x", 0o755, "bob")
    with pytest.raises(AccessDeniedError):
        machine.run(m.Rename(b"/b/e", b"/a/x", RenameMode.EXCHANGE), "alice")
    machine.run(m.Rename(b"/b/e", b"/a/x", RenameMode.EXCHANGE), "root")


def test_readable_directories_that_may_not_be_searched_tell_names_only() -> None:
    machine = Machine()
    machine.mkdir("/d", 0o744)
    machine.file("/d/f", 10)
    (entry,) = machine.ask(m.List(b"/d"), "alice").entries
    assert entry.name == b"f" and entry.attributes.inode == machine.stat("/d/f").inode
    assert entry.attributes[2:] == (0, 0, "", "", *[0] * 10, False, False, 0, 0)


def test_overlong_names_of_users_are_refused() -> None:
    from memfs.errors import InvalidArgumentError
    from memfs.types import Identity

    with pytest.raises(InvalidArgumentError):
        Machine().namespace.query(Identity("x" * 256), m.Lookup(b"/"))


MADE_FOR_OTHERS = [
    m.Create(b"/d/x", 0o640, owner="ann", group="dev"),
    m.Create(b"/d/new/x", 0o640, parents=True, owner="ann", group="dev"),
    m.MakeDirectory(b"/d/x", 0o750, owner="ann", group="dev"),
    m.MakeSymlink(b"/d/x", b"there", owner="ann", group="dev"),
]


@pytest.mark.parametrize("request_", MADE_FOR_OTHERS, ids=repr)
def test_the_superuser_makes_files_for_others(request_: Any) -> None:
    machine = Machine()
    machine.mkdir("/d")
    made = machine.run(request_).attributes
    assert (made.owner, made.group) == ("ann", "dev")


@pytest.mark.parametrize("request_", MADE_FOR_OTHERS, ids=repr)
def test_nobody_else_does(request_: Any) -> None:
    machine = Machine()
    machine.mkdir("/d", 0o777)
    with pytest.raises(NotPermittedError):
        machine.run(request_, user="bob")


def test_what_is_made_for_others_has_the_group_of_a_directory_with_set_gid() -> None:
    machine = Machine()
    machine.mkdir("/d")
    machine.run(m.SetAttributes(b"/d", 0o2777, group="staff"))
    made = machine.run(m.Create(b"/d/x", owner="ann", group="dev")).attributes
    assert (made.owner, made.group) == ("ann", "staff")


def test_everybody_chooses_among_his_groups() -> None:
    machine = Machine()
    machine.mkdir("/d", 0o777)
    made = machine.run(m.Create(b"/d/x", owner="alice", group="artists"), "alice").attributes
    assert (made.owner, made.group) == ("alice", "artists")
    with pytest.raises(NotPermittedError):
        machine.run(m.Create(b"/d/y", group="others"), "alice")
