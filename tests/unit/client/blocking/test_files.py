"""Blocking file objects beside the builtin ones: arguments of the wrong type or size."""

from __future__ import annotations

import copy
import gc
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memfs.client.blocking.filesystem import FileSystem
from memfs.errors import NoSpaceError

from ..fake_cluster import FakeCluster
from .on_fake import OnFake

CONTENT = b"0123456789"
STRIDED = memoryview(bytearray(8))[::2]
NO_OFFSET = ("1", b"1", 1.0, [], 1 << 63, 1 << 64, -1 << 64)
CALLS: dict[str, list[tuple[Any, ...]]] = {
    "seek": [
        *[(wrong,) for wrong in (*NO_OFFSET, None)],
        *[(0, wrong) for wrong in ("1", 1.0, None, 9, -1)],
        *[(3,), (True,), (-1,), (-3, 2), (-11, 2)],
    ],
    "truncate": [(wrong,) for wrong in (*NO_OFFSET, -1, 3, None)],
    "read": [(wrong,) for wrong in (None, 4, -1, True, "1", 1.0, [])],
    "readline": [(wrong,) for wrong in (None, 4, -1, "1", 1.0)],
    "readinto": [(wrong,) for wrong in (b"four", memoryview(b"four"), STRIDED, "four", 5, None)],
    "write": [(wrong,) for wrong in ("text", 5, None, ["text"], STRIDED, b"xy", bytearray(3))],
    "writelines": [(wrong,) for wrong in ("text", 5, None, [5], [b"x", b"y"])],
}


@pytest.fixture(scope="module")
def fs() -> Iterator[FileSystem]:
    with OnFake(FakeCluster()) as fs:
        yield fs


def told(file: Any, name: str, given: tuple[Any, ...]) -> Any:
    """What the call gives, the kind of its error, and where the file is then."""
    try:
        said = getattr(file, name)(*given)
    except (TypeError, OverflowError, OSError, ValueError, BufferError) as error:
        # which of them it is for a number of more bits depends on the layer, in CPython too
        wrong = isinstance(error, TypeError | BufferError)
        said = "wrong type" if wrong else "wrong value"
    return said, file.tell()


@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize("name", CALLS)
def test_arguments_are_taken_and_refused_as_by_the_builtin(
    fs: FileSystem, tmp_path: Path, name: str, buffering: int
) -> None:
    local = tmp_path / "file"
    for given in CALLS[name]:
        fs.write_bytes("/file", CONTENT)
        local.write_bytes(CONTENT)
        with (
            fs.open("/file", "r+b", buffering) as ours,
            open(local, "r+b", buffering) as builtin,
        ):
            assert told(ours, name, given) == told(builtin, name, given), given
        assert fs.read_bytes("/file") == local.read_bytes(), given


@pytest.mark.parametrize("wrong", [b"four", memoryview(b"four"), STRIDED, "four", 5])
def test_what_cannot_be_filled_is_refused(fs: FileSystem, wrong: Any) -> None:
    fs.write_bytes("/file", CONTENT)
    with fs.open("/file", "rb", buffering=0) as file:
        for call in (file.readinto, lambda buffer: file.pread_into(buffer, 0)):
            with pytest.raises((TypeError, BufferError)):
                call(wrong)
        assert file.pread(4, 2) == b"2345"


@pytest.mark.parametrize("options", [{"encoding": []}, {"errors": 5}, {"buffering": 1.0}])
def test_so_are_wrong_arguments_of_open(
    fs: FileSystem, tmp_path: Path, options: dict[str, Any]
) -> None:
    fs.write_bytes("/file", CONTENT)
    (tmp_path / "file").write_bytes(CONTENT)
    with pytest.raises(TypeError):
        fs.open("/file", **options)
    with pytest.raises(TypeError), open(tmp_path / "file", **options):
        pass


def test_what_belongs_to_a_connection_is_neither_pickled_nor_copied(fs: FileSystem) -> None:
    fs.write_bytes("/file", CONTENT)
    with fs.lock("/lock") as lock, fs.scandir("/") as scan, fs.open("/file", "rb", 0) as file:
        for one in (lock, scan, file):
            for act in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError, match="cannot be pickled"):
                    act(one)
        assert lock.path == "/lock" and file.read() == CONTENT


