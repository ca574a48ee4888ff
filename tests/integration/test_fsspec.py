"""fsspec's own abstract suite, and its operations beside fsspec's local file system."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import fsspec.tests.abstract as abstract
import pytest
from fsspec.implementations.local import LocalFileSystem

from memfs import errors
from memfs.fsspec import MemfsFileSystem
from memfs.testing.processes import Processes
from memfs.transport.connection import Connection


@pytest.fixture(scope="module")
def cluster() -> Iterator[Processes]:
    with Processes(nodes=3, replication=2, memory="256MiB") as cluster:
        yield cluster


class Fixtures(abstract.AbstractFixtures):  # type: ignore[misc]
    @pytest.fixture
    def fs(self, cluster: Processes) -> MemfsFileSystem:
        return fsspec.filesystem("memfs", url=cluster.url)

    @pytest.fixture
    def fs_path(self, fs: MemfsFileSystem) -> Iterator[str]:
        fs.mkdir("/suite")
        yield "/suite"
        fs.rm("/suite", recursive=True)


class TestCopy(abstract.AbstractCopyTests, Fixtures):  # type: ignore[misc]
    pass


class TestGet(abstract.AbstractGetTests, Fixtures):  # type: ignore[misc]
    pass


class TestPut(abstract.AbstractPutTests, Fixtures):  # type: ignore[misc]
    pass


class TestOpen(abstract.AbstractOpenTests, Fixtures):  # type: ignore[misc]
    pass


class TestPipe(abstract.AbstractPipeTests, Fixtures):  # type: ignore[misc]
    pass


# --- beside the local file system --------------------------------------------------------------


def tree(fs: Any, top: str) -> None:
    for name in ("a", "b/c", "b/d/e", "b/.hidden", "x1.csv", "x2.csv"):
        fs.pipe_file(f"{top}/{name}", name.encode() * 10)
    fs.makedirs(f"{top}/empty")


def relative(found: Any, top: str) -> Any:
    """A result without what differs: where the tree is."""
    if isinstance(found, str):
        return found.removeprefix(top)
    if isinstance(found, dict):
        if found.get("type") == "directory":
            found = {**found, "size": 0}  # a local one has the size of its table of names
        kept = {relative(key, top): relative(each, top) for key, each in found.items()}
        return {key: each for key, each in kept.items() if key in KEPT or key.startswith("/")}
    if isinstance(found, list | tuple):
        return [relative(each, top) for each in found]
    return found


KEPT = ("name", "size", "type", "islink", "")

CALLS: dict[str, Callable[[Any, str], Any]] = {
    "ls": lambda fs, top: sorted(fs.ls(top, detail=False)),
    "ls a file": lambda fs, top: fs.ls(f"{top}/a", detail=True),
    "ls nothing": lambda fs, top: fs.ls(f"{top}/x"),
    "info": lambda fs, top: [fs.info(f"{top}/{each}") for each in ("a", "b")],
    "info of nothing": lambda fs, top: fs.info(f"{top}/x"),
    "exists": lambda fs, top: [fs.exists(f"{top}/{each}") for each in ("a", "b", "x", "a/b")],
    "kinds": lambda fs, top: (fs.isfile(f"{top}/a"), fs.isdir(f"{top}/b"), fs.isdir(f"{top}/a")),
    "find": lambda fs, top: fs.find(top),
    "find details": lambda fs, top: fs.find(f"{top}/b", detail=True, withdirs=True),
    "find not deep": lambda fs, top: fs.find(top, maxdepth=1, withdirs=True),
    "find a file": lambda fs, top: fs.find(f"{top}/a"),
    "find nothing": lambda fs, top: fs.find(f"{top}/x"),
    "walk": lambda fs, top: sorted((p, sorted(d), sorted(f)) for p, d, f in fs.walk(top)),
    "ls below a file": lambda fs, top: fs.ls(f"{top}/a/x", detail=False),
    "walk nothing": lambda fs, top: (list(fs.walk(f"{top}/x")), list(fs.walk(f"{top}/a/x"))),
    "walk with a care": lambda fs, top: list(fs.walk(f"{top}/x", on_error="raise")),
    "walk, told": lambda fs, top: (
        told := list[object](),
        list(fs.walk(f"{top}/x", on_error=lambda error: told.append(error.errno))),
    ),
    "du of nothing": lambda fs, top: (fs.du(f"{top}/x"), fs.du(f"{top}/a/x")),
    "a name too long": lambda fs, top: [
        call(f"{top}/{'n' * 300}") for call in (fs.exists, fs.find, fs.du, fs.glob, fs.isdir)
    ],
    "names like patterns": lambda fs, top: (
        fs.pipe({f"{top}/r [1].csv": b"1", f"{top}/s [1].csv": b"2"}),
        fs.mv(f"{top}/r [1].csv", f"{top}/t [1].csv"),
        fs.rm(f"{top}/s [1].csv"),
        fs.find(top),
    ),
    "glob": lambda fs, top: [
        fs.glob(f"{top}/{each}") for each in ("*", "*.csv", "**", "b/**", "?", "b/*/", "x", "b/.*")
    ],
    "du": lambda fs, top: (fs.du(top), fs.du(top, total=False), fs.du(f"{top}/a")),
    "size": lambda fs, top: (fs.size(f"{top}/a"), fs.sizes([f"{top}/a", f"{top}/b/c"])),
    "cat": lambda fs, top: fs.cat([f"{top}/a", f"{top}/b/c"]),
    "cat one": lambda fs, top: fs.cat(f"{top}/a"),
    "cat all": lambda fs, top: fs.cat(f"{top}/*.csv"),
    "cat nothing": lambda fs, top: fs.cat([f"{top}/a", f"{top}/x"]),
    "cat, leaving out": lambda fs, top: fs.cat([f"{top}/a", f"{top}/x"], on_error="omit"),
    "cat_file": lambda fs, top: [
        fs.cat_file(f"{top}/a", *each)
        for each in ((0, 3), (2, None), (-3, None), (None, 4), (None, -2), (1, -1), (3, 99))
    ],
    "cat_ranges": lambda fs, top: fs.cat_ranges([f"{top}/a", f"{top}/a", f"{top}/b/c"], 1, 5),
    "head and tail": lambda fs, top: (fs.head(f"{top}/a", 4), fs.tail(f"{top}/a", 4)),
    "read_block": lambda fs, top: fs.read_block(f"{top}/b/c", 2, 9, b"/"),
    "pipe": lambda fs, top: (fs.pipe({f"{top}/p": b"1", f"{top}/q": b"2"}), fs.find(top)),
    "pipe anew": lambda fs, top: fs.pipe_file(f"{top}/a", b"", mode="create"),
    "mkdir again": lambda fs, top: fs.mkdir(f"{top}/b"),
    "mkdir": lambda fs, top: (fs.mkdir(f"{top}/m/n"), fs.isdir(f"{top}/m/n")),
    "makedirs again": lambda fs, top: fs.makedirs(f"{top}/b"),
    "rmdir": lambda fs, top: (fs.rmdir(f"{top}/empty"), fs.exists(f"{top}/empty")),
    "rmdir of what is full": lambda fs, top: fs.rmdir(f"{top}/b"),
    "rm": lambda fs, top: (fs.rm(f"{top}/a"), fs.find(top)),
    "rm a directory": lambda fs, top: fs.rm(f"{top}/b"),
    "rm a tree": lambda fs, top: (fs.rm(f"{top}/b", recursive=True), fs.find(top)),
    "rm several": lambda fs, top: (fs.rm([f"{top}/a", f"{top}/b/c"]), fs.find(top)),
    "mv": lambda fs, top: (fs.mv(f"{top}/a", f"{top}/z"), fs.find(top)),
    "mv into a directory": lambda fs, top: (fs.mv(f"{top}/a", f"{top}/b"), fs.find(top)),
    "mv a tree": lambda fs, top: (fs.mv(f"{top}/b", f"{top}/z", recursive=True), fs.find(top)),
    "mv nothing": lambda fs, top: fs.mv(f"{top}/x", f"{top}/z"),
    "touch": lambda fs, top: (fs.touch(f"{top}/a"), fs.size(f"{top}/a")),
    "touch, keeping": lambda fs, top: (fs.touch(f"{top}/a", truncate=False), fs.size(f"{top}/a")),
    "symlink": lambda fs, top: (
        fs.symlink(f"{top}/a", f"{top}/l"),
        fs.info(f"{top}/l")["destination"].endswith("/a"),
        fs.islink(f"{top}/l"),
        fs.cat_file(f"{top}/l"),
        sorted((each["name"], each["islink"]) for each in fs.ls(top, detail=True)),
    ),
}


def outcome(call: Callable[[Any, str], Any], fs: Any, top: str) -> Any:
    try:
        return relative(call(fs, top), top)
    except (OSError, ValueError) as error:
        return (
            FileNotFoundError if isinstance(error, FileNotFoundError) else type(error).__mro__[-4]
        )


@pytest.mark.parametrize("name", CALLS)
def test_as_the_local_file_system(name: str, cluster: Processes, tmp_path: Path) -> None:
    fs, local = MemfsFileSystem(cluster.url), LocalFileSystem(auto_mkdir=True)
    top = str(tmp_path / "t")
    tree(fs, top)
    tree(local, top)
    try:
        assert outcome(CALLS[name], fs, top) == outcome(CALLS[name], local, top)
    finally:
        fs.rm(top, recursive=True)


# --- what only memfs's own shows ---------------------------------------------------------------


@pytest.fixture
def fs(cluster: Processes) -> Iterator[MemfsFileSystem]:
    fs = MemfsFileSystem(cluster.url)
    yield fs
    for name in fs.ls("/", detail=False):
        fs.rm(name, recursive=True)


def test_urls(cluster: Processes, fs: MemfsFileSystem) -> None:
    with fsspec.open(f"{cluster.url}/u/text", "w") as file:
        file.write("Hello")
    assert fs.cat("memfs:///u/text") == fs.cat("memfs://u/text") == fs.cat("/u/text") == b"Hello"
    found, path = fsspec.core.url_to_fs(f"{cluster.url}/u/text")
    assert (found.config, path) == (fs.config, "/u/text")
    assert fs.unstrip_protocol("/u/text") == "memfs:///u/text"
    assert fs.glob("memfs://u/*") == ["/u/text"]


def test_a_transaction(fs: MemfsFileSystem) -> None:
    fs.pipe_file("/t/old", b"old")
    with fs.transaction:
        with fs.open("/t/old", "wb") as file:
            file.write(b"new")
        with fs.open("/t/other", "wb") as file:
            file.write(b"other")
            assert (file.size, file.details["size"], file.details["name"]) == (5, 5, "/t/other")
        assert file.closed
        with pytest.raises(ValueError, match="closed"):
            file.write(b"more")
        assert fs.cat_file("/t/old") == b"old" and not fs.exists("/t/other")
        assert fs.find("/t") == ["/t/old"], "what a process that dies here would leave"
        with pytest.raises(ValueError, match="whole files"):
            fs.open("/t/old", "ab")
        with fs.open("/t/old") as one, fs.open("/t/old", "r") as two:
            assert (one.read(), two.read()) == (b"old", "old")
        with pytest.raises(FileExistsError):
            fs.open("/t/old", "xb")
    assert fs.cat("/t/*") == {"/t/old": b"new", "/t/other": b"other"}
    with pytest.raises(ZeroDivisionError), fs.transaction:
        with fs.open("/t/old", "wb") as file:
            file.write(b"lost")
        unclosed = fs.open("/t/unclosed", "wb")
        unclosed.write(b"lost too")
        raise ZeroDivisionError
    assert fs.find("/t") == ["/t/old", "/t/other"] and fs.cat_file("/t/old") == b"new"


@pytest.mark.parametrize("recursive", [True, False])
def test_moves_that_cannot_be(recursive: bool, cluster: Processes, fs: MemfsFileSystem) -> None:
    """fsspec's own suite has these two of local files only."""
    for name, mode in (("/own", 0o777), ("/protected", 0o755)):
        fs.mkdir(name)
        fs.chmod(name, mode)
    ann = MemfsFileSystem(cluster.url, user="ann", auto_mkdir=False)
    ann.pipe_file("/own/f", b"x")
    with pytest.raises(FileNotFoundError):
        ann.mv("/own/f", "/own/nothing/f", recursive=recursive)
    with pytest.raises(PermissionError):
        ann.mv("/own/f", "/protected/f", recursive=recursive)
    assert fs.find("/") == ["/own/f"] and ann.cat_file("/own/f") == b"x"


