"""Paths of a cluster beside ``pathlib`` over a local directory: one table of cases for both."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memfs import errors
from memfs.client.blocking.filesystem import FileSystem
from memfs.client.blocking.path import MemfsPath

from ..fake_cluster import FakeCluster
from .on_fake import OnFake

DIRECTORIES = ("d", "d/sub", "d/sub/deep", ".hidden", "with[x]", "empty")
FILES = ("f.txt", "d/a.py", "d/b.py", "d/.dot.py", "d/sub/c.tar.gz", "with[x]/g", ".hidden/h.py")
LINKS = {"lf": "f.txt", "ld": "d", "broken": "nowhere", "d/sub/up": "..", "loop": "loop"}


def fill(top: Any) -> None:
    for name in DIRECTORIES:
        (top / name).mkdir()
    for name in FILES:
        (top / name).write_bytes(name.encode())
    for name, target in LINKS.items():
        (top / name).symlink_to(target)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("local").resolve()
    fill(top)
    return top


@pytest.fixture(scope="module")
def fs() -> Iterator[FileSystem]:
    with OnFake(FakeCluster()) as fs:
        yield fs


@pytest.fixture(scope="module")
def ours(local: Path, fs: FileSystem) -> MemfsPath:
    top = fs.path(str(local))
    top.mkdir(parents=True)
    fill(top)
    return top


def told(value: Any) -> Any:
    """What a result says, in a form that both kinds of path share."""
    if isinstance(value, Path | MemfsPath):
        return str(value)
    if isinstance(value, list | tuple) or hasattr(value, "__next__"):
        return [told(each) for each in value]
    return value


def outcome(call: Callable[[Any], Any], path: Any) -> Any:
    try:
        return told(call(path))
    except (OSError, ValueError, TypeError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno:
            return os.strerror(error.errno)
        return [kind for kind in (ValueError, TypeError) if isinstance(error, kind)]


CASES: dict[str, Callable[[Any], Any]] = {
    "name": lambda p: (p / "d/sub/c.tar.gz").name,
    "stem": lambda p: (p / "d/sub/c.tar.gz").stem,
    "suffixes": lambda p: (p / "c.tar.gz").suffixes,
    "parts": lambda p: (p / "d").parts,
    "anchor": lambda p: (p.anchor, p.root, p.drive),
    "parents": lambda p: list((p / "d/sub").parents),
    "with_name": lambda p: (p / "x").with_name("y.z"),
    "with_name of nothing": lambda p: (p / "x").with_name(""),
    "with_stem": lambda p: (p / "x.py").with_stem("y"),
    "with_suffix": lambda p: (p / "x.py").with_suffix(".md"),
    "relative_to": lambda p: str((p / "a/b").relative_to(p)),
    "relative_to several": lambda p: str((p / "a/b/c").relative_to(p, "a")),
    "relative_to what is relative": lambda p: (p / "a").relative_to("a"),
    "relative_to another": lambda p: (p / "a").relative_to(p / "b"),
    "is_relative_to": lambda p: ((p / "a").is_relative_to(p), p.is_relative_to(p / "a")),
    "match": lambda p: ((p / "d/a.py").match("*.py"), (p / "d/a.py").match("e/*.py")),
    "match whole": lambda p: (p / "d").match("/d"),
    "as_posix": lambda p: (p / "d//sub/.").as_posix(),
    "is_absolute": lambda p: (p.is_absolute(), p.is_reserved()),
    "absolute": lambda p: (p / "d/../f.txt").absolute(),
    "joinpath": lambda p: p.joinpath("a", "b/c", "/d"),
    "text before": lambda p: ("/a" / p, "a" / p),
    "nothing to add": lambda p: p / "",
    "a number to add": lambda p: p / 5,
    "order": lambda p: (p < p / "a", p <= p, p / "b" > p / "a", p >= p / "a"),
    "equality": lambda p: (p / "a" == p / "a", p == str(p), hash(p / "a") == hash(p / "a")),
    "exists": lambda p: [(p / each).exists() for each in ("d", "f.txt", "x", "broken", "lf/x")],
    "exists, no text": lambda p: (p / "\udfff").exists(),
    "exists, too long": lambda p: (p / ("x" * 255)).exists(),
    "is_dir": lambda p: [(p / each).is_dir() for each in ("d", "ld", "lf", "x", "f.txt/", "loop")],
    "is_file": lambda p: [(p / each).is_file() for each in ("d", "ld", "lf", "f.txt", "broken")],
    "is_symlink": lambda p: [(p / each).is_symlink() for each in ("ld", "broken", "d", "x")],
    "kinds": lambda p: [
        getattr(p / "f.txt", f"is_{kind}")() for kind in ("fifo", "socket", "block_device")
    ],
    "samefile": lambda p: ((p / "lf").samefile(p / "f.txt"), p.samefile(str(p / "ld"))),
    "samefile of nothing": lambda p: p.samefile(p / "x"),
    "size": lambda p: ((p / "f.txt").stat().st_size, (p / "broken").lstat().st_size),
    "stat of nothing": lambda p: (p / "x").stat(),
    "stat through a file": lambda p: (p / "f.txt/x").stat(),
    "stat of a loop": lambda p: (p / "loop").stat(),
    "owner": lambda p: (p.owner(), (p / "f.txt").owner()),
    "readlink": lambda p: str((p / "broken").readlink()),
    "readlink of a file": lambda p: (p / "f.txt").readlink(),
    "resolve": lambda p: [
        (p / each).resolve() for each in ("ld/a.py", "d/sub/up/a.py", "x/y", "ld/..", "broken")
    ],
    "resolve strictly": lambda p: (p / "ld/sub/up").resolve(strict=True),
    "resolve what is not there": lambda p: (p / "x").resolve(strict=True),
    "resolve through a file": lambda p: (p / "f.txt/x").resolve(strict=True),
    "iterdir": lambda p: sorted(map(str, p.iterdir())),
    "iterdir of nothing": lambda p: list((p / "x").iterdir()),
    "iterdir of a file": lambda p: list((p / "f.txt").iterdir()),
    "walk": lambda p: sorted(
        (str(top), sorted(directories))
        for top, directories, _ in (p.walk() if hasattr(p, "walk") else walk(p))
    ),
    "read": lambda p: ((p / "f.txt").read_text(), (p / "lf").read_bytes()),
    "read with an encoding": lambda p: (p / "f.txt").read_text("ascii", "replace"),
    "read nothing": lambda p: (p / "x").read_bytes(),
    "read a directory": lambda p: (p / "d").read_bytes(),
    "write a number": lambda p: (p / "n").write_text(5),
}


def walk(path: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """For releases of Python whose paths cannot."""
    for top, directories, files in os.walk(path):
        yield Path(top), [each for each in directories if not Path(top, each).is_symlink()], files


PATTERNS = (
    *("*", "*.py", "**", "**/*.py", "**/", "*/", "d/*", "d/**", "**/sub", "**/sub/*", "*/*", "?*"),
    *(
        ".*",
        "[df]*",
        "with[[]x]/*",
        "d/a.py",
        "x",
        "x/*",
        "*/..",
        "d/../*.txt",
        "lf",
        "ld/*",
        "l*/",
    ),
    *(
        "**/**/*.py",
        "*/a.py",
        "broken",
        "b*",
        "f.txt/*",
        "**/*/*.gz",
        "",
        "/abs",
        "**/..",
        "*/.",
    ),
    *(
        "loop",
        "***",
        "d**",
        "**d",
        "d/**/",
        "l*/**",
        "**/ld/**",
        "d/../d/*",
        "broken/",
        "[",
        "*//a.py",
    ),
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # newer releases give them
@pytest.mark.parametrize("case", CASES)
def test_as_pathlib(case: str, local: Path, ours: MemfsPath) -> None:
    assert outcome(CASES[case], ours) == outcome(CASES[case], local)


@pytest.mark.parametrize("follow", [True, False])
@pytest.mark.parametrize("topdown", [True, False])
def test_walk_as_os(topdown: bool, follow: bool, local: Path, ours: MemfsPath) -> None:
    if follow:  # a link to a directory above never ends
        local, ours = local / "with[x]", ours / "with[x]"
        for top in (local, ours):
            (top / "to").symlink_to("../empty")
    found = ours.fs.walk(ours, topdown, followlinks=follow)
    mine = sorted((top, sorted(dirs), sorted(files)) for top, dirs, files in found)
    real = os.walk(local, topdown, followlinks=follow)
    assert mine == sorted((top, sorted(dirs), sorted(files)) for top, dirs, files in real)
    if follow:
        for top in (local, ours):
            (top / "to").unlink()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns(pattern: str, local: Path, ours: MemfsPath) -> None:
    for search in (lambda p: sorted(map(str, p.glob(pattern))),):
        assert outcome(search, ours) == outcome(search, local)
    deep = lambda p: sorted(set(map(str, p.rglob(pattern))))  # noqa: E731
    assert outcome(deep, ours) == outcome(deep, local)


def test_patterns_below_a_name_with_brackets(local: Path, ours: MemfsPath) -> None:
    found = [str(each) for each in (ours / "with[x]").glob("*")]
    assert found == [str(each) for each in (local / "with[x]").glob("*")] != []


CHANGES: dict[str, Callable[[Any], Any]] = {
    "touch": lambda p: (p / "new").touch(),
    "touch what is there": lambda p: (p / "f.txt").touch(exist_ok=False),
    "mkdir": lambda p: (p / "n").mkdir(),
    "mkdir with a mode": lambda p: (p / "n").mkdir(0o777),
    "mkdir with more bits": lambda p: (p / "n").mkdir(0o1773),
    "mkdir with a mode and parents": lambda p: (p / "n/m").mkdir(0o733, parents=True),
    "mkdir with a mode of text": lambda p: (p / "n").mkdir("755"),
    "touch with a mode": lambda p: (p / "new").touch(0o777),
    "mkdir again": lambda p: (p / "d").mkdir(),
    "mkdir over a file": lambda p: (p / "f.txt").mkdir(exist_ok=True),
    "mkdir, there already": lambda p: (p / "d").mkdir(parents=True, exist_ok=True),
    "mkdir with parents": lambda p: (p / "n/m/o").mkdir(parents=True),
    "mkdir without": lambda p: (p / "n/m").mkdir(),
    "unlink": lambda p: (p / "f.txt").unlink(),
    "unlink nothing": lambda p: (p / "x").unlink(),
    "unlink, maybe": lambda p: (p / "x").unlink(missing_ok=True),
    "unlink a link": lambda p: (p / "ld").unlink(),
    "rmdir": lambda p: (p / "empty").rmdir(),
    "rmdir of what is full": lambda p: (p / "d").rmdir(),
    "rmdir of a file": lambda p: (p / "f.txt").rmdir(),
    "rename": lambda p: (p / "f.txt").rename(p / "g.txt"),
    "rename to nothing": lambda p: (p / "f.txt").rename(""),
    "rename a directory": lambda p: (p / "d").rename(p / "empty"),
    "replace": lambda p: (p / "f.txt").replace(p / "d/a.py"),
    "replace by text": lambda p: (p / "f.txt").replace(str(p / "h")),
    "chmod": lambda p: (p / "f.txt").chmod(0o600),
    "chmod of a link": lambda p: (p / "lf").chmod(0o640),
    "hardlink": lambda p: (p / "hard").hardlink_to(p / "f.txt"),
    "symlink over": lambda p: (p / "lf").symlink_to("x"),
    "symlink with a long text": lambda p: (p / "long").symlink_to("x" * 4000),
    "write": lambda p: ((p / "w").write_text("a\nb", newline="\r\n"), (p / "w").read_bytes()),
    "write over": lambda p: (p / "lf").write_bytes(b"through"),
    "write into nothing": lambda p: (p / "x/y").write_bytes(b""),
}


def state(top: Any) -> list[tuple[Any, ...]]:
    """Names, modes, sizes and link counts of everything below."""
    found = []
    for path in sorted(map(str, top.glob("**/*"))):
        stat = (top / path).lstat()
        links = stat.st_nlink if stat.st_mode & 0o100000 else 0
        size = stat.st_size if stat.st_mode & 0o100000 else 0
        found.append((path, oct(stat.st_mode), size, links))
    return found


@pytest.mark.parametrize("case", CHANGES)
def test_changes_as_pathlib(case: str, tmp_path: Path, fs: FileSystem) -> None:
    ours = fs.path(str(tmp_path))
    ours.mkdir(parents=True)
    for top in (tmp_path, ours):
        fill(top)
    assert outcome(CHANGES[case], ours) == outcome(CHANGES[case], tmp_path)
    assert state(ours) == state(tmp_path)
    fs.rmtree(tmp_path)
    shutil.rmtree(tmp_path)


def test_modes_follow_the_umask(fs: FileSystem, tmp_path: Path) -> None:
    for mask in (0o022, 0o077, 0o002):
        before = os.umask(mask)
        try:
            for top in (tmp_path, fs.path("/masked")):
                top.mkdir(exist_ok=True)
                (top / "d").mkdir()
                (top / "f").touch()
                (top / "g").write_bytes(b"")
                with (top / "h").open("w"):
                    pass
            names = ("d", "f", "g", "h")
            assert [(fs.path("/masked") / name).stat().st_mode for name in names] == [
                (tmp_path / name).stat().st_mode for name in names
            ]
        finally:
            os.umask(before)
        for top in (tmp_path, fs.path("/masked")):
            (top / "d").rmdir()
            for name in names[1:]:
                (top / name).unlink()


def test_it_does_not_pretend_to_be_local(ours: MemfsPath, fs: FileSystem) -> None:
    with pytest.raises(TypeError):
        Path(ours / "f.txt")
    (entry, *_) = fs.scandir(ours)
    with pytest.raises(TypeError):
        os.stat(entry)
    assert fs.exists(entry) and fs.exists(ours)


def test_two_connections(ours: MemfsPath) -> None:
    with OnFake(FakeCluster()) as other:
        path = MemfsPath(other, str(ours))
        assert path == ours and len({path, ours}) == 1
    assert copy.copy(ours) == ours
    assert (ours / "f").as_uri() == f"memfs://localhost:10500{ours}/f"


def test_entries_follow_symlinks(ours: MemfsPath, local: Path, fs: FileSystem) -> None:
    with fs.scandir(ours) as found, os.scandir(local) as real:
        mine = {entry.name: entry for entry in found}
        theirs = {entry.name: entry for entry in real}
    assert mine.keys() == theirs.keys()
    for name, entry in mine.items():
        for follow in (True, False):
            for question in ("is_dir", "is_file"):
                answers = [
                    outcome(lambda e, q=question, f=follow: getattr(e, q)(follow_symlinks=f), each)
                    for each in (entry, theirs[name])
                ]
                assert answers[0] == answers[1], (name, question, follow)
        assert entry.is_dir() == theirs[name].is_dir() if name != "loop" else True
        assert entry.is_symlink() == theirs[name].is_symlink()
    with pytest.raises(errors.PathNotFoundError):
        fs.scandir("/nowhere")
    scan = fs.scandir(ours)
    next(scan)
    scan.close()
    assert list(scan) == []


def test_arguments_that_newer_releases_have(ours: MemfsPath) -> None:
    """As ``pathlib`` of 3.13 answers."""
    file = ours / "d/a.py"
    assert str(file.relative_to(ours / "empty", walk_up=True)) == "../d/a.py"
    assert str(file.relative_to(ours / "d/sub/deep", walk_up=True)) == "../../a.py"
    assert str(file.relative_to(ours / "d", walk_up=True)) == "a.py"
    for wrong in (ours / "d/..", "d"):
        with pytest.raises(ValueError):
            file.relative_to(str(wrong), walk_up=True)
    assert file.match("D/*.PY", case_sensitive=False)
    assert not file.match("D/*.PY", case_sensitive=True)
    assert [str(each.relative_to(ours)) for each in ours.glob("D/A.*", case_sensitive=False)] == [
        "d/a.py"
    ]
    assert list(ours.glob("D/A.*")) == []
    assert list(ours.rglob("C.TAR.GZ", case_sensitive=False)) == [ours / "d/sub/c.tar.gz"]
    assert ours / "ld/a.py" not in list(ours.glob("**/*.py"))
    top = ours / "through"
    (top / "inside").mkdir(parents=True)
    (top / "link").symlink_to(ours / "empty")
    assert top / "link" in list(top.glob("**/", recurse_symlinks=True))
    assert top / "link" not in list(top.glob("**/"))
    assert (ours / "broken").owner(follow_symlinks=False) == "root"
    assert (ours / "broken").group(follow_symlinks=False)
    with pytest.raises(FileNotFoundError):
        (ours / "broken").owner()
    with pytest.raises(FileNotFoundError):
        (ours / "nowhere").iterdir()
    (top / "lines").write_bytes(b"a\r\nb")
    assert (top / "lines").read_text(newline="") == "a\r\nb"
    assert (top / "lines").read_text() == "a\nb"
    (top / "lines").unlink()
    top.rmtree()
