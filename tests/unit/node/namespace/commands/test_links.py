"""Hard links, symbolic links, unlink."""

from __future__ import annotations

import random
from typing import Any

import pytest

from memfs import limits
from memfs.errors import (
    InvalidArgumentError,
    InvalidPathError,
    IsDirectoryError,
    MemfsError,
    NameTooLongError,
    NotDirectoryError,
    NotPermittedError,
    PathExistsError,
    PathNotFoundError,
    StaleHandleError,
    SymlinkLoopError,
    TooManyLinksError,
)
from memfs.protocol import messages as m
from memfs.types import Attributes

from ..machine import BLOCK, Machine


@pytest.fixture
def machine() -> Machine:
    machine = Machine()
    machine.file("/f", BLOCK + 1)
    for name in ("/a", "/b", "/c"):
        machine.mkdir(name)
    return machine


def link(machine: Machine, source: str, path: str) -> int:
    reply = machine.run(m.MakeLink(source.encode(), path.encode()))
    return reply.attributes.links  # type: ignore[no-any-return]


def symlink(machine: Machine, path: str, target: str) -> None:
    machine.run(m.MakeSymlink(path.encode(), target.encode()))


def test_a_file_lives_until_its_last_name_goes(machine: Machine) -> None:
    assert link(machine, "/f", "/a/f") == 2
    assert link(machine, "/a/f", "/b/f") == 3
    machine.run(m.Unlink(b"/f"))
    machine.run(m.Unlink(b"/b/f"))
    assert machine.stat("/a/f").links == 1 and machine.discards == []
    machine.run(m.Unlink(b"/a/f"))
    assert len(machine.discards) == 2 and machine.du("/") == (0, 0, 4, 0)


def test_of_many_names_each_goes_by_itself(machine: Machine) -> None:
    link(machine, "/f", "/a/f")
    symlink(machine, "/b/link", "/nowhere")
    paths = (b"/f", b"/c", b"/none", b"/b/link", b"/f", b"/a/f")
    results = machine.run(m.UnlinkMany(paths)).results
    codes = [result.code for result in results]
    gone = PathNotFoundError.code
    assert codes == [0, IsDirectoryError.code, gone, 0, gone, 0]
    assert results[1].message and not results[0].message
    assert len(machine.discards) == 2 and machine.du("/") == (0, 0, 4, 0)


def test_many_names_are_taken_away_as_one_after_the_other() -> None:
    dice = random.Random(5)
    for _ in range(20):
        together, single = Machine(), Machine()
        names = [f"/{dice.choice('ab')}{dice.randrange(4)}" for _ in range(12)]
        for machine in (together, single):
            for name in dict.fromkeys(names[:8]):
                machine.mkdir(name) if name.endswith("3") else machine.file(name, BLOCK)
        paths = tuple(name.encode() for name in names)
        codes = [result.code for result in together.run(m.UnlinkMany(paths)).results]
        assert codes == [code_of(single, path) for path in paths]
        assert together.discards == single.discards and together.du("/") == single.du("/")


def code_of(machine: Machine, path: bytes) -> int:
    try:
        machine.run(m.Unlink(path))
    except MemfsError as error:
        return error.code
    return 0


def test_a_command_of_too_many_names_is_refused_and_long_refusals_fit(machine: Machine) -> None:
    with pytest.raises(InvalidArgumentError, match="names in a command"):
        machine.run(m.UnlinkMany((b"/f",) * (limits.FILES_PER_COMMAND + 1)))
    deep = b"/" + b"/".join([b"x" * 200] * 4)
    results = machine.run(m.UnlinkMany((deep,) * limits.FILES_PER_COMMAND)).results
    assert {result.code for result in results} == {PathNotFoundError.code}


def test_a_file_is_charged_to_the_directory_that_has_it_longest(machine: Machine) -> None:
    weight = (BLOCK + 1, 1, 1, 2 * (BLOCK + 1))
    for name in ("/a/1", "/b/1", "/a/2", "/c/1"):
        link(machine, "/f", name)
    machine.run(m.Unlink(b"/f"))
    assert machine.du("/a") == weight and machine.du("/b") == (0, 0, 1, 0)
    machine.run(m.Unlink(b"/a/1"))
    assert machine.du("/a") == weight, "/a has another"
    machine.run(m.Unlink(b"/a/2"))
    assert machine.du("/a") == (0, 0, 1, 0) and machine.du("/b") == weight
    machine.run(m.Rename(b"/b/1", b"/a/1"))
    assert machine.du("/c") == weight, "a moved link is the newest where it arrives"
    assert machine.du("/") == (BLOCK + 1, 1, 4, 2 * (BLOCK + 1))


