"""Copies, moves and kinds of paths as in ``pathlib`` of 3.14, beside it where Python has them."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from memfs.client.blocking.filesystem import FileSystem
from memfs.client.blocking.path import MemfsPath
from memfs.errors import LeaseHeldError, SpaceQuotaError, StaleHandleError

from ..fake_cluster import FakeCluster
from .on_fake import OnFake
from .test_path import fill, outcome, state


@pytest.fixture(scope="module")
def fs() -> Iterator[FileSystem]:
    with OnFake(FakeCluster()) as fs:
        yield fs


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[FileSystem]:
    with OnFake(FakeCluster()) as fs:
        fs.config = dataclasses.replace(fs.config, user="elsewhere")
        yield fs


@pytest.fixture
def top(fs: FileSystem) -> Iterator[MemfsPath]:
    top = fs.path("/top")
    top.mkdir()
    fill(top)
    (top / "loop").unlink()
    yield top
    top.rmtree()


SAME = "Invalid argument"
EXISTS = "File exists"
MISSING = "No such file or directory"
CASES: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "copy": (lambda p: (p / "f.txt").copy(p / "g").read_text(), "f.txt"),
    "copy to text": (lambda p: (p / "f.txt").copy(str(p / "g")).name, "g"),
    "copy over": (lambda p: (p / "f.txt").copy(p / "d/a.py").read_text(), "f.txt"),
    "copy over a link": (
        lambda p: [(p / "d/a.py").copy(p / "lf"), (p / "lf").is_symlink()][1],
        True,
    ),
    "copy a link": (
        lambda p: str((p / "lf").copy(p / "g", follow_symlinks=False).readlink()),
        "f.txt",
    ),
    "copy through a link": (lambda p: (p / "lf").copy(p / "g").is_symlink(), False),
    "copy a broken link": (
        lambda p: str((p / "broken").copy(p / "g", follow_symlinks=False).readlink()),
        "nowhere",
    ),
    "copy through a broken link": (lambda p: (p / "broken").copy(p / "g"), MISSING),
    "copy a link over a file": (
        lambda p: (p / "lf").copy(p / "d/a.py", follow_symlinks=False),
        EXISTS,
    ),
    "copy nothing": (lambda p: (p / "x").copy(p / "g"), MISSING),
    "copy into nothing": (lambda p: (p / "f.txt").copy(p / "x/g"), MISSING),
    "copy onto itself": (lambda p: (p / "f.txt").copy(p / "f.txt"), SAME),
    "copy onto itself by another name": (lambda p: (p / "f.txt").copy(p / "lf"), SAME),
    "copy over a directory": (lambda p: (p / "f.txt").copy(p / "d"), "Is a directory"),
    "copy a tree": (
        lambda p: sorted(
            str(each.relative_to(p))
            for each in (p / "d").copy(p / "e", follow_symlinks=False).rglob("*")
        ),
        ["e/.dot.py", "e/a.py", "e/b.py", "e/sub", "e/sub/c.tar.gz", "e/sub/deep", "e/sub/up"],
    ),
    "copy a tree and its links": (
        lambda p: (p / "d").copy(p / "e", follow_symlinks=False).joinpath("sub/up").is_symlink(),
        True,
    ),
    "copy a tree over one": (lambda p: (p / "d").copy(p / "empty"), EXISTS),
    "copy a tree over a file": (lambda p: (p / "d").copy(p / "f.txt"), EXISTS),
    "copy a tree into itself": (lambda p: (p / "d").copy(p / "d/sub/e"), SAME),
    "copy metadata": (
        lambda p: [
            (p / "f.txt").chmod(0o600),
            (p / "f.txt").copy(p / "g", preserve_metadata=True),
            (p / "g").stat().st_mode & 0o777,
            (p / "g").stat().st_mtime_ns == (p / "f.txt").stat().st_mtime_ns,
        ][2:],
        [0o600, True],
    ),
    "copy_into": (lambda p: (p / "f.txt").copy_into(p / "d").read_text(), "f.txt"),
    "copy_into text": (lambda p: (p / "f.txt").copy_into(str(p / "d")).name, "f.txt"),
    "copy_into a file": (lambda p: (p / "f.txt").copy_into(p / "d/a.py"), "Not a directory"),
    "copy_into its own": (lambda p: (p / "f.txt").copy_into(p), SAME),
    "copy_into of the root": (lambda p: type(p / "/").copy_into(p / "/", p / "d"), [ValueError]),
    "move": (lambda p: [(p / "f.txt").move(p / "g").name, (p / "f.txt").exists()], ["g", False]),
    "move a tree": (lambda p: [(p / "d").move(p / "e").name, (p / "d").exists()], ["e", False]),
    "move over": (lambda p: (p / "f.txt").move(p / "d/a.py").read_text(), "f.txt"),
    "move a link": (lambda p: (p / "lf").move(p / "g").is_symlink(), True),
    "move a link over what it leads to": (lambda p: (p / "lf").move(p / "f.txt"), SAME),
    "move onto itself": (lambda p: (p / "f.txt").move(p / "f.txt"), SAME),
    "move nothing": (lambda p: (p / "x").move(p / "g"), MISSING),
    "move over what is full": (lambda p: (p / "empty").move(p / "d"), "Directory not empty"),
    "move into itself": (lambda p: (p / "d").move(p / "d/sub/e"), SAME),
    "move_into": (lambda p: (p / "f.txt").move_into(p / "d").read_text(), "f.txt"),
    "move_into nothing": (lambda p: (p / "f.txt").move_into(p / "x"), MISSING),
    "info": (
        lambda p: [
            [
                (p / name).info.exists(),
                (p / name).info.exists(follow_symlinks=False),
                (p / name).info.is_dir(),
                (p / name).info.is_dir(follow_symlinks=False),
                (p / name).info.is_file(),
                (p / name).info.is_file(follow_symlinks=False),
                (p / name).info.is_symlink(),
            ]
            for name in ("f.txt", "d", "lf", "ld", "broken", "x", "f.txt/x")
        ],
        [
            [True, True, False, False, True, True, False],
            [True, True, True, True, False, False, False],
            [True, True, False, False, True, False, True],
            [True, True, True, False, False, False, True],
            [False, True, False, False, False, False, True],
            [False] * 7,
            [False] * 7,
        ],
    ),
    "info is kept": (
        lambda p: [
            known := p / "f.txt",
            known.info.is_file(),
            known.unlink(),
            known.info.exists(),
            known.exists(),
        ][1:],
        [True, None, True, False],
    ),
    "info of what was listed": (
        lambda p: sorted(
            (each.name, each.info.is_dir(), each.info.is_symlink())
            for each in (p / "d/sub").iterdir()
        ),
        [("c.tar.gz", False, False), ("deep", True, False), ("up", True, True)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_as_pathlib_of_3_14(case: str, top: MemfsPath, tmp_path: Path) -> None:
    call, expected = CASES[case]
    found = outcome(call, top)
    assert (tuple_free(found)) == tuple_free(expected)
    if not hasattr(tmp_path, "copy"):
        return
    fill(tmp_path)
    (tmp_path / "loop").unlink()
    assert tuple_free(outcome(call, tmp_path)) == tuple_free(expected)
    assert state(top) == state(tmp_path)


def tuple_free(value: Any) -> Any:
    return [tuple_free(each) for each in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("preserve", [False, True])
def test_copies_to_the_local_disk(top: MemfsPath, tmp_path: Path, preserve: bool) -> None:
    (top / "f.txt").chmod(0o640)
    found = top.copy(tmp_path / "tree", follow_symlinks=False, preserve_metadata=preserve)
    assert isinstance(found, Path)
    assert [each[0].removeprefix(str(found)) for each in state(found)] == [
        each[0].removeprefix(str(top)) for each in state(top)
    ]
    file = (top / "f.txt").copy_into(tmp_path, preserve_metadata=preserve)
    assert file == tmp_path / "f.txt" and file.read_text() == "f.txt"
    if preserve:
        assert file.stat().st_mode == (top / "f.txt").stat().st_mode
    link = (top / "lf").copy(tmp_path / "link", follow_symlinks=False)
    assert link.is_symlink()
    with pytest.raises(FileExistsError):
        (top / "d").copy(tmp_path)


def test_moves_to_the_local_disk(top: MemfsPath, tmp_path: Path) -> None:
    assert (top / "d").move_into(tmp_path) == tmp_path / "d"
    assert (tmp_path / "d/sub/c.tar.gz").read_text() == "d/sub/c.tar.gz"
    assert not (top / "d").exists()
    (top / "f.txt").move(tmp_path / "g")
    assert not (top / "f.txt").exists()


@pytest.mark.parametrize("preserve", [False, True])
def test_copies_to_another_cluster(top: MemfsPath, elsewhere: FileSystem, preserve: bool) -> None:
    target = elsewhere.path("/" if not preserve else "/kept")
    (top / "d/a.py").chmod(0o600)
    top.fs.setxattr(top / "d/a.py", "user.x", b"1")
    target.mkdir(exist_ok=True)
    found = (top / "d").copy(target / "e", follow_symlinks=False, preserve_metadata=preserve)
    assert isinstance(found, MemfsPath) and found.fs is elsewhere
    assert (found / "sub/c.tar.gz").read_text() == "d/sub/c.tar.gz"
    assert (found / "sub/up").is_symlink()
    same = (found / "a.py").stat().st_mtime_ns == (top / "d/a.py").stat().st_mtime_ns
    assert same == preserve
    if preserve:
        assert state_of(found) == state_of(top / "d")
        assert elsewhere.getxattr(found / "a.py", "user.x") == b"1"
    assert (top / "f.txt").move_into(target) == target / "f.txt"
    assert not (top / "f.txt").exists()


def state_of(path: MemfsPath) -> list[tuple[Any, ...]]:
    return [(each[0].removeprefix(str(path)), *each[1:]) for each in state(path)]


WHOLE = {
    ("/a/b.py", "/a/*.py"): True,
    ("/a/b.py", "*.py"): False,
    ("/a/b.py", "/**/*.py"): True,
    ("/a/b.py", "**/*.py"): True,
    ("/b.py", "**/*.py"): False,
    ("/a/b", "/a/**"): True,
    ("/a", "/a/**"): False,
    ("/a/.b/c", "/a/*/c"): True,
    ("/", "/"): True,
    ("/", "/*"): False,
    ("/", "/**"): True,
    ("/a", ""): False,
    ("/a/b/c/d", "/a/**/d"): True,
    ("/a/d", "/a/**/d"): True,
    ("/a/b/c/d", "/a/**/c/**/d"): True,
    ("/a/xyz", "/a/**z"): True,
}


@pytest.mark.parametrize("path, pattern", WHOLE)
def test_full_match(path: str, pattern: str, fs: FileSystem) -> None:
    assert fs.path(path).full_match(pattern) == WHOLE[path, pattern]
    assert fs.path(path).full_match(pattern.upper(), case_sensitive=False) == WHOLE[path, pattern]
    if hasattr(PurePosixPath, "full_match"):
        assert PurePosixPath(path).full_match(pattern) == WHOLE[path, pattern]


def test_nothing_of_pathlib_is_missing() -> None:
    """But what asks for a current directory or a home, and what makes a path of a local URL."""
    local = {"cwd", "home", "expanduser", "from_uri", "link_to"}
    assert {name for name in dir(Path) if not name.startswith("_")} - set(dir(MemfsPath)) <= local


def test_errors_name_both(top: MemfsPath) -> None:
    with pytest.raises(OSError) as caught:
        (top / "d").copy(top / "d/e")
    assert caught.value.errno == errno.EINVAL
    assert (caught.value.filename, caught.value.filename2) == ("/top/d", "/top/d/e")


class Writing(OnFake):
    """Somebody acts between the copy to it and the end of the move."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        super().__init__(FakeCluster())
        self.config = dataclasses.replace(self.config, user="elsewhere")

    def utime(self, *arguments: Any, **options: Any) -> Any:
        """The last thing that a copy with metadata does."""
        self._act()
        return super().utime(*arguments, **options)


