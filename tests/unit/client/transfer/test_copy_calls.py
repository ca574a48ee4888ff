"""Copies between the disk and a cluster that is a dictionary here."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import zlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from memfs import limits
from memfs.client.calls.modes import Mode
from memfs.client.stat import DirEntry, Stat
from memfs.client.transfer import copying, download
from memfs.client.transfer.cluster_target import put_stream
from memfs.client.transfer.copy_calls import get, put
from memfs.client.transfer.copying import ProgressEvent, part_of
from memfs.client.transfer.hard_links import HardLinks
from memfs.errors import (
    AccessDeniedError,
    DeadlineError,
    IsDirectoryError,
    NoSpaceError,
    PathExistsError,
    PathNotFoundError,
)
from memfs.types import Attributes, FileKind

BUFFER = 256 * limits.KIB
LARGE = 3 * BUFFER + 12345
MEDIUM = limits.SMALL_FILE_BYTES + 1


class FakeHandle:
    """An open file of :class:`FakeFileSystem`."""

    def __init__(self, fs: FakeFileSystem, path: str) -> None:
        self._fs, self._path = fs, path

    async def read_into(self, offset: int, into: memoryview) -> int:
        self._fs.fail(self._path)
        piece = self._fs.files[self._path][offset : offset + len(into)]
        into[: len(piece)] = piece
        return len(piece)

    async def close(self) -> None:
        self._fs.closed += 1


class FakeDraft:
    """A file of :class:`FakeFileSystem` without a name."""

    def __init__(self, fs: FakeFileSystem, path: str) -> None:
        self._fs, self._path = fs, path
        self.content = bytearray()

    async def write(self, offset: int, data: memoryview) -> int:
        assert offset == len(self.content)
        self._fs.fail(self._path)
        self.content += data
        return len(self.content)

    async def truncate(self, size: int) -> None:
        assert size > len(self.content)
        self.content += bytes(size - len(self.content))


class FakeFileSystem:
    """What a copy needs of a file system. ``failing`` maps a name's end to an error."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.links: dict[str, str] = {}
        self.directories: dict[str, int] = {"/": 0o755}
        self.modes: dict[str, int] = {}
        self.times: dict[str, int] = {}
        self.failing: dict[str, OSError] = {}
        self.batches: list[int] = []
        self.closed = self.opened = 0

    def fail(self, path: str) -> None:
        for end, error in self.failing.items():
            if end in path:
                raise error

    async def open_handle(
        self,
        path: str,
        mode: Mode,
    ) -> FakeHandle:
        assert not mode.writing
        self.opened += 1
        return FakeHandle(self, path)

    @contextlib.asynccontextmanager
    async def replacing(
        self,
        path: str,
        *,
        permissions: int = 0o644,
        replication: int | None = None,
        recover: bool = False,
    ) -> AsyncIterator[FakeDraft]:
        if path in self.directories:
            raise IsDirectoryError(path=path)
        draft = FakeDraft(self, path)
        yield draft
        self.files[path] = draft.content
        self.modes[path] = permissions

    async def copy_into(self, source: str, sink: Any, advance: Any) -> Attributes:
        self.fail(source)
        found = await self.stat(source)
        content = self.files[self.links.get(source, source)]
        for at in range(0, len(content), BUFFER):
            data = memoryview(bytes(content[at : at + BUFFER]))
            await sink.write(at, data)
            advance(len(data))
        return found.attributes

    async def write_many(
        self,
        pairs: Iterable[tuple[str, bytes]],
        *,
        permissions: int,
        replication: int | None,
        recover: bool,
        return_errors: bool,
    ) -> list[Any]:
        pairs = list(pairs)
        self.batches.append(len(pairs))
        results: list[Any] = []
        for path, data in pairs:
            try:
                self.fail(path)
            except OSError as error:
                results.append(error)
                continue
            self.files[path] = bytearray(data)
            self.modes[path] = permissions
            results.append(len(data))
        return results

    async def read_many(self, names: Iterable[str], *, return_errors: bool) -> list[Any]:
        results: list[Any] = []
        for name in names:
            try:
                self.fail(name)
                results.append(bytes(self.files[self.links.get(name, name)]))
            except OSError as error:
                results.append(error)
        return results

    async def mkdir(self, path: str, mode: int) -> None:
        self.fail(path)
        if path in {*self.directories, *self.files, *self.links}:
            raise PathExistsError(path=path)
        self.directories[path] = mode

    async def stat_many(self, paths: list[str], *, follow_symlinks: bool) -> list[Stat | None]:
        known = {*self.files, *self.links, *self.directories}
        return [self._stat(path) if path in known else None for path in paths]

    async def access(self, path: str, mode: int) -> bool:
        return True

    async def getxattrs(self, path: str) -> dict[str, bytes]:
        self.fail(path)
        return {}

    async def makedirs(self, path: str, mode: int, exist_ok: bool) -> None:
        self.fail(path)
        self.directories[path] = mode

    async def remove(self, path: str) -> None:
        if self.files.pop(path, None) is None and self.links.pop(path, None) is None:
            raise PathNotFoundError(path=path)

    async def symlink(self, target: str, path: str, *, replace: bool = False) -> None:
        self.make_way(path, replace)
        self.links[path] = target

    async def link(self, source: str, target: str, *, replace: bool = False) -> None:
        content = self.files[source]
        self.make_way(target, replace)
        self.files[target] = content

    def make_way(self, path: str, replace: bool) -> None:
        self.fail(path)
        if path in self.directories:
            raise (IsDirectoryError if replace else PathExistsError)(path=path)
        if path in {*self.files, *self.links} and not replace:
            raise PathExistsError(path=path)
        for names in (self.files, self.links):
            names.pop(path, None)

    async def readlink(self, path: str) -> str:
        return self.links[path]

    async def chmod(self, path: str, mode: int) -> None:
        if path not in {*self.files, *self.directories}:
            raise PathNotFoundError(path=path)
        self.modes[path] = mode

    async def utime(self, path: str, *, ns: tuple[int, int], follow_symlinks: bool = True) -> None:
        self.times[path] = ns[1]

    def _stat(self, path: str) -> Stat:
        kind, size = FileKind.FILE, 0
        if path in self.directories:
            kind = FileKind.DIRECTORY
        elif path in self.links:
            kind = FileKind.SYMLINK
        elif path in self.files:
            size = len(self.files[path])
        else:
            raise PathNotFoundError(path=path)
        mode, when = self.modes.get(path, 0o755), self.times.get(path, 10**18)
        content = self.files.get(path)
        names = [each for each, other in self.files.items() if other is content] or [path]
        inode, links = zlib.crc32(names[0].encode()), len(names)
        return Stat(Attributes(inode, kind, mode, links, "a", "b", size, when, 0, 0, 0, 0, 0, 0, 0))

    async def stat(self, path: str, *, follow_symlinks: bool = True) -> Stat:
        return self._stat(self.links.get(path, path) if follow_symlinks else path)

    async def scandir_pages(self, path: str) -> AsyncIterator[list[DirEntry]]:
        self.fail(path)
        everything = {*self.files, *self.links, *self.directories} - {"/"}
        prefix = path.rstrip("/") + "/"
        for each in sorted(everything):
            if each.startswith(prefix) and "/" not in each[len(prefix) :]:
                name = each[len(prefix) :]
                yield [DirEntry(path, name, self._stat(each).attributes)]


