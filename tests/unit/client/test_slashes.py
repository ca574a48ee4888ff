"""Paths that end in a slash or a dot, beside Linux: they insist on a directory."""

from __future__ import annotations

import errno
import os
import shutil
import stat
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
    "dir/..",
    "file/..",
    "new/..",
    "new/x/",
    "file/x/",
    "loop/",
    "lb/",
    "dir//",
    "new/x/.",
    "empty/",
    "empty/.",
)


HERE: list[str] = [""]
"""Where the local files are."""


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
    "open a+": (lambda p: opened_here(p, "a+"), lambda fs, p, top: opened(fs, p, "a+")),
    "open w+": (lambda p: opened_here(p, "w+"), lambda fs, p, top: opened(fs, p, "w+")),
    "open r+": (lambda p: opened_here(p, "r+"), lambda fs, p, top: opened(fs, p, "r+")),
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
    "link": (
        lambda p: os.link(HERE[0] + "file", p),
        lambda fs, p, top: fs.link(top + "file", p),
    ),
    "link to": (
        lambda p: os.link(p, HERE[0] + "further"),
        lambda fs, p, top: fs.link(p, top + "further"),
    ),
    "mkfifo": (os.mkfifo, lambda fs, p, top: fs.mknod(p, stat.S_IFIFO | 0o644)),
    "setxattr": (
        lambda p: os.setxattr(p, "user.x", b""),
        lambda fs, p, top: fs.setxattr(p, "user.x", b""),
    ),
    "utime": (lambda p: os.utime(p, (1, 1)), lambda fs, p, top: fs.utime(p, (1, 1))),
    "chmod": (lambda p: os.chmod(p, 0o700), lambda fs, p, top: fs.chmod(p, 0o700)),
}
BETWEEN: dict[str, tuple[Callable[[str, str], Any], Any]] = {
    "rename a file": (lambda s, t: os.rename(s + "file", t), "file"),
    "rename a directory": (lambda s, t: os.rename(s + "empty", t), "empty"),
    "rename a link": (lambda s, t: os.rename(s + "ld", t), "ld"),
    "rename a link as a directory": (lambda s, t: os.rename(s + "ld/", t), "ld/"),
    "rename a file as a directory": (lambda s, t: os.rename(s + "file/", t), "file/"),
    "rename where one is": (lambda s, t: os.rename(s + "dir/.", t), "dir/."),
    "rename where one was": (lambda s, t: os.rename(s + "dir/..", t), "dir/.."),
}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "dir" / "inner").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "lf").symlink_to("file")
    (tmp_path / "ld").symlink_to("dir")
    (tmp_path / "lb").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    HERE[0] = f"{tmp_path}/"
    yield HERE[0]
    shutil.rmtree(tmp_path)


async def there() -> AsyncFileSystem:
    fs = FakeCluster().connect()
    await fs.makedirs("/dir/inner")
    await fs.mkdir("/empty")
    await fs.write_bytes("/file", b"")
    await fs.symlink("file", "/lf")
    await fs.symlink("dir", "/ld")
    await fs.symlink("nowhere", "/lb")
    await fs.symlink("loop", "/loop")
    return fs


def names(top: str) -> list[str]:
    return sorted(os.listdir(top))


def word(error: OSError) -> str:
    return errno.errorcode[error.errno or 0]


async def attempt(work: Awaitable[object]) -> str:
    """The word for the error; empty: it was done."""
    try:
        await work
    except OSError as error:
        return word(error)
    return ""


def attempt_here(call: Callable[[], object]) -> str:
    try:
        call()
    except OSError as error:
        return word(error)
    return ""


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