def test_writing_through_one_name_shows_under_all(machine: Machine) -> None:
    link(machine, "/f", "/a/f")
    held = machine.run(m.AcquireLease(b"/a/f")).attributes
    machine.write(held, 3)
    assert machine.stat("/f") == machine.stat("/a/f") and machine.stat("/f").size == 3


@pytest.mark.parametrize(
    ("source", "path", "error"),
    [
        ("/a", "/x", NotPermittedError),
        ("/", "/x", NotPermittedError),
        ("/f", "/f", PathExistsError),
        ("/f", "/a", PathExistsError),
        ("/x", "/y", PathNotFoundError),
        ("/f", "/x/y", PathNotFoundError),
        ("/f", "/x/", PathNotFoundError),
        ("/f/", "/x", NotDirectoryError),
        ("/f", "/f/x", NotDirectoryError),
    ],
)
def test_what_cannot_be_linked(
    machine: Machine, source: str, path: str, error: type[MemfsError]
) -> None:
    with pytest.raises(error):
        link(machine, source, path)


def test_the_number_of_links_is_bounded(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LINK_COUNT", 3)
    link(machine, "/f", "/1")
    link(machine, "/f", "/2")
    with pytest.raises(TooManyLinksError):
        link(machine, "/f", "/3")


def test_a_hard_link_to_a_symlink_is_the_symlink(machine: Machine) -> None:
    symlink(machine, "/s", "f")
    link(machine, "/s", "/a/s")
    assert machine.stat("/a/s", follow=False) == machine.stat("/s", follow=False)
    assert machine.stat("/a/s", follow=False).links == 2
    machine.run(m.Unlink(b"/s"))
    assert machine.ask(m.ReadLink(b"/a/s")).target == b"f"


# --- unlink ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (b"/a", IsDirectoryError),
        (b"/x", PathNotFoundError),
        (b"/f/", NotDirectoryError),
        (b"/s/", NotDirectoryError),
        (b"/", IsDirectoryError),
        (b"/a/..", IsDirectoryError),
        (b"/f/..", NotDirectoryError),
    ],
)
def test_what_cannot_be_unlinked(machine: Machine, path: bytes, error: type[MemfsError]) -> None:
    symlink(machine, "/s", "a")
    with pytest.raises(error):
        machine.run(m.Unlink(path))


def test_unlink_of_what_was_meant_only(machine: Machine) -> None:
    lease = machine.run(m.Create(b"/a/x")).attributes
    machine.file("/a/y")
    meant = m.Unlink(b"/a/x", inode=lease.inode, generation=lease.generation)
    machine.run(m.ReleaseLease(lease.inode, lease.generation))
    machine.run(m.AcquireLease(b"/a/x"))
    for path, request in ((b"/a/x", meant), (b"/a/y", meant._replace(generation=0))):
        with pytest.raises(StaleHandleError):
            machine.run(request._replace(path=path))
    assert machine.names("/a") == ["x", "y"]
    machine.run(meant._replace(generation=lease.generation + 1))
    assert machine.names("/a") == ["y"]


def test_unlink_takes_the_symlink_not_its_target(machine: Machine) -> None:
    symlink(machine, "/s", "f")
    machine.run(m.Unlink(b"/s"))
    assert machine.names("/") == ["a", "b", "c", "f"]


# --- links in place of what has their name -----------------------------------------------------

HERE = "/p"
"""The directory of the names."""


def crowded(directory_mode: int, owner: str, kind: str) -> Machine:
    """``HERE/x`` of bob's is of some kind, in a directory of somebody's."""
    machine = Machine()
    machine.mkdir(HERE, 0o777)
    machine.file("/source", 3, "carol", mode=0o666)
    make = {
        "file": lambda: machine.file(HERE + "/x", 2 * BLOCK, "bob"),
        "linked": lambda: machine.file(HERE + "/x", 2 * BLOCK, "bob"),
        "leased": lambda: machine.run(m.Create(b"/p/x"), "bob"),
        "symlink": lambda: machine.run(m.MakeSymlink(b"/p/x", b"old"), "bob"),
        "directory": lambda: machine.run(m.MakeDirectory(b"/p/x"), "bob"),
        "nothing": lambda: None,
    }
    make[kind]()
    if kind == "linked":
        machine.run(m.MakeLink(b"/p/x", b"/also"))
    machine.run(m.SetAttributes(HERE.encode(), directory_mode, owner))
    return machine