def append(path: MemfsPath) -> None:
    with path.open("ab") as file:
        file.write(b"!")


def test_what_is_written_during_a_move_is_not_lost(top: MemfsPath) -> None:
    with Writing(lambda: append(top / "f.txt")) as there:
        with pytest.raises(StaleHandleError) as caught:
            (top / "f.txt").move(there.path("/f"))
        assert caught.value.filename == "/top/f.txt"
    assert (top / "f.txt").read_bytes() == b"f.txt!"


def test_what_takes_the_place_of_a_file_that_moves_is_not_lost(top: MemfsPath) -> None:
    with (
        Writing(lambda: (top / "f.txt").write_bytes(b"new")) as there,
        pytest.raises(StaleHandleError),
    ):
        (top / "f.txt").move(there.path("/f"))
    assert (top / "f.txt").read_bytes() == b"new"


def test_what_is_put_into_a_tree_that_moves_is_not_lost(top: MemfsPath) -> None:
    with Writing(lambda: (top / "d/sub/new").write_bytes(b"new")) as there:
        with pytest.raises(OSError, match="not empty"):
            (top / "d").move(there.path("/d"))
        assert (there.path("/d/sub/c.tar.gz")).read_text() == "d/sub/c.tar.gz"
    assert (top / "d/sub/new").read_bytes() == b"new"