def test_moving_several(fs: MemfsFileSystem) -> None:
    """Like ``copy``, then the removal of what was copied, which is fsspec's own ``mv``."""
    names = ["/s/1.csv", "/s/2.csv", "/s/b/3.csv", "/s/b/c/4", "/s/e/1.csv"]
    for target, source, expected in (
        ("/new", "/s/?.csv", {"/new/1.csv": names[0], "/new/2.csv": names[1]}),
        ("/s/e", ["/s/2.csv", "/s/b"], {"/s/e/2.csv": names[1], "/s/e/b/3.csv": names[2]}),
        ("/one", ["/s/2.csv"], {"/one/2.csv": names[1]}),
        ("/one/", "/s/b*", {"/one/b/3.csv": names[2], "/one/b/c/4": names[3]}),
        ("/deep", "/s/b/**", {"/deep/3.csv": names[2]}),
        (["/x/y", "/z"], ["/s/1.csv", "/s/b"], {"/x/y": names[0], "/z/3.csv": names[2]}),
        (["/s/1.csv"], ["/s/1.csv"], {"/s/1.csv": names[0]}),
    ):
        fs.pipe({name: name.encode() for name in names})
        fs.mv(source, target)
        found = {name: content.decode() for name, content in fs.cat(fs.find("/")).items()}
        assert found.items() >= expected.items()
        assert sorted(found.values()) == names, "none is lost"
        fs.rm(fs.ls("/", detail=False), recursive=True)
    fs.pipe({name: name.encode() for name in names})
    for target, wrong, error in (
        ("/new", ["/s/1.csv", "/s/e/1.csv"], FileExistsError),
        (["/n", "/n"], names[:2], FileExistsError),
        (names[1:3], names[:2], FileExistsError),
        ("/s/e", "/s/*", OSError),
        (["/n"], names[:2], ValueError),
        (["/n"], "/s/*", TypeError),
        ("/new", [], FileNotFoundError),
        ("/new", "/nothing*", FileNotFoundError),
    ):
        with pytest.raises(error):
            fs.mv(wrong, target)
        assert fs.find("/") == names, "nothing was moved"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_fsspecs_caches(fs: MemfsFileSystem, tmp_path: Path) -> None:
    """Of files, and of blocks: what was read once comes from the disk, until it changes.

    fsspec's own block cache closes none of the files that it maps.
    """
    content = os.urandom(3_000_000)
    fs.pipe_file("/cached", content)
    for kind in ("filecache", "simplecache", "blockcache"):
        where = str(tmp_path / kind)
        cached = fsspec.filesystem(kind, fs=fs, cache_storage=where, check_files=True)
        for _ in range(2):
            with cached.open("/cached", block_size=100_000) as file:
                assert file.seek(-10, os.SEEK_END) == len(content) - 10
                assert file.read() == content[-10:] and file.read() == b""
                assert file.seek(1_234_567) and file.read(300_000) == content[1_234_567:1_534_567]
                assert file.closed is False
            assert file.closed
    kept = [each for each in (tmp_path / "blockcache").iterdir() if each.name != "cache"]
    assert [each.stat().st_size for each in kept] == [len(content)]
    with fs.open("/cached", "r+b") as file:
        file.write(b"changed")
    for kind in ("filecache", "blockcache"):
        cached = fsspec.filesystem(
            kind, fs=fs, cache_storage=str(tmp_path / kind), check_files=True
        )
        with cached.open("/cached", block_size=100_000) as file:
            assert file.read(7) == b"changed"