@pytest.fixture(autouse=True)
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of stream, without moving megabytes."""
    monkeypatch.setattr(copying, "BUFFER_BYTES", BUFFER)
    monkeypatch.setattr(copying, "MEDIUM_BYTES", BUFFER)


@pytest.fixture
def fs() -> Any:
    return FakeFileSystem()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of each size, a link, an empty directory."""
    top = tmp_path / "top"
    (top / "sub" / "empty").mkdir(parents=True)
    (top / "small").write_bytes(b"small")
    (top / "none").write_bytes(b"")
    (top / "sub" / "medium").write_bytes(os.urandom(MEDIUM))
    (top / "sub" / "large").write_bytes(bytes(1000) * (LARGE // 1000))
    (top / "link").symlink_to("small")
    (top / "small").chmod(0o750)
    os.utime(top / "small", ns=(5, 1_000_000_007))
    return top


def content_of(top: Path) -> dict[str, bytes | str | None]:
    return {
        str(path.relative_to(top)): (
            os.readlink(path)
            if path.is_symlink()
            else path.read_bytes()
            if path.is_file()
            else None
        )
        for path in top.rglob("*")
    }


async def test_there_and_back(fs: Any, tree: Path, tmp_path: Path) -> None:
    there = await put(fs, tree, "/t")
    assert (there.files, there.directories, there.failures) == (5, 3, ())
    assert there.bytes == 5 + MEDIUM + LARGE // 1000 * 1000
    back = await get(fs, "/t", tmp_path / "back")
    assert back == there
    assert content_of(tmp_path / "back") == content_of(tree)
    assert fs.opened == fs.closed
    assert not [name for name in fs.files if "part" in name]


async def test_a_single_file(fs: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    assert (await put(fs, tmp_path / "a", "/b")).files == 1
    assert (await get(fs, "/b", tmp_path / "c")).files == 1
    assert (tmp_path / "c").read_bytes() == b"x"


async def test_modes_and_times(fs: Any, tree: Path, tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        await put(fs, tree, "/plain")
    finally:
        os.umask(mask)
    assert fs.modes["/plain/small"] == 0o750
    assert fs.modes["/plain/none"] == 0o640
    assert "/plain/small" not in fs.times
    await put(fs, tree, "/exact", preserve=True)
    assert fs.modes["/exact/none"] == 0o644
    assert fs.times["/exact/small"] == 1_000_000_007
    await get(fs, "/exact", tmp_path / "back", preserve=True)
    found = (tmp_path / "back" / "small").stat()
    assert (found.st_mode & 0o777, found.st_mtime_ns) == (0o750, 1_000_000_007)


async def test_a_file_that_goes_before_it_has_its_attributes_fails_alone(
    fs: Any, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def chmod(path: str, mode: int) -> None:
        if path == "/t/small":
            raise PathNotFoundError(path=path)

    async def getxattrs(path: str) -> dict[str, bytes]:
        if path == "/t/small":
            raise PathNotFoundError(path=path)
        return {}

    monkeypatch.setattr(fs, "chmod", chmod)
    done = await put(fs, tree, "/t", preserve=True, return_errors=True)
    assert [failure.path for failure in done.failures] == [str(tree / "small")]
    assert done.files == 4
    monkeypatch.setattr(fs, "getxattrs", getxattrs)
    back = await get(fs, "/t", tmp_path / "back", preserve=True, xattrs=True, return_errors=True)
    assert [failure.path for failure in back.failures] == ["/t/small"]
    assert back.files == 4


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Each file has two names."""
    top = tmp_path / "pairs"
    (top / "sub").mkdir(parents=True)
    for name, size in (("small", 5), ("medium", MEDIUM), ("large", LARGE)):
        (top / name).write_bytes(os.urandom(size))
        os.link(top / name, top / "sub" / name)
    return top


async def test_hard_links_stay_hard_links(fs: Any, pairs: Path, tmp_path: Path) -> None:
    events: list[ProgressEvent] = []
    done = await put(fs, pairs, "/to", preserve=True, progress=events.append)
    assert (done.files, done.bytes) == (6, 5 + MEDIUM + LARGE)
    assert (events[-1].files, events[-1].total_bytes) == (6, done.bytes)
    for name in ("small", "medium", "large"):
        assert fs.files[f"/to/{name}"] is fs.files[f"/to/sub/{name}"]
    back = tmp_path / "back"
    (back / "sub").mkdir(parents=True)
    (back / "sub" / "small").write_bytes(b"old")
    assert (await get(fs, "/to", back, preserve=True)).files == 6
    for name in ("small", "medium", "large"):
        assert (back / name).samefile(back / "sub" / name)
        assert (back / name).read_bytes() == (pairs / name).read_bytes()
    assert not [each for each in back.rglob("*") if ".memfs-part" in each.name]
    assert (await get(fs, "/to", back, preserve=True)).failures == ()


async def test_without_preserve_each_name_gets_a_copy(fs: Any, pairs: Path, tmp_path: Path) -> None:
    await put(fs, pairs, "/to")
    assert fs.files["/to/small"] is not fs.files["/to/sub/small"]
    await put(fs, pairs, "/linked", preserve=True)
    await get(fs, "/linked", tmp_path / "back")
    assert not (tmp_path / "back" / "small").samefile(tmp_path / "back" / "sub" / "small")


async def test_hard_links_across_calls(fs: Any, pairs: Path) -> None:
    links = HardLinks()
    await put(fs, pairs / "small", "/one", links=links)
    await put(fs, pairs / "sub" / "small", "/two", links=links)
    assert fs.files["/one"] is fs.files["/two"]


@pytest.mark.parametrize("name", ["small", "medium"])
async def test_when_the_first_name_fails_the_next_one_is_the_first(
    fs: Any, pairs: Path, name: str
) -> None:
    os.link(pairs / name, pairs / "sub" / "third")
    fs.failing[f"/to/{name}"] = OSError(errno.EIO, "broken")
    done = await put(fs, pairs, "/to", preserve=True, return_errors=True)
    assert [failure.path for failure in done.failures] == [str(pairs / name)]
    assert fs.files[f"/to/sub/{name}"] is fs.files["/to/sub/third"]


async def test_a_directory_stays_where_a_hard_link_should_be(fs: Any, pairs: Path) -> None:
    fs.directories |= {"/to": 0o755, "/to/sub": 0o755, "/to/sub/small": 0o755}
    done = await put(fs, pairs, "/to", preserve=True, return_errors=True)
    assert [failure.path for failure in done.failures] == [str(pairs / "sub" / "small")]
    names = {"/to/large", "/to/medium", "/to/small", "/to/sub/large", "/to/sub/medium"}
    assert set(fs.files) == names


async def test_following_links(fs: Any, tree: Path, tmp_path: Path) -> None:
    await put(fs, tree, "/t", follow_symlinks=True)
    assert fs.files["/t/link"] == b"small" and not fs.links
    fs.links["/t/other"] = "/t/small"
    await get(fs, "/t", tmp_path / "back", follow_symlinks=True)
    assert (tmp_path / "back" / "other").read_bytes() == b"small"


async def test_small_files_travel_in_bounded_batches(fs: Any, tmp_path: Path) -> None:
    count = limits.FILES_PER_BATCH * 2 + 1
    for number in range(count):
        (tmp_path / f"f{number}").write_bytes(b"x")
    assert (await put(fs, tmp_path, "/t")).files == count
    assert sorted(fs.batches) == [1, limits.FILES_PER_BATCH, limits.FILES_PER_BATCH]


async def test_progress_ends_with_the_totals(fs: Any, tree: Path) -> None:
    events: list[ProgressEvent] = []
    done = await put(fs, tree, "/t", progress=events.append)
    last = events[-1]
    assert (last.bytes, last.files) == (last.total_bytes, last.total_files)
    assert (last.bytes, last.files) == (done.bytes, done.files)
    assert [event.bytes for event in events] == sorted(event.bytes for event in events)
    assert all(event.bytes <= event.total_bytes for event in events)


@pytest.mark.parametrize("name", ["small", "medium", "large"])
async def test_one_failure_does_not_stop_the_others(fs: Any, tree: Path, name: str) -> None:
    fs.failing[f"/{name}"] = fs.failing[f"/.{name}"] = AccessDeniedError("no")
    done = await put(fs, tree, "/t", return_errors=True)
    assert done.files == 4
    assert [Path(failure.path).name for failure in done.failures] == [name]
    assert not [each for each in fs.files if "part" in each]


@pytest.mark.parametrize("name", ["small", "medium", "large"])
async def test_no_space_stops_everything(fs: Any, tree: Path, name: str) -> None:
    fs.failing[f"/{name}"] = fs.failing[f"/.{name}"] = NoSpaceError("full")
    with pytest.raises(NoSpaceError):
        await put(fs, tree, "/t")
    assert not [each for each in fs.files if "part" in each]


@pytest.mark.parametrize("name", ["small", "medium", "large"])
async def test_a_full_disk_is_told_of_the_file(
    fs: Any, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    await put(fs, tree, "/t")
    (source,) = (each for each in fs.files if each.endswith(f"/{name}"))
    fs.files = {source: fs.files[source]}

    def full(descriptor: int, data: memoryview, offset: int = 0) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download, "_write_full", full)
    with pytest.raises(OSError, match="No space") as caught:
        await get(fs, "/t", tmp_path / "back", return_errors=True)
    assert caught.value.filename == source


@pytest.mark.parametrize("name", ["small", "medium", "large"])
async def test_a_failed_get_leaves_nothing(fs: Any, tree: Path, tmp_path: Path, name: str) -> None:
    await put(fs, tree, "/t")
    fs.failing[f"/{name}"] = AccessDeniedError("no")
    done = await get(fs, "/t", tmp_path / "back", return_errors=True)
    assert [failure.path.rpartition("/")[2] for failure in done.failures] == [name]
    wanted = set(content_of(tree)) - {name, f"sub/{name}"}
    assert set(content_of(tmp_path / "back")) == wanted


async def test_what_cannot_be_listed_is_a_failure(fs: Any, tree: Path, tmp_path: Path) -> None:
    await put(fs, tree, "/t")
    fs.failing["/t/sub"] = AccessDeniedError("no")
    done = await get(fs, "/t", tmp_path / "back", return_errors=True)
    assert [failure.path for failure in done.failures] == ["/t/sub"]
    assert (tmp_path / "back" / "small").exists()


async def test_the_first_failure_is_raised_at_the_end(fs: Any, tree: Path) -> None:
    fs.failing["/none"] = AccessDeniedError("no")
    with pytest.raises(AccessDeniedError):
        await put(fs, tree, "/t")
    assert "/t/sub/large" in fs.files


async def test_a_time_limit(fs: Any, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forever(*arguments: Any, **options: Any) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(fs, "write_many", forever)
    with pytest.raises(DeadlineError):
        await put(fs, tree, "/t", timeout=0.05)


async def test_special_files_are_failures(fs: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a").write_bytes(b"x")
    done = await put(fs, tmp_path, "/t", return_errors=True)
    assert [failure.path for failure in done.failures] == [str(tmp_path / "pipe")]
    assert done.files == 1


async def test_a_missing_source_is_raised(fs: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await put(fs, tmp_path / "gone", "/t")
    with pytest.raises(FileNotFoundError):
        await get(fs, "/gone", tmp_path / "x")


async def test_existing_files_are_replaced(fs: Any, tree: Path, tmp_path: Path) -> None:
    await put(fs, tree, "/t")
    (tree / "small").write_bytes(b"new")
    (tree / "sub" / "medium").write_bytes(b"m" * MEDIUM)
    await put(fs, tree, "/t")
    assert fs.files["/t/small"] == b"new" and fs.files["/t/sub/medium"][:1] == b"m"
    await get(fs, "/t", tmp_path / "back")
    await get(fs, "/t", tmp_path / "back")
    assert content_of(tmp_path / "back") == content_of(tree)


async def test_a_cancelled_put_leaves_nothing(fs: Any) -> None:
    begun = asyncio.Event()

    async def read(buffer: memoryview) -> int:
        begun.set()
        await asyncio.sleep(3600)
        return 0

    task = asyncio.create_task(put_stream(fs, "/never", read))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fs.files == {} and fs.opened == fs.closed


async def test_a_link_takes_the_place_of_what_is_there_at_once(fs: Any, tree: Path) -> None:
    await put(fs, tree, "/t")
    (tree / "link").unlink()
    (tree / "link").symlink_to("none")
    fs.failing["/t/link"] = AccessDeniedError("no")
    with pytest.raises(AccessDeniedError):
        await put(fs, tree, "/t")
    assert fs.links == {"/t/link": "small"}
    fs.failing.clear()
    await put(fs, tree, "/t")
    assert fs.links == {"/t/link": "none"}


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_streams_end_on_any_boundary(fs: Any, extra: int) -> None:
    length = BUFFER * 2 + extra
    left = length

    async def read(buffer: memoryview) -> int:
        nonlocal left
        count = min(len(buffer), left)
        left -= count
        return count

    assert await put_stream(fs, "/s", read) == length
    assert len(fs.files["/s"]) == length


def test_parts_lie_beside_their_file_and_fit() -> None:
    part = part_of("/a/b/" + "ä" * 127)
    directory, _, name = part.rpartition("/")
    assert directory == "/a/b" and name.startswith(".")
    assert len(name.encode()) <= limits.NAME_BYTES
    assert part_of("/x") != part_of("/x")
    assert "/" not in part_of("local")