def test_what_is_being_written_is_not_moved_away(top: MemfsPath, tmp_path: Path) -> None:
    with (top / "d/sub/c.tar.gz").open("ab") as file:
        file.write(b"!")
        for moved in (top / "d/sub/c.tar.gz", top / "d"):
            with pytest.raises(LeaseHeldError) as caught:
                moved.move(tmp_path / "there")
            assert caught.value.filename == "/top/d/sub/c.tar.gz"
    assert (top / "d/sub/c.tar.gz").read_text() == "d/sub/c.tar.gz!"
    assert not (tmp_path / "there").exists()


def test_names_of_one_file_move_together(top: MemfsPath, tmp_path: Path) -> None:
    (top / "d/sub/further").hardlink_to(top / "d/a.py")
    assert (top / "d").move(tmp_path / "d") == tmp_path / "d"
    assert (tmp_path / "d/sub/further").samefile(tmp_path / "d/a.py")
    assert not (top / "d").exists()


def test_a_copy_that_finds_no_room_elsewhere_keeps_what_was_there(
    top: MemfsPath, elsewhere: FileSystem
) -> None:
    full = elsewhere.path("/full")
    full.mkdir()
    (full / "f").write_bytes(b"old")
    elsewhere.set_quota(full, names=None, space=1_000)
    (top / "large").write_bytes(bytes(range(256)) * 100)
    for name in ("f", "new"):
        with pytest.raises(SpaceQuotaError):
            (top / "large").copy(full / name)
    assert (full / "f").read_bytes() == b"old" and not (full / "new").exists()