@pytest.mark.parametrize("what", ["symlink", "link"])
@pytest.mark.parametrize("kind", ["file", "linked", "leased", "symlink", "directory", "nothing"])
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o755, 0o700], ids=oct)
@pytest.mark.parametrize("user", ["root", "alice", "bob", "carol"])
def test_a_link_replaces_as_a_rename_over_the_name_would(
    what: str, kind: str, mode: int, user: str
) -> None:
    """In one command; nothing but the name that was needed meanwhile is different."""
    once, twice = crowded(mode, "alice", kind), crowded(mode, "alice", kind)
    made: dict[str, type[MemfsError] | None] = {}
    for name, machine, path in (("once", once, b"/p/x"), ("twice", twice, b"/aside")):
        request = (
            m.MakeSymlink(path, b"new", replace=True)
            if what == "symlink"
            else m.MakeLink(b"/source", path, replace=True)
        )
        made[name] = refusal(machine, request, user)
    assert made["twice"] is None
    assert made["once"] is refusal(twice, m.Rename(b"/aside", b"/p/x"), user)
    if made["once"] is not None:
        twice.run(m.Unlink(b"/aside"), user)
    for machine in (once, twice):
        machine.reclaim()
    assert once.names("/") == twice.names("/") and once.names(HERE) == twice.names(HERE)
    assert [once.du(path) for path in ("/", HERE)] == [twice.du(path) for path in ("/", HERE)]
    assert once.discards == twice.discards
    for path in [f"/{each}" for each in once.names("/")] + [f"/p/{e}" for e in once.names(HERE)]:
        assert seen(once, path) == seen(twice, path), path


def refusal(machine: Machine, request: Any, user: str) -> type[MemfsError] | None:
    try:
        machine.run(request, user)
    except MemfsError as error:
        return type(error)
    return None


def seen(machine: Machine, path: str) -> tuple[object, ...]:
    found = machine.stat(path, follow=False)
    return found.kind, found.mode, found.owner, found.group, found.size, found.links


def test_whoever_has_a_replaced_file_open_keeps_it(machine: Machine) -> None:
    lease = machine.run(m.AcquireLease(b"/f")).attributes
    machine.run(m.MakeSymlink(b"/f", b"elsewhere", replace=True))
    assert machine.namespace.is_unlinked(lease.inode) and machine.discards == []
    machine.write(lease, 3)
    assert machine.stat("/f", follow=False).kind == 2 and len(machine.discards) >= 2


def test_a_link_in_its_own_place_changes_nothing(machine: Machine) -> None:
    link(machine, "/f", "/a/f")
    before = machine.stat("/f"), machine.stat("/a"), machine.du("/")
    machine.run(m.MakeLink(b"/f", b"/a/f", replace=True))
    machine.run(m.MakeLink(b"/f", b"/f", replace=True))
    assert (machine.stat("/f"), machine.stat("/a"), machine.du("/")) == before


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (b"/a", IsDirectoryError),
        (b"/", IsDirectoryError),
        (b"/a/.", IsDirectoryError),
        (b"/a/..", IsDirectoryError),
        (b"/f/", NotDirectoryError),
        (b"/a/", NotDirectoryError),
        (b"/x/", PathNotFoundError),
        (b"/x/y", PathNotFoundError),
        (b"/f/y", NotDirectoryError),
    ],
)
def test_where_no_link_can_replace(machine: Machine, path: bytes, error: type[MemfsError]) -> None:
    machine.file("/g")
    for request in (
        m.MakeSymlink(path, b"t", replace=True),
        m.MakeLink(b"/g", path, replace=True),
    ):
        with pytest.raises(error):
            machine.run(request)
    with pytest.raises(NotPermittedError, match="one name"):
        machine.run(m.MakeLink(b"/a", b"/g", replace=True))
    assert machine.names("/") == ["a", "b", "c", "f", "g"]


# --- symlinks ----------------------------------------------------------------------------------


def test_symlinks_are_followed_in_the_middle_and_at_the_end(machine: Machine) -> None:
    machine.file("/a/x", 3)
    symlink(machine, "/b/up", "../a")
    symlink(machine, "/c/absolute", "/b/up/x")
    symlink(machine, "/again", "c/absolute")
    for path in ("/b/up/x", "/c/absolute", "/again", "/c/../b/up/../a/x"):
        assert machine.stat(path).size == 3, path
    link_itself = machine.stat("/again", follow=False)
    assert (link_itself.kind, link_itself.size, link_itself.mode) == (2, 10, 0o777)
    assert machine.ask(m.ReadLink(b"/again")).target == b"c/absolute"


def test_dot_dot_leaves_the_directory_a_symlink_led_to(machine: Machine) -> None:
    machine.mkdir("/a/deep/down")
    symlink(machine, "/s", "a/deep/down")
    assert machine.stat("/s/..").inode == machine.stat("/a/deep").inode
    assert machine.stat("/..").inode == machine.stat("/../../a/..").inode == 1


