"""mkdir, rmdir, recursive delete and its reclaim."""

from __future__ import annotations

import pytest

from memfs import limits
from memfs.errors import (
    AccessDeniedError,
    DirectoryNotEmptyError,
    InvalidArgumentError,
    InvalidPathError,
    MemfsError,
    NameTooLongError,
    NotDirectoryError,
    NotPermittedError,
    PathExistsError,
    PathNotFoundError,
    StaleHandleError,
    UnmovableError,
)
from memfs.protocol import messages as m

from ..machine import BLOCK, Machine


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_directories_count_their_links_and_children(machine: Machine) -> None:
    made = machine.mkdir("/d", 0o750)
    assert (made.kind, made.mode, made.links, made.children, made.size) == (1, 0o750, 2, 0, 0)
    machine.mkdir("/d/a")
    machine.mkdir("/d/b")
    machine.file("/d/f")
    assert (machine.stat("/d").links, machine.stat("/d").children) == (4, 3)
    assert machine.stat("/").links == 3
    machine.run(m.RemoveDirectory(b"/d/a"))
    assert (machine.stat("/d").links, machine.stat("/d").children) == (3, 2)


@pytest.mark.parametrize(
    ("path", "parents", "error"),
    [
        (b"/d", False, PathExistsError),
        (b"/f", False, PathExistsError),
        (b"/f", True, PathExistsError),
        (b"/link", False, PathExistsError),
        (b"/link/", False, PathExistsError),
        (b"/tolink", False, PathExistsError),
        (b"/d/.", False, PathExistsError),
        (b"/d/..", False, PathExistsError),
        (b"/", False, PathExistsError),
        (b"/f/x", False, NotDirectoryError),
        (b"/f/x", True, NotDirectoryError),
        (b"/x/y", False, PathNotFoundError),
        (b"/" + b"x" * 256, False, NameTooLongError),
        (b"/a/" + b"x" * 256, True, NameTooLongError),
        (b"/" + b"x/" * 2049, True, NameTooLongError),
        (b"/x\0y", False, InvalidPathError),
        (b"/\xff", False, InvalidPathError),
        (b"/a/\xff/b", True, InvalidPathError),
        (b"/a/../b", True, InvalidPathError),
    ],
)
def test_what_cannot_be_made(
    machine: Machine, path: bytes, parents: bool, error: type[MemfsError]
) -> None:
    machine.mkdir("/d")
    machine.file("/f")
    machine.run(m.MakeSymlink(b"/link", b"nowhere"))
    machine.run(m.MakeSymlink(b"/tolink", b"d"))
    names = machine.names("/")
    with pytest.raises(error):
        machine.run(m.MakeDirectory(path, parents=parents))
    assert machine.names("/") == names


def test_mkdir_accepts_slashes_and_dots(machine: Machine) -> None:
    machine.run(m.MakeDirectory(b"//a//"))
    machine.run(m.MakeDirectory(b"/./a/./b/"))
    assert machine.names("/a") == ["b"]


def test_mkdir_p_takes_what_is_there(machine: Machine) -> None:
    first = machine.mkdir("/a/b/c", 0o700)
    assert machine.mkdir("/a/b/c", 0o777) == first
    machine.run(m.MakeSymlink(b"/link", b"a"))
    machine.mkdir("/link/b/d")
    assert machine.mkdir("/link").inode == machine.stat("/a").inode
    assert machine.names("/a/b") == ["c", "d"] and machine.stat("/a").mode == 0o755