def test_a_copy_elsewhere_through_a_link_and_over_a_directory(
    top: MemfsPath, elsewhere: FileSystem
) -> None:
    there = elsewhere.path("/kinds")
    (there / "d").mkdir(parents=True)
    (there / "f").write_bytes(b"old")
    (there / "f").chmod(0o640)
    (there / "link").symlink_to("f")
    (top / "f.txt").copy(there / "link")
    assert (there / "link").is_symlink() and (there / "f").read_text() == "f.txt"
    assert (there / "f").stat().st_mode & 0o777 == 0o640
    with pytest.raises(IsADirectoryError):
        (top / "f.txt").copy(there / "d")


def test_holes_stay_holes_in_another_cluster(top: MemfsPath, elsewhere: FileSystem) -> None:
    with (top / "sparse").open("wb") as file:
        file.truncate(1 << 35)
        file.seek(1 << 34)
        file.write(b"data")
    (top / "hole").write_bytes(b"")
    top.fs.truncate(top / "hole", 1 << 35)
    for name in ("sparse", "hole"):
        found = (top / name).copy(elsewhere.path(f"/{name}"))
        assert found.stat().st_size == 1 << 35
        with found.open("rb") as file:
            if name == "hole":
                with pytest.raises(OSError) as caught:
                    file.seek(0, os.SEEK_DATA)
                assert caught.value.errno == errno.ENXIO
            else:
                assert 0 < file.seek(0, os.SEEK_DATA) <= 1 << 34
                assert file.seek(1 << 34, os.SEEK_HOLE) < 1 << 35
                file.seek(1 << 34)
                assert file.read(5) == b"data\0"
