"""Deleted files that are open: on a mount, beside a native client, as on tmpfs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_cluster import Cluster

import memfs
from tests.support.mounts import Mounted, mounted, need_mounts

DATA = bytes(range(256)) * 40_000


@pytest.fixture(autouse=True)
def root() -> None:
    need_mounts()


@pytest.fixture
def here(cluster: Cluster, tmp_path: Path) -> Iterator[Mounted]:
    with mounted(cluster.url, tmp_path) as found:
        yield found


@pytest.fixture(params=["memfs", "tmpfs"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The same on both: tmpfs says what is right."""
    if request.param == "tmpfs":
        shm = Path("/dev/shm") / f"memfs-unlinked-{os.getpid()}"
        shm.mkdir()
        yield shm
        for left in shm.iterdir():
            left.unlink()
        shm.rmdir()
        return
    found: Mounted = request.getfixturevalue("here")
    work = found.root / "unlinked"
    work.mkdir(exist_ok=True)
    yield work


@pytest.mark.parametrize("idle", [0.0, 1.5], ids=["at once", "after the lease"])
@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_TRUNC])
def test_a_deleted_file_goes_on(directory: Path, flags: int, idle: float) -> None:
    path = directory / "file"
    path.write_bytes(DATA)
    fd = os.open(path, flags)
    try:
        time.sleep(idle)
        path.unlink()
        assert not path.exists()
        time.sleep(idle)
        size = 0 if flags & os.O_TRUNC else len(DATA)
        found = os.fstat(fd)
        assert (found.st_nlink, found.st_size) == (0, size)
        assert os.pwrite(fd, b"12345", 3) == 5
        os.fsync(fd)
        time.sleep(idle)
        if flags & os.O_RDWR:
            assert os.pread(fd, 8, 0) == (DATA[:3] if size else bytes(3)) + b"12345"
        os.ftruncate(fd, 4)
        os.fchmod(fd, 0o600)
        found = os.fstat(fd)
        assert (found.st_nlink, found.st_size, found.st_mode & 0o777) == (0, 4, 0o600)
        path.write_bytes(b"another")
        assert os.fstat(fd).st_size == 4
    finally:
        os.close(fd)
    assert path.read_bytes() == b"another"
    path.unlink()


def test_a_temporary_file_that_nobody_can_find(directory: Path) -> None:
    fd = os.open(directory / "made", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.unlink(directory / "made")
    with os.fdopen(fd, "r+b") as file:
        file.write(DATA)
        file.flush()
        time.sleep(1.5)
        file.seek(0)
        assert file.read() == DATA
    assert os.listdir(directory) == []


def test_what_replaced_it_is_another_file(directory: Path) -> None:
    old, new = directory / "old", directory / "new"
    old.write_bytes(DATA)
    new.write_bytes(b"new")
    with old.open("rb") as file:
        new.rename(old)
        assert file.read() == DATA
        assert os.fstat(file.fileno()).st_nlink == 0
    assert old.read_bytes() == b"new"
    old.unlink()


def test_a_native_client_deletes_what_a_mount_reads(here: Mounted, cluster: Cluster) -> None:
    path = here.root / "shared"
    path.write_bytes(DATA)
    with memfs.connect(cluster.url) as fs, path.open("rb") as file:
        assert file.read(10) == DATA[:10]
        fs.remove("/shared")
        assert file.read() == DATA[10:]
        assert not path.exists()


def test_a_mount_deletes_what_a_native_client_reads(here: Mounted, cluster: Cluster) -> None:
    path = here.root / "shared"
    path.write_bytes(DATA)
    with memfs.connect(cluster.url) as fs, fs.open("/shared", "rb") as file:
        assert file.read(10) == DATA[:10]
        path.unlink()
        assert file.read() == DATA[10:]
        assert not fs.exists("/shared")