def test_a_slash_follows_even_where_the_link_itself_was_asked_for(machine: Machine) -> None:
    symlink(machine, "/s", "a")
    assert machine.stat("/s/", follow=False).kind == 1
    symlink(machine, "/t", "f")
    with pytest.raises(NotDirectoryError):
        machine.stat("/t/")
    symlink(machine, "/u", "f/")
    with pytest.raises(NotDirectoryError):
        machine.stat("/u")
    symlink(machine, "/root", "/")
    assert machine.stat("/root").inode == machine.stat("/root/a/..").inode == 1


def test_loops_and_long_chains_end(machine: Machine) -> None:
    symlink(machine, "/x", "y")
    symlink(machine, "/y", "x")
    symlink(machine, "/self", "self/self/self")
    for path in ("/x", "/x/z", "/self"):
        with pytest.raises(SymlinkLoopError):
            machine.stat(path)
    symlink(machine, "/l0", "f")
    for number in range(1, limits.SYMLINK_FOLLOWS + 1):
        symlink(machine, f"/l{number}", f"l{number - 1}")
    machine.stat(f"/l{limits.SYMLINK_FOLLOWS - 1}")
    with pytest.raises(SymlinkLoopError):
        machine.stat(f"/l{limits.SYMLINK_FOLLOWS}")


@pytest.mark.parametrize(
    ("path", "target", "error"),
    [
        (b"/f", b"x", PathExistsError),
        (b"/s", b"", InvalidArgumentError),
        (b"/s", b"x" * 4096, NameTooLongError),
        (b"/s", b"a\0b", InvalidPathError),
        (b"/s", b"\xff", InvalidArgumentError),
        (b"/s/", b"x", PathNotFoundError),
        (b"/p/s", b"x", PathNotFoundError),
    ],
)
def test_bad_symlinks(
    machine: Machine, path: bytes, target: bytes, error: type[MemfsError]
) -> None:
    with pytest.raises(error):
        machine.run(m.MakeSymlink(path, target))


def test_symlinks_with_parents(machine: Machine) -> None:
    machine.run(m.MakeSymlink(b"/p/q/s", b"/f", parents=True))
    assert machine.stat("/p/q/s").size == BLOCK + 1


@pytest.mark.parametrize("path", [b"/f", b"/a", b"/"])
def test_only_symlinks_have_a_text(machine: Machine, path: bytes) -> None:
    with pytest.raises(InvalidArgumentError):
        machine.ask(m.ReadLink(path))


def test_whoever_names_by_handle_hears_what_became_of_directories(machine: Machine) -> None:
    """And nobody else does: their answers stay as small as they were."""

    def state(path: str) -> Attributes:
        return machine.stat(path)

    here = state("/a").inode
    made = machine.run(m.MakeDirectory(b"d", base=here))
    assert made.also_changed == (state("/a"),)
    file = machine.run(m.Create(b"x", base=here))
    assert file.also_changed == (state("/a"),)
    machine.run(m.ReleaseLease(file.attributes.inode, file.attributes.generation))
    emptied = machine.run(m.Create(b"", base=file.attributes.inode))
    assert emptied.also_changed == ()
    assert machine.run(m.MakeSymlink(b"s", b"x", base=here)).also_changed == (state("/a"),)
    assert machine.run(m.MakeLink(b"/f", b"l", base=here)).also_changed == (state("/a"),)
    there = state("/b").inode
    moved = machine.run(m.Rename(b"x", b"y", source_base=here, target_base=there))
    assert moved.also_changed == (state("/a"), state("/b"), state("/b/y"))
    assert (
        machine.run(m.Rename(b"y", b"y", source_base=there, target_base=there)).also_changed == ()
    )
    assert machine.run(m.Unlink(b"y", there)).also_changed == (state("/b"),)
    assert machine.run(m.RemoveDirectory(b"d", base=here)).also_changed == (state("/a"),)
    assert machine.run(m.MakeDirectory(b"/a/e")).also_changed == ()
    assert machine.run(m.Rename(b"/a/e", b"/e")).also_changed == ()


def test_what_was_beside_is_not_recorded(machine: Machine) -> None:
    """Who repeats a request cannot believe it any more, and results stay small."""
    request = m.MakeDirectory(b"d", base=machine.stat("/a").inode)
    first = machine.apply(machine.entry(request, request_id=900)).record
    again = machine.apply(machine.entry(request, request_id=900)).record
    assert first.also_changed and again == first._replace(also_changed=())