def test_modes(fs: MemfsFileSystem) -> None:
    with fs.open("/m", "ab") as file:
        file.write(b"one")
    with fs.open("/m", "a") as file:
        file.write("two\n")
    with pytest.raises(FileExistsError):
        fs.open("/m", "xb")
    with fs.open("/m", "r+b") as file:
        file.seek(3)
        file.write(b"2")
    with fs.open("/m") as file:
        assert (file.size, file.full_name, file.readuntil(b"2")) == (7, "memfs:///m", b"one2")
        again = pickle.loads(pickle.dumps(file))
        assert again.read() == b"wo\n"
        again.close()
    with fs.open("/z.gz", "wt", compression="gzip") as file:
        file.write("text")
    assert fs.open("/z.gz", "rt", compression="infer").read() == "text"


def test_versions_and_no_stale_listing(fs: MemfsFileSystem) -> None:
    fs.pipe_file("/v", b"1")
    before = fs.ukey("/v"), fs.checksum("/v"), fs.modified("/v")
    assert (fs.ukey("/v"), fs.checksum("/v")) == before[:2]
    fs.pipe_file("/v", b"2")
    assert fs.ukey("/v") != before[0] and fs.checksum("/v") != before[1]
    other = MemfsFileSystem(fs.storage_options.get("url") or fs.storage_args[0], user="root")
    assert fs.ls("/", detail=False) == ["/v"]
    other.pipe_file("/w", b"")
    assert fs.ls("/", detail=False) == ["/v", "/w"]


