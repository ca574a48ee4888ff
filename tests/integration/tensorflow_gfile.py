"""Cases of file operations for ``tensorflow_cases.py``: runs where TensorFlow is.

``CALLS`` gives each operation of ``tf.io.gfile`` (and of ``file_io`` below it) a directory on memfs
and a local one: results and classes of errors must be equal. ``CASES`` is what has no counterpart
on one machine, or names what TensorFlow's plugin for Apache Ignite was accepted with.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.python.lib.io import file_io

gfile = tf.io.gfile
TREE = ("a", "b/c", "b/d/e", "b/.hidden", "x1.csv", "x2.csv", "[odd]", "lines")


def put(path: str, content: str | bytes, mode: str = "w") -> None:
    with gfile.GFile(path, mode + "b" * isinstance(content, bytes)) as file:
        file.write(content)


def get(path: str) -> bytes:
    with gfile.GFile(path, "rb") as file:
        return file.read()


def tree(top: str) -> None:
    for name in TREE:
        gfile.makedirs(f"{top}/{name}".rpartition("/")[0])
        put(f"{top}/{name}", "first\nsecond\n\nlast" if name == "lines" else name * 10)
    gfile.makedirs(f"{top}/empty")


def everything(top: str) -> Any:
    return sorted((where, sorted(dirs), sorted(files)) for where, dirs, files in gfile.walk(top))


def facts(path: str) -> Any:
    found = gfile.stat(path)
    return (0 if found.is_directory else found.length), found.is_directory, found.mtime_nsec > 0


def reading(path: str, act: Callable[[Any], Any], mode: str = "r") -> Any:
    with gfile.GFile(path, mode) as file:
        return act(file)


def writing(path: str, mode: str, act: Callable[[Any], Any]) -> Any:
    with gfile.GFile(path, mode) as file:
        result = act(file)
    return result, get(path)


def read_on(top: str) -> Any:
    """What a handle at the end sees of what comes after, and what another one sees."""
    with gfile.GFile(f"{top}/log", "w") as log:
        log.write("one")
        log.flush()
        reader = gfile.GFile(f"{top}/log", "r")
        first = reader.read(), reader.read()
        log.write("two")
        log.flush()
        return first, reader.read(), reader.size(), get(f"{top}/log")


# On a directory with the tree above; what has no result shows what is there afterwards.
CALLS: dict[str, Callable[[str], Any]] = {
    "exists": lambda top: [gfile.exists(f"{top}/{each}") for each in ("a", "b", "b/", "x", "a/b")],
    "isdir": lambda top: [gfile.isdir(f"{top}/{each}") for each in ("a", "b", "b/", "x", "a/b")],
    "is_directory": lambda top: [file_io.is_directory_v2(f"{top}/{each}") for each in "abx"],
    "stat": lambda top: (facts(f"{top}/a"), facts(f"{top}/b"), facts(f"{top}/b/")),
    "stat of nothing": lambda top: gfile.stat(f"{top}/x"),
    "stat below a file": lambda top: gfile.stat(f"{top}/a/b"),
    "listdir": lambda top: [sorted(gfile.listdir(f"{top}{each}")) for each in ("", "/", "/empty")],
    "listdir of a file": lambda top: gfile.listdir(f"{top}/a"),
    "listdir of nothing": lambda top: gfile.listdir(f"{top}/x"),
    "walk": everything,
    "walk from below": lambda top: list(gfile.walk(f"{top}/b", topdown=False)),
    "walk of nothing": lambda top: list(gfile.walk(f"{top}/x")),
    "glob": lambda top: [
        sorted(gfile.glob(f"{top}/{each}"))
        for each in ("*", "*.csv", "x?.csv", "x[12].csv", "b/*", "*/*", "b/**", "**", "x", "a", "b")
    ],
    "glob with escapes": lambda top: [
        sorted(gfile.glob(f"{top}/{each}"))
        for each in (r"\[odd\]", r"\a", "[[]odd]", "x[!1].csv", "x[^1].csv")
    ],
    "glob of several": lambda top: sorted(gfile.glob([f"{top}/x*", f"{top}/a"])),
    "glob, odd": lambda top: [
        sorted(gfile.glob(f"{top}/{each}"))
        for each in ("nothing/*", "a/*", "b*/", "b/.*", "b/", "./a", "b/../a", "")
    ],
    "join": lambda top: gfile.join(top, "b", "c"),
    "mkdir": lambda top: (gfile.mkdir(f"{top}/m"), everything(top)),
    "mkdir with a slash": lambda top: (gfile.mkdir(f"{top}/m/"), gfile.isdir(f"{top}/m")),
    "mkdir again": lambda top: gfile.mkdir(f"{top}/b"),
    "mkdir on a file": lambda top: gfile.mkdir(f"{top}/a"),
    "mkdir in nothing": lambda top: gfile.mkdir(f"{top}/x/y"),
    "mkdir below a file": lambda top: gfile.mkdir(f"{top}/a/b"),
    "makedirs": lambda top: (gfile.makedirs(f"{top}/m/n/o/"), everything(top)),
    "makedirs again": lambda top: gfile.makedirs(f"{top}/b/d"),
    "makedirs on a file": lambda top: gfile.makedirs(f"{top}/a"),
    "makedirs below a file": lambda top: gfile.makedirs(f"{top}/a/b/c"),
    "remove": lambda top: (gfile.remove(f"{top}/a"), everything(top)),
    "remove nothing": lambda top: gfile.remove(f"{top}/x"),
    "remove a directory": lambda top: gfile.remove(f"{top}/b"),
    "remove an empty directory": lambda top: gfile.remove(f"{top}/empty"),
    "rmtree": lambda top: (gfile.rmtree(f"{top}/b"), everything(top)),
    "rmtree of nothing": lambda top: gfile.rmtree(f"{top}/x"),
    "rmtree below a file": lambda top: gfile.rmtree(f"{top}/a/x"),
    "names too long": lambda top: (
        [gfile.exists(f"{top}/{'n' * 300}"), gfile.isdir(f"{top}/{'n' * 300}")],
        gfile.rmtree(f"{top}/{'n' * 300}"),
    ),
    "rmtree of a file": lambda top: (gfile.rmtree(f"{top}/a"), everything(top)),
    "rename": lambda top: (gfile.rename(f"{top}/a", f"{top}/b/z"), everything(top)),
    "rename onto a file": lambda top: gfile.rename(f"{top}/a", f"{top}/x1.csv"),
    "rename, replacing": lambda top: (
        gfile.rename(f"{top}/a", f"{top}/x1.csv", overwrite=True),
        everything(top),
        get(f"{top}/x1.csv"),
    ),
    "rename nothing": lambda top: gfile.rename(f"{top}/x", f"{top}/z"),
    "rename into nothing": lambda top: gfile.rename(f"{top}/a", f"{top}/x/z"),
    "rename a tree": lambda top: (gfile.rename(f"{top}/b", f"{top}/z"), everything(top)),
    "rename a tree onto an empty directory": lambda top: (
        gfile.rename(f"{top}/b", f"{top}/empty", overwrite=True),
        everything(top),
    ),
    "rename a tree onto a full one": lambda top: gfile.rename(f"{top}/empty", f"{top}/b", True),
    "rename a file onto a directory": lambda top: gfile.rename(f"{top}/a", f"{top}/b", True),
    "rename a directory onto a file": lambda top: gfile.rename(f"{top}/b", f"{top}/a", True),
    "rename into itself": lambda top: gfile.rename(f"{top}/b", f"{top}/b/d/f"),
    "copy": lambda top: (gfile.copy(f"{top}/a", f"{top}/z"), get(f"{top}/z"), everything(top)),
    "copy onto a file": lambda top: gfile.copy(f"{top}/a", f"{top}/x1.csv"),
    "copy, replacing": lambda top: (
        gfile.copy(f"{top}/a", f"{top}/x1.csv", overwrite=True),
        get(f"{top}/x1.csv"),
    ),
    "copy nothing": lambda top: gfile.copy(f"{top}/x", f"{top}/z"),
    "copy a directory": lambda top: gfile.copy(f"{top}/b", f"{top}/z"),
    "read": lambda top: reading(f"{top}/a", lambda f: (f.read(3), f.read(0), f.read(), f.read(5))),
    "read bytes": lambda top: reading(f"{top}/a", lambda f: (f.read(3), f.read(99)), "rb"),
    "read lines": lambda top: (
        reading(f"{top}/lines", lambda f: (f.readline(), f.readline(), list(f), f.readline())),
        reading(f"{top}/lines", lambda f: f.readlines()),
    ),
    "seek and tell": lambda top: reading(
        f"{top}/lines",
        lambda f: (
            (f.tell(), f.seek(6), f.readline(), f.tell()),
            (f.seek(-4, 2), f.read(), f.tell()),
            (f.seek(2), f.seek(1, 1), f.read(2), f.size(), f.seekable()),
            (f.seek(99), f.read()),
        ),
    ),
    "seek before the beginning": lambda top: reading(f"{top}/a", lambda f: f.seek(-1)),
    "read nothing": lambda top: get(f"{top}/x"),
    "read a directory": lambda top: get(f"{top}/b"),
    "read what is written": lambda top: writing(f"{top}/z", "w", lambda f: f.read()),
    "write what is read": lambda top: reading(f"{top}/a", lambda f: f.write("x")),
    "write": lambda top: writing(f"{top}/z", "w", lambda f: (f.write("é"), f.tell(), f.write("x"))),
    "write bytes": lambda top: writing(f"{top}/z", "wb", lambda f: f.write(b"\0\xff" * 9)),
    "write, replacing": lambda top: writing(f"{top}/a", "w", lambda f: f.write("x")),
    "write nothing": lambda top: gfile.GFile(f"{top}/z", "w").close() or gfile.exists(f"{top}/z"),
    "write an empty text": lambda top: writing(f"{top}/z", "w", lambda f: f.write("")),
    "write to a directory": lambda top: put(f"{top}/b", "x"),
    "write below a file": lambda top: put(f"{top}/a/b", "x"),
    "append": lambda top: writing(f"{top}/a", "a", lambda f: (f.write("+"), f.flush())),
    "append to nothing": lambda top: writing(f"{top}/z", "a", lambda f: f.write("+")),
    "append twice": lambda top: [writing(f"{top}/z", "a", lambda f: f.write("1")) for _ in "12"],
    "a mode that is none": lambda top: gfile.GFile(f"{top}/a", "q").read(),
    "whole files": lambda top: (
        file_io.write_string_to_file(f"{top}/z", "text"),
        file_io.read_file_to_string(f"{top}/z"),
        file_io.atomic_write_string_to_file(f"{top}/z", "anew"),
        file_io.read_file_to_string(f"{top}/z", binary_mode=True),
        everything(top),
    ),
    "comparing": lambda top: (
        file_io.filecmp(f"{top}/x1.csv", f"{top}/x2.csv"),
        file_io.filecmp(f"{top}/a", f"{top}/a"),
        file_io.file_crc32(f"{top}/a"),
        file_io.has_atomic_move(f"{top}/a"),
    ),
    "odd names": lambda top: [
        (put(f"{top}/{name}", name), gfile.exists(f"{top}/{name}"), get(f"{top}/{name}"))
        for name in ("with space", "é漢", "100%25", "a#b", "q?x=1", "a:b", "back\\slash")
    ],
    "paths that are not plain": lambda top: [
        get(f"{top}/{each}") for each in ("b/../a", "./a", "b//c", "b/./d/../c")
    ],
    "reading on": read_on,
    "a name that is too long": lambda top: put(f"{top}/{'n' * 300}", "x"),
}


# --- the ten cases of acceptance  ---------------------------------------------


def create_file(top: str) -> None:
    put(f"{top}/absent/directory/file", "")
    assert gfile.exists(f"{top}/absent/directory/file")


def write_read_file(top: str) -> None:
    rows = [f"This is row {number}\n" for number in range(10_000)]
    with gfile.GFile(f"{top}/file", "w") as file:
        for row in rows:
            file.write(row)
    with gfile.GFile(f"{top}/file", "r") as file:
        assert list(file) == rows


def delete_recursively(top: str) -> None:
    for name in ("d/file1", "d/e/file2"):
        put(f"{top}/{name}", "x")
    gfile.rmtree(f"{top}/d")
    assert not gfile.exists(f"{top}/d") and not gfile.exists(f"{top}/d/e/file2")


def copy(top: str) -> None:
    put(f"{top}/1", "testing")
    gfile.copy(f"{top}/1", f"{top}/2")
    assert gfile.exists(f"{top}/1") and get(f"{top}/2") == b"testing"


def is_directory(top: str) -> None:
    gfile.makedirs(f"{top}/1")
    put(f"{top}/2", "x")
    assert gfile.isdir(f"{top}/1") and not gfile.isdir(f"{top}/2") and not gfile.isdir(f"{top}/3")


def list_directory(top: str) -> None:
    gfile.makedirs(f"{top}/1/3")
    put(f"{top}/2", "x")
    put(f"{top}/4", "x")
    assert sorted(gfile.listdir(top)) == ["1", "2", "4"]


def make_dirs(top: str) -> None:
    gfile.makedirs(f"{top}/1/2/")
    assert gfile.isdir(f"{top}/1/2") and gfile.isdir(f"{top}/1/2/")


def remove(top: str) -> None:
    put(f"{top}/1", "x")
    gfile.remove(f"{top}/1")
    assert not gfile.exists(f"{top}/1")


def rename_file(top: str) -> None:
    put(f"{top}/1", "x")
    gfile.rename(f"{top}/1", f"{top}/2")
    assert not gfile.exists(f"{top}/1") and get(f"{top}/2") == b"x"


def rename_dir(top: str) -> None:
    put(f"{top}/1/file", "x")
    gfile.rename(f"{top}/1", f"{top}/2")
    assert not gfile.exists(f"{top}/1") and get(f"{top}/2/file") == b"x"


# --- what it did not try  ---------------------------------------------


def a_flush_is_seen(top: str) -> None:
    with gfile.GFile(f"{top}/log", "w") as log:
        for number in range(3):
            log.write("x" * 1000)
            log.flush()
            assert gfile.stat(f"{top}/log").length == len(get(f"{top}/log")) == 1000 * (number + 1)


def a_rename_replaces_at_once(top: str) -> None:
    """Whoever reads meanwhile sees one of the two, or that it was replaced after the opening."""
    put(f"{top}/now", "0")
    with ThreadPoolExecutor(1) as pool:

        def replace() -> None:
            for number in range(50):
                put(f"{top}/next", str(number))
                gfile.rename(f"{top}/next", f"{top}/now", overwrite=True)

        replacing = pool.submit(replace)
        while not replacing.done():
            try:
                assert get(f"{top}/now").isdigit()
            except tf.errors.FailedPreconditionError as error:
                assert "behind the handle was deleted" in error.message, error.message
        replacing.result()
    assert gfile.listdir(top) == ["now"]


def sixteen_threads(top: str) -> None:
    def one(number: int) -> None:
        content = bytes([number]) * 100_000
        for turn in range(5):
            path = f"{top}/{number}/{turn}"
            gfile.makedirs(f"{top}/{number}")
            put(path, content)
            assert get(path) == content and gfile.stat(path).length == len(content)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(16)))
    assert len(gfile.glob(f"{top}/*/*")) == 80


def one_file_and_sixteen_threads(top: str) -> None:
    content = bytes(range(256)) * 80_000
    put(f"{top}/big", content)
    with ThreadPoolExecutor(16) as pool:
        for found in pool.map(lambda _: get(f"{top}/big"), range(16)):
            assert found == content


def the_command_sees_the_same(top: str) -> None:
    """``file_io.stat``, and ``memfs`` viewing, adding, copying and removing with recursion."""

    def command(*arguments: str | Path) -> str:
        run = [sys.executable, "-m", "memfs.cli", *map(str, arguments)]
        return subprocess.run(run, check=True, capture_output=True, text=True).stdout

    with tempfile.TemporaryDirectory() as local:
        for name in ("1", "d/2", "d/e/3"):
            Path(local, "tree", name).parent.mkdir(parents=True, exist_ok=True)
            Path(local, "tree", name).write_text(name * 1000)
        command("put", "-r", f"{local}/tree", f"{top}/added")
        assert file_io.stat(f"{top}/added/d/e/3").length == 5000
        assert file_io.stat(f"{top}/added/d").is_directory
        assert command("find", f"{top}/added", "-type", "f").split() == [
            f"{top.removeprefix('memfs://')}/added/{name}" for name in ("1", "d/2", "d/e/3")
        ]
        assert command("cat", f"{top}/added/1") == "1" * 1000
        assert command("ls", f"{top}/added").split() == ["1", "d"]
        command("cp", "-r", f"{top}/added", f"{top}/copied")
        assert get(f"{top}/copied/d/2") == b"d/2" * 1000
        put(f"{top}/copied/d/4", "by TensorFlow")
        command("get", "-r", f"{top}/copied", f"{local}/back")
        assert Path(local, "back/d/4").read_text() == "by TensorFlow"
        assert subprocess.run([sys.executable, "-m", "memfs.cli", "rm", f"{top}/added"]).returncode
        command("rm", "-r", f"{top}/added")
        assert gfile.listdir(top) == ["copied"]
        try:
            file_io.stat(f"{top}/added/1")
        except tf.errors.NotFoundError:
            return
        raise AssertionError("it is still there")


def the_authority_stays(top: str) -> None:
    """Names that glob finds lead to the same cluster."""
    for prefix in (top, the_authority_stays.named(top)):  # type: ignore[attr-defined]
        put(f"{prefix}/f", "x")
        assert gfile.glob(f"{prefix}/*") == [f"{prefix}/f"] and get(f"{prefix}/f") == b"x"


def no_cluster(top: str) -> None:
    try:
        gfile.exists("memfs://127.0.0.1:9/a")
    except tf.errors.UnavailableError as error:
        assert "127.0.0.1:9" in error.message, error.message
    else:
        raise AssertionError("it exists")


CASES: tuple[Callable[[str], None], ...] = (
    create_file,
    write_read_file,
    delete_recursively,
    copy,
    is_directory,
    list_directory,
    make_dirs,
    remove,
    rename_file,
    rename_dir,
    a_flush_is_seen,
    a_rename_replaces_at_once,
    sixteen_threads,
    one_file_and_sixteen_threads,
    the_command_sees_the_same,
    the_authority_stays,
    no_cluster,
)
