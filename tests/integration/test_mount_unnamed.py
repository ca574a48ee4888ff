"""Files without a name on a mount (O_TMPFILE), beside tmpfs."""

from __future__ import annotations

import ctypes
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_cluster import Cluster

from tests.support.mounts import mounted, need_mounts, tmpfs

DATA = bytes(range(256)) * 40_000
AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_FOLLOW = -100, 0x1000, 0x400
_libc = ctypes.CDLL(None, use_errno=True)


def linkat(source: int, old: bytes, new: Path, flags: int) -> None:
    """linkat(2)."""
    if _libc.linkat(source, old, AT_FDCWD, os.fsencode(new), flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def by_proc(fd: int, new: Path) -> None:
    linkat(AT_FDCWD, b"/proc/self/fd/%d" % fd, new, AT_SYMLINK_FOLLOW)


def by_descriptor(fd: int, new: Path) -> None:
    linkat(fd, b"", new, AT_EMPTY_PATH)


@pytest.fixture(scope="module")
def places(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Path]]:
    """A directory of a mount, and one of tmpfs."""
    need_mounts()
    with (
        mounted(cluster.url, tmp_path_factory.mktemp("unnamed")) as here,
        tmpfs(tmp_path_factory.mktemp("oracle")) as oracle,
    ):
        yield here.root, oracle


def shown(found: os.stat_result) -> tuple[object, ...]:
    return oct(found.st_mode), found.st_nlink, found.st_uid, found.st_gid, found.st_size


def tried(act: Callable[[], object]) -> object:
    """What came of it."""
    try:
        return act()
    except OSError as error:
        return type(error), error.errno


def same(places: tuple[Path, Path], act: Callable[[Path], object]) -> None:
    """The same happens in both places."""
    found, expected = (act(each) for each in places)
    assert found == expected


LINKS = {"proc": by_proc, "descriptor": by_descriptor}
WHEN = {"at once": 0.0, "after the lease": 1.5}


@pytest.mark.parametrize("idle", WHEN.values(), ids=list(WHEN))
@pytest.mark.parametrize("link", LINKS.values(), ids=list(LINKS))
def test_it_gets_a_name(
    places: tuple[Path, Path], link: Callable[[int, Path], None], idle: float
) -> None:
    def act(root: Path) -> list[object]:
        work = Path(tempfile.mkdtemp(dir=root))
        fd = os.open(work, os.O_TMPFILE | os.O_RDWR, 0o640)
        told: list[object] = [os.listdir(work), shown(os.fstat(fd))]
        os.pwrite(fd, DATA, 0)
        told += [shown(os.fstat(fd)), os.pread(fd, 100, 1000)]
        time.sleep(idle)
        link(fd, work / "a")
        told += [shown(os.fstat(fd)), shown(os.stat(work / "a")), os.listdir(work)]
        told.append(tried(lambda: link(fd, work / "a")))
        os.pwrite(fd, b"more", len(DATA))
        os.fchmod(fd, 0o604)
        os.close(fd)
        os.link(work / "a", work / "b")
        told += [shown(os.stat(work / "b")), (work / "a").read_bytes() == DATA + b"more"]
        os.unlink(work / "a")
        return [*told, shown(os.stat(work / "b")), (work / "b").stat().st_size]

    same(places, act)


def test_with_excl_it_gets_none(places: tuple[Path, Path]) -> None:
    def act(root: Path) -> list[object]:
        fd = os.open(root, os.O_TMPFILE | os.O_EXCL | os.O_WRONLY, 0o600)
        told = [tried(lambda: by_proc(fd, root / "never")), tried((root / "never").stat)]
        os.close(fd)
        return told

    same(places, act)


def test_a_deleted_file_gets_none(places: tuple[Path, Path]) -> None:
    def act(root: Path) -> list[object]:
        fd = os.open(root / "gone", os.O_CREAT | os.O_RDWR)
        os.unlink(root / "gone")
        told: list[object] = [tried(lambda: by_proc(fd, root / "back"))]
        os.close(fd)
        fd = os.open(root, os.O_TMPFILE | os.O_RDWR)
        by_proc(fd, root / "once")
        os.unlink(root / "once")
        told += [tried(lambda: by_proc(fd, root / "twice")), os.fstat(fd).st_nlink]
        os.close(fd)
        return told

    same(places, act)


def test_what_is_used_at_once_is_there(places: tuple[Path, Path]) -> None:
    """The lease ends when attributes are asked for, before others know that the file is open."""

    def act(root: Path) -> list[object]:
        told: list[object] = []
        for _ in range(20):
            with tempfile.TemporaryFile(dir=root) as file:
                file.write(b"0123456789")
                file.flush()
                told.append((os.fstat(file.fileno()).st_size, os.pread(file.fileno(), 20, 0)))
            name = root / "made and deleted"
            fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            os.write(fd, b"0123456789")
            os.unlink(name)
            told.append((shown(os.fstat(fd)), os.pread(fd, 20, 0)))
            os.close(fd)
        return told

    same(places, act)


def test_modes_and_masks(places: tuple[Path, Path]) -> None:
    def act(root: Path) -> list[object]:
        told: list[object] = []
        work = Path(tempfile.mkdtemp(dir=root))
        for umask, mode, directory in (
            (0o027, 0o666, 0o755),
            (0o077, 0o4777, 0o755),
            (0, 0, 0o755),
            (0o022, 0o666, 0o2775),
        ):
            os.chown(work, 0, 1234)
            work.chmod(directory)
            before = os.umask(umask)
            fd = os.open(work, os.O_TMPFILE | os.O_RDWR, mode)
            os.umask(before)
            os.write(fd, b"12345")
            told += [shown(os.fstat(fd)), os.pread(fd, 10, 0)]
            os.close(fd)
        for path, flags in ((root / "nowhere", os.O_RDWR), (root, os.O_RDONLY)):
            told.append(tried(lambda path=path, flags=flags: os.open(path, os.O_TMPFILE | flags)))
        return told

    same(places, act)