def test_many_files_take_few_requests(fs: MemfsFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each node and batch, whatever the number of files."""
    asked: Counter[str] = Counter()
    call = Connection.call

    def counted(self: Any, request: Any, *given: Any, **options: Any) -> Any:
        asked[type(request).__name__] += 1
        return call(self, request, *given, **options)

    files = {f"/many/{number:03}": b"%d" % number for number in range(200)}
    monkeypatch.setattr(Connection, "call", counted)
    fs.mkdir("/many")
    for work, most in (
        (lambda: fs.pipe(files), 20),
        (lambda: fs.cat(list(files)), 6),
        (lambda: fs.cat_ranges(list(files), 0, 1), 8),
        (lambda: fs.find("/many"), 4),
        (lambda: fs.glob("/many/0*"), 4),
        (lambda: fs.info("/many/007"), 2),
        (lambda: list(fs.walk("/many")), 4),
        (lambda: fs.du("/many"), 4),
        (lambda: fs.rm(list(files)), 12),
    ):
        asked.clear()
        work()
        asked.pop("Ping", None)
        assert 0 < asked.total() <= most, asked


def test_progress(fs: MemfsFileSystem, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(9 << 20))
    callback = fsspec.callbacks.Callback()
    fs.put_file(str(tmp_path / "big"), "/big", callback=callback)
    assert callback.value == callback.size == 9 << 20
    callback = fsspec.callbacks.Callback()
    fs.get_file("/big", str(tmp_path / "back"), callback=callback)
    assert callback.value == callback.size == os.path.getsize(tmp_path / "back")


async def test_asynchronous(cluster: Processes) -> None:
    fs = MemfsFileSystem(cluster.url, asynchronous=True)
    await fs._pipe({f"/async/{number}": b"%d" % number for number in range(50)})
    names = [f"/async/{number}" for number in range(50)]
    found = await asyncio.gather(fs._cat(names), fs._find("/async"), fs._info("/async/7"))
    assert found[0] == {name: name[7:].encode() for name in names}
    assert len(found[1]) == 50 and found[2]["size"] == 1
    async with await fs.open_async("/async/7") as file:
        assert (file.size, file.loc, await file.read(), file.tell()) == (1, 0, b"7", 1)
        assert file.seek(-1, 2) == 0 and await file.read(5) == b"7" and await file.read() == b""
        with pytest.raises(OSError, match="negative"):
            file.seek(-1)
    assert file.closed
    with pytest.raises(ValueError, match="closed"):
        file.seek(0)
    async with await fs.open_async("/async/w", "wb") as file:
        assert await file.write(b"abcd") == file.tell() == file.size == 4
        assert file.seek(1) == 1 and await file.write(b"X") == 1
        await file.flush()
        assert (file.loc, file.size) == (2, 4)
        assert await fs._cat_file("/async/w") == b"aXcd"
    async with await fs.open_async("/async/w", "ab") as file:
        assert file.tell() == 4 and await file.write(b"e") == 1
    assert await fs._cat_file("/async/w") == b"aXcde"
    assert [each async for each in fs._walk("/async/nothing")] == []
    await fs._rm("/async", recursive=True)
    await fs._close()


def test_asynchronous_in_several_loops(cluster: Processes) -> None:
    """fsspec hands out one instance, also where every call has a loop of its own."""
    fs = MemfsFileSystem(cluster.url, asynchronous=True)

    async def work() -> list[bytes]:
        await fs._pipe_file("/loops", b"x")
        return await asyncio.gather(*(fs._cat_file("/loops") for _ in range(5)))

    async def unanswered() -> None:
        lost = MemfsFileSystem("memfs://127.0.0.1:9", asynchronous=True, timeout_seconds=1)
        for _ in range(2):
            with pytest.raises(errors.UnavailableError):
                await lost._ls("/")

    for _ in range(3):
        assert asyncio.run(work(), debug=True) == [b"x"] * 5
        gc.collect()  # would tell of what was not closed
    asyncio.run(unanswered())


def read(fs: MemfsFileSystem, path: str) -> bytes:
    with fs.open(path) as file:
        return file.read() + fs.cat_file(path)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes(method: str, fs: MemfsFileSystem) -> None:
    fs.pipe_file("/shared", b"x")
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.starmap(read, [(fs, "/shared")] * 4) == [b"xx"] * 4


def test_errors(fs: MemfsFileSystem) -> None:
    with pytest.raises(errors.PathNotFoundError):
        fs.cat_file("/nothing")
    with pytest.raises(IsADirectoryError):
        fs.pipe_file("/", b"")
    with pytest.raises(OSError, match="no memfs node"):
        MemfsFileSystem("memfs://127.0.0.1:9", timeout_seconds=1).ls("/")
    with pytest.raises(TypeError, match="contents by path"):
        fs.pipe(["/there"], b"x")
    fs.pipe_file("/there", b"x")
    for wrong in (5, None, b"/there"):
        for call in (fs.ls, fs.info, fs.exists, fs.cat_file, fs.open, lambda x: fs.mv("/there", x)):
            with pytest.raises(TypeError):
                call(wrong)
    assert fs.cat_file("/there") == b"x"