def test_depth_is_bounded_even_for_handles(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DIRECTORY_DEPTH", 3)
    base = machine.mkdir("/a/b").inode
    deepest = machine.run(m.MakeDirectory(b"c", base=base)).attributes.inode
    with pytest.raises(NameTooLongError):
        machine.run(m.MakeDirectory(b"d", base=deepest))
    with pytest.raises(NameTooLongError):
        machine.mkdir("/a/x/y/z")
    machine.mkdir("/m")
    with pytest.raises(NameTooLongError):
        machine.run(m.Rename(b"/m", b"/a/b/c/m"))
    machine.run(m.Create(b"f", base=deepest))


@pytest.mark.parametrize(
    ("path", "recursive", "error"),
    [
        (b"/", False, UnmovableError),
        (b"/", True, UnmovableError),
        (b"/d/.", True, InvalidArgumentError),
        (b"/d/..", True, DirectoryNotEmptyError),
        (b"/d", False, DirectoryNotEmptyError),
        (b"/f", False, NotDirectoryError),
        (b"/f", True, NotDirectoryError),
        (b"/link", True, NotDirectoryError),
        (b"/link/", True, NotDirectoryError),
        (b"/x", True, PathNotFoundError),
    ],
)
def test_what_cannot_be_removed(
    machine: Machine, path: bytes, recursive: bool, error: type[MemfsError]
) -> None:
    machine.file("/d/f", parents=True)
    machine.file("/f")
    machine.run(m.MakeSymlink(b"/link", b"d"))
    with pytest.raises(error):
        machine.run(m.RemoveDirectory(path, recursive))
    assert machine.names("/") == ["d", "f", "link"]


def test_recursive_removal_is_one_step_and_reclaim_frees_the_rest(machine: Machine) -> None:
    for number in range(20):
        machine.file(f"/d/s{number % 3}/t/f{number}", BLOCK, parents=True)
    machine.run(m.MakeSymlink(b"/d/link", b"x"))
    machine.run(m.SetXattr(b"/d/s0", "user.a", b"1"))
    machine.file("/keep", 5)
    inner = machine.stat("/d/s0/t").inode
    before = machine.namespace.statistics()
    machine.run(m.RemoveDirectory(b"/d", recursive=True))
    assert machine.du("/") == (5, 1, 1, 10) and machine.namespace.reclaiming == 28
    assert machine.discards == []
    with pytest.raises(StaleHandleError):
        machine.run(m.Create(b"new", base=inner))
    with pytest.raises(StaleHandleError):
        machine.ask(m.Lookup(b"", base=inner))
    machine.run(m.Reclaim(10))
    assert 0 < len(machine.discards) <= 10 and 18 <= machine.namespace.reclaiming < 28
    machine.reclaim()
    assert len(machine.discards) == 20
    assert machine.namespace.statistics().inodes == before.inodes - 28 == 2


def test_links_from_outside_survive_a_deleted_tree(machine: Machine) -> None:
    file = machine.file("/d/f", BLOCK, parents=True)
    machine.mkdir("/keep")
    machine.run(m.MakeLink(b"/d/f", b"/keep/f"))
    machine.run(m.MakeLink(b"/d/f", b"/d/again"))
    machine.run(m.RemoveDirectory(b"/d", recursive=True))
    assert machine.stat("/keep/f").links == 3, "until reclaim comes by"
    held = machine.run(m.AcquireLease(b"/keep/f")).attributes
    machine.write(held, BLOCK + 5)
    machine.reclaim()
    left = machine.stat("/keep/f")
    assert (left.inode, left.links, left.size) == (file.inode, 1, BLOCK + 5)
    assert machine.du("/keep") == (BLOCK + 5, 1, 1, 2 * (BLOCK + 5))
    assert machine.du("/") == (BLOCK + 5, 1, 2, 2 * (BLOCK + 5))


def test_a_full_directory_of_another_cannot_be_deleted(machine: Machine) -> None:
    machine.file("/d/f", parents=True)
    for mode, error in {
        0o766: AccessDeniedError,
        0o775: AccessDeniedError,
        0o773: AccessDeniedError,
        0o1777: NotPermittedError,
    }.items():
        machine.run(m.SetAttributes(b"/d", mode=mode))
        with pytest.raises(error):
            machine.run(m.RemoveDirectory(b"/d", recursive=True), "carol")
    machine.run(m.SetAttributes(b"/d", mode=0o777))
    machine.run(m.RemoveDirectory(b"/d", recursive=True), "carol")


def test_an_empty_directory_needs_no_permission_of_its_own(machine: Machine) -> None:
    machine.mkdir("/d", 0)
    machine.run(m.RemoveDirectory(b"/d", recursive=True), "carol")


def test_ids_of_removed_directories_are_stale(machine: Machine) -> None:
    inode = machine.mkdir("/d").inode
    machine.run(m.RemoveDirectory(b"/d"))
    machine.mkdir("/d")
    with pytest.raises(StaleHandleError):
        machine.ask(m.List(b"", base=inode))


def test_inconsistent_pages_never_show_a_name_twice_or_skip_one_that_stays(
    machine: Machine,
) -> None:
    for number in range(30):
        machine.file(f"/f{number:02}")
    seen: list[bytes] = []
    after = b""
    while True:
        page = machine.ask(m.List(b"/", after, 7))
        if not page.entries:
            break
        seen += [entry.name for entry in page.entries]
        after = seen[-1]
        machine.run(m.Unlink(b"/" + after))  # a page resumes behind a name that has gone
    assert seen == [b"f%02d" % number for number in range(30)]


def test_the_group_of_the_directory_where_the_settings_say_so() -> None:
    """As HDFS, and as BSD: for whatever is made, and through a snapshot."""
    machine = Machine()
    machine.namespace.volume.settings = machine.namespace.volume.settings._replace(
        parents_group=True
    )
    machine.run(m.MakeDirectory(b"/d", 0o777))
    machine.run(m.SetAttributes(b"/d", group="project"))
    for copied in (machine, machine.copy()):
        name = b"copied" if copied is not machine else b"first"
        copied.run(m.MakeDirectory(b"/d/" + name), "alice")
        copied.run(m.Create(b"/d/" + name + b"/f"), "alice")
        assert copied.stat(f"/d/{name.decode()}").group == "project"
        assert copied.stat(f"/d/{name.decode()}/f").group == "project"


def test_the_group_of_the_directory_for_whoever_asks_so() -> None:
    """Whatever is made, and in a directory that hands on its group beside it."""
    machine = Machine()
    machine.run(m.MakeDirectory(b"/d", 0o777))
    machine.run(m.SetAttributes(b"/d", group="project"))
    for user, group in (("hadoop", "project"), ("carol", "others")):
        at = b"/d/" + user.encode()
        machine.run(m.MakeDirectory(at, 0o2755), user)
        machine.run(m.Create(at + b"/in/between", 0o2755, parents=True), user)
        machine.run(m.MakeSymlink(at + b"/s", b"anywhere"), user)
        draft = machine.run(m.CreateDraft(at + b"/draft"), user).attributes
        published = m.PublishDraft(draft.inode, draft.generation, at + b"/draft", 0)
        machine.run(published, user)
        for name in ("", "/in", "/in/between", "/s", "/draft"):
            assert machine.stat(f"/d/{user}{name}", follow=False).group == group, name
    assert machine.stat("/d/hadoop/in/between").mode == 0o755, "no set-gid for another's group"
    assert machine.stat("/d/carol/in/between").mode == 0o2755
