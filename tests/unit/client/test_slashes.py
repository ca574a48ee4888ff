"""Paths that end in a slash or a dot, beside Linux: they insist on a directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memfs.client.filesystem import AsyncFileSystem

from .fake_cluster import FakeCluster

ENDINGS = (
    "new/",
    "file/",
    "dir/",
    "lf/",
    "ld/",
    "dir/.",
    "file/.",
    "new/.",
    "ld/.",
    "dir/../file/",
)


async def opened(fs: AsyncFileSystem, path: str, mode: str) -> None:
    async with fs.open(path, mode):
        pass


def opened_here(path: str, mode: str) -> None:
    with open(path, mode):
        pass


CALLS: dict[
    str, tuple[Callable[[str], Any], Callable[[AsyncFileSystem, str, str], Awaitable[object]]]
] = {
    "write": (lambda p: opened_here(p, "w"), lambda fs, p, top: fs.write_bytes(p, b"")),
    "open w": (lambda p: opened_here(p, "w"), lambda fs, p, top: opened(fs, p, "w")),
    "open a": (lambda p: opened_here(p, "a"), lambda fs, p, top: opened(fs, p, "a")),
    "open x": (lambda p: opened_here(p, "x"), lambda fs, p, top: opened(fs, p, "x")),
    "open r": (lambda p: opened_here(p, "r"), lambda fs, p, top: opened(fs, p, "r")),
    "stat": (os.stat, lambda fs, p, top: fs.stat(p)),
    "lstat": (os.lstat, lambda fs, p, top: fs.lstat(p)),
    "unlink": (os.unlink, lambda fs, p, top: fs.remove(p)),
    "rmdir": (os.rmdir, lambda fs, p, top: fs.rmdir(p)),
    "mkdir": (os.mkdir, lambda fs, p, top: fs.mkdir(p)),
    "symlink": (lambda p: os.symlink("x", p), lambda fs, p, top: fs.symlink("x", p)),
    "readlink": (os.readlink, lambda fs, p, top: fs.readlink(p)),
    "listdir": (os.listdir, lambda fs, p, top: fs.listdir(p)),
    "truncate": (lambda p: os.truncate(p, 0), lambda fs, p, top: fs.truncate(p, 0)),
    "chmod": (lambda p: os.chmod(p, 0o700), lambda fs, p, top: fs.chmod(p, 0o700)),
}
BETWEEN: dict[str, tuple[Callable[[str, str], Any], Any]] = {
    "rename a file": (lambda s, t: os.rename(s + "file", t), "file"),
    "rename a directory": (lambda s, t: os.rename(s + "empty", t), "empty"),
}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "dir" / "inner").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "lf").symlink_to("file")
    (tmp_path / "ld").symlink_to("dir")
    yield f"{tmp_path}/"
    shutil.rmtree(tmp_path)


async def there() -> AsyncFileSystem:
    fs = FakeCluster().connect()
    await fs.makedirs("/dir/inner")
    await fs.mkdir("/empty")
    await fs.write_bytes("/file", b"")
    await fs.symlink("file", "/lf")
    await fs.symlink("dir", "/ld")
    return fs


def names(top: str) -> list[str]:
    return sorted(os.listdir(top))


async def attempt(work: Awaitable[object]) -> bool:
    try:
        await work
    except OSError:
        return False
    return True


def attempt_here(call: Callable[[], object]) -> bool:
    try:
        call()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("call", CALLS)
async def test_one_path(call: str, ending: str, here: str) -> None:
    local, remote = CALLS[call]
    fs = await there()
    assert await attempt(remote(fs, "/" + ending, "/")) == attempt_here(
        lambda: local(here + ending)
    )
    assert await fs.listdir("/") == names(here)
    await fs.close()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("call", BETWEEN)
async def test_two_paths(call: str, ending: str, here: str) -> None:
    local, name = BETWEEN[call]
    fs = await there()
    assert await attempt(fs.rename("/" + name, "/" + ending)) == attempt_here(
        lambda: local(here, here + ending)
    )
    assert await fs.listdir("/") == names(here)
    await fs.close()