def test_a_listing_that_is_left_in_the_middle_warns(fs: FileSystem, tmp_path: Path) -> None:
    """As ``os.scandir`` does."""
    fs.makedirs("/many/a")
    fs.makedirs("/many/b")
    for scan in (fs.scandir, lambda _: os.scandir(tmp_path)):
        (tmp_path / "a").mkdir(exist_ok=True)
        with pytest.warns(ResourceWarning, match="unclosed scandir iterator"):
            next(scan("/many"))
            gc.collect()
    with fs.scandir("/many") as closed:
        next(closed)
    assert [each.name for each in fs.scandir("/many")] == ["a", "b"]
    del closed
    gc.collect()


# --- files that are written out of sight --------------------------------------------------------


def test_a_replacement_appears_when_the_block_ends_well(fs: FileSystem) -> None:
    fs.write_bytes("/r", b"old")
    with fs.replacing("/r", permissions=0o600) as file:
        assert file.write(b"new" * 200_000) == 600_000
        file.write(bytearray(b"and more"))
        file.flush()
        assert fs.read_bytes("/r") == b"old"
    assert fs.read_bytes("/r") == b"new" * 200_000 + b"and more"
    assert file.closed
    with fs.replacing("/new/r", permissions=0o600, parents=True) as file:
        file.close()
    assert fs.read_bytes("/new/r") == b"" and fs.stat("/new/r").st_mode & 0o7777 == 0o600


def test_a_replacement_is_read_back_by_its_raw_file(fs: FileSystem) -> None:
    with fs.replacing("/back") as file:
        file.write(b"few" * 200_000)
        file.flush()
        assert file.raw.pread(10, 599_995) == b"ewfew" and file.raw.pread(9, 600_000) == b""
        assert not fs.exists("/back") and not file.readable()
    assert fs.read_bytes("/back") == b"few" * 200_000


@pytest.mark.parametrize("written", [b"few", b"many" * 500_000])
def test_a_replacement_whose_block_fails_changes_nothing(fs: FileSystem, written: bytes) -> None:
    fs.write_bytes("/r", b"old")
    with pytest.raises(ZeroDivisionError), fs.replacing("/r") as file:
        file.write(written)
        raise ZeroDivisionError
    assert file.closed and fs.read_bytes("/r") == b"old"
    with pytest.raises(FileExistsError), fs.replacing("/r", exclusive=True):
        pass
    left = fs.replacing("/r")
    left.__enter__().write(written)
    del left, file
    gc.collect()
    assert fs.read_bytes("/r") == b"old"


@pytest.mark.parametrize("closed", [False, True])
def test_a_replacement_that_cannot_be_written_changes_nothing(closed: bool) -> None:
    cluster = FakeCluster()
    with OnFake(cluster) as fs:
        fs.write_bytes("/r", b"old")
        cluster.full = set(cluster.blocks)
        with pytest.raises(NoSpaceError), fs.replacing("/r") as file:
            file.write(b"new" * 10_000)
            if closed:
                file.close()
        cluster.full = set()
        assert fs.read_bytes("/r") == b"old"


def test_a_lock_dropped_unclosed(fs: FileSystem) -> None:
    lock = fs.lock("/dropped")
    with pytest.warns(ResourceWarning, match="unclosed lock <memfs lock '/dropped'>"):
        del lock
        gc.collect()
    with fs.lock("/dropped", timeout=10):
        pass


@pytest.mark.parametrize("how", [str, os.fsencode, Path])
def test_what_an_open_file_says_of_itself(fs: FileSystem, tmp_path: Path, how: Any) -> None:
    said = []
    fs.makedirs(tmp_path, exist_ok=True)
    for open_file in (fs.open, open):
        for mode, buffering in (("w", -1), ("wb", 0), ("w+b", -1), ("rb", 0), ("r+", -1)):
            with open_file(how(tmp_path / "f"), mode, buffering) as file:
                raw = getattr(getattr(file, "buffer", file), "raw", file)
                said.append((file.name, file.mode, raw.name, raw.mode, raw.closefd))
    assert said[:5] == said[5:]


@pytest.mark.parametrize("mode", ["wb", "r+b", "rb"])
def test_lines_of_a_binary_file_are_not_buffered(fs: FileSystem, tmp_path: Path, mode: str) -> None:
    local = tmp_path / "f"
    local.write_bytes(b"")
    fs.write_bytes("/lines", b"")
    told = []
    for open_file, path in ((fs.open, "/lines"), (open, local)):
        with pytest.warns(RuntimeWarning) as warned:
            open_file(path, mode, 1).close()
        told += [(str(each.message), each.filename) for each in warned]
    assert told[0] == told[1] and len(told) == 2
