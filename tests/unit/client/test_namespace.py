"""Operations on paths over a real namespace: what they ask, return and raise."""

from __future__ import annotations

import errno
import glob
import os
import pickle
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from memfs import errors, limits
from memfs.client.filesystem import AsyncFileSystem
from memfs.protocol import messages as m
from tests.unit.client.fake_cluster import FakeCluster

TREE = ["a/one.txt", "a/two.log", "a/b/three.txt", "a/b/c/four.txt", "d/.hidden", "d/five.txt"]


@pytest.fixture
async def tree(fs: AsyncFileSystem) -> AsyncFileSystem:
    """``fs`` with TREE in it."""
    for path in TREE:
        await fs.write_bytes("/" + path, path.encode(), parents=True)
    return fs


async def test_stat(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    await fs.write_bytes("/f", b"12345", permissions=0o640)
    await fs.symlink("f", "/link")
    cluster.asked.clear()
    found = await fs.stat("/link")
    assert cluster.asked_for == {"Lookup": 1}
    assert stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o640
    assert (found.st_size, found.st_nlink, found.owner, found.group) == (
        5, 1, "root", "supergroup"
    )  # fmt: skip
    assert found.block_size == 4096 and found.replication == 2
    assert found.is_file() and not found.is_dir()
    assert (await fs.lstat("/link")).is_symlink()
    assert stat.S_ISDIR((await fs.stat("/")).st_mode)
    with pytest.raises(FileNotFoundError) as caught:
        await fs.stat("none")
    assert caught.value.filename == "none"
    assert await fs.stat_many(["/f", "/none"]) == [found, None]


async def test_questions(tree: AsyncFileSystem) -> None:
    assert await tree.exists("/a") and not await tree.exists("/x")
    assert not await tree.exists("/a/one.txt/x")
    assert await tree.isdir("/a") and not await tree.isdir("/a/one.txt")
    assert await tree.isfile("/a/one.txt") and not await tree.isfile("/a")
    assert await tree.access("/a/one.txt", os.R_OK | os.W_OK)
    assert not await tree.access("/x")


async def test_listing(tree: AsyncFileSystem, cluster: FakeCluster) -> None:
    assert await tree.listdir("/") == ["a", "d"]
    cluster.asked.clear()
    entries = await tree.scandir("/a")
    assert [(entry.name, entry.path, entry.is_dir()) for entry in entries] == [
        ("b", "/a/b", True), ("one.txt", "/a/one.txt", False), ("two.log", "/a/two.log", False)
    ]  # fmt: skip
    assert entries[1].stat().st_size == 9 and cluster.asked_for == {"List": 1}
    with pytest.raises(NotADirectoryError):
        await tree.listdir("/a/one.txt")


async def test_a_directory_of_many_pages(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    names = [f"{number:05}" for number in range(2500)]
    await fs.mkdir("/many")
    await fs.write_many((f"/many/{name}", b"") for name in names)
    cluster.asked.clear()
    assert await fs.listdir("/many") == names
    assert cluster.asked["List"] >= 3
    pages = [page async for page in fs.scandir_pages("/many", after="01999")]
    assert [entry.name for page in pages for entry in page] == names[2000:]


async def test_walk_is_that_of_os(tree: AsyncFileSystem, tmp_path: Path) -> None:
    for path in TREE:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    for topdown in (True, False):
        expected = [
            (top[len(str(tmp_path)) :] or "/", sorted(directories), sorted(files))
            for top, directories, files in os.walk(tmp_path, topdown)
        ]
        found = [step async for step in tree.walk("/", topdown)]
        assert sorted(found) == sorted(expected)
    steered = []
    async for top, directories, _ in tree.walk("/"):
        steered.append(top)
        directories[:] = [name for name in directories if name != "b"]
    assert steered == ["/", "/a", "/d"]
    seen: list[OSError] = []
    assert [step async for step in tree.walk("/none", onerror=seen.append)] == []
    assert isinstance(seen[0], FileNotFoundError)


@pytest.mark.parametrize(
    "pattern",
    ["/a/*.txt", "/*/*.txt", "/**/*.txt", "/a/**", "/a/**/four.txt", "/?/[o-t]*", "/d/.h*",
     "/a/one.txt", "/none*", "/a/b/c/../*", "/**/c/*", "/[!a]/*"],
)  # fmt: skip
async def test_glob_is_that_of_the_library(
    tree: AsyncFileSystem, tmp_path: Path, pattern: str
) -> None:
    for path in TREE:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    expected = glob.glob(str(tmp_path) + pattern, recursive=True)
    found = await tree.glob(pattern)
    plain = {path[len(str(tmp_path)) :].rstrip("/") for path in expected}
    assert {path.rstrip("/") for path in found} == plain
    assert len(found) == len(set(found))


async def test_links_in_place_of_what_is_there(fs: AsyncFileSystem, cluster: FakeCluster) -> None:
    await fs.write_bytes("/f", b"x")
    await fs.write_bytes("/a", b"y")
    for make in (fs.symlink, fs.link):
        with pytest.raises(FileExistsError):
            await make("/f", "/a")
    cluster.asked.clear()
    await fs.symlink("f", "/a", replace=True)
    await fs.link("/f", "/a", replace=True)
    assert cluster.asked_for == {"MakeSymlink": 1, "MakeLink": 1}
    assert (await fs.stat("/a")).st_nlink == 2 and await fs.listdir("/") == ["a", "f"]
    await fs.mkdir("/d")
    with pytest.raises(IsADirectoryError) as caught:
        await fs.link("/f", "/d", replace=True)
    assert (caught.value.filename, caught.value.filename2) == ("/f", "/d")


async def test_changing_the_tree(tree: AsyncFileSystem) -> None:
    await tree.makedirs("/n/e/w")
    with pytest.raises(FileExistsError):
        await tree.makedirs("/n/e/w")
    await tree.makedirs("/n/e/w", exist_ok=True)
    with pytest.raises(FileExistsError):
        await tree.mkdir("/n")
    await tree.rename("/a/one.txt", "/n/one")
    with pytest.raises(FileExistsError) as caught:
        await tree.rename("/n/one", "/a/two.log", overwrite=False)
    assert (caught.value.filename, caught.value.filename2) == ("/n/one", "/a/two.log")
    await tree.rename("/n/one", "/a/two.log", exchange=True)
    assert await tree.read_bytes("/n/one") == b"a/two.log"
    await tree.replace("/n/one", "/a/two.log")
    await tree.remove("/a/two.log")
    with pytest.raises(IsADirectoryError):
        await tree.remove("/a")
    with pytest.raises(OSError, match="/a"):
        await tree.rmdir("/a")
    await tree.rmtree("/a")
    with pytest.raises(FileNotFoundError):
        await tree.rmtree("/a")
    await tree.rmtree("/a", ignore_errors=True)
    await tree.link("/d/five.txt", "/d/six.txt")
    assert (await tree.stat("/d/six.txt")).st_nlink == 2
    await tree.symlink("five.txt", "/d/sym")
    assert await tree.readlink("/d/sym") == "five.txt" and await tree.islink("/d/sym")


async def test_changing_attributes(fs: AsyncFileSystem) -> None:
    await fs.touch("/f")
    with pytest.raises(FileExistsError):
        await fs.touch("/f", exist_ok=False)
    await fs.chmod("/f", 0o600)
    await fs.chown("/f", "ann", "staff")
    await fs.utime("/f", (1.5, 2.5))
    found = await fs.stat("/f")
    assert (stat.S_IMODE(found.st_mode), found.owner, found.group) == (0o600, "ann", "staff")
    assert (found.st_atime, found.st_mtime_ns) == (1.5, 2_500_000_000)
    await fs.utime("/f", ns=(3, 4))
    assert (await fs.stat("/f")).st_mtime_ns == 4
    await fs.utime("/f")
    assert (await fs.stat("/f")).st_mtime_ns > 4
    with pytest.raises(ValueError, match="both"):
        await fs.utime("/f", (1, 2), ns=(1, 2))
    await fs.set_replication("/f", 1)
    assert (await fs.stat("/f")).replication == 1


async def test_extended_attributes(fs: AsyncFileSystem) -> None:
    await fs.touch("/f")
    await fs.setxattr("/f", "user.a", b"1")
    with pytest.raises(OSError, match="/f"):
        await fs.setxattr("/f", "user.a", b"2", os.XATTR_CREATE)
    assert await fs.getxattr("/f", "user.a") == b"1"
    assert await fs.listxattr("/f") == ["user.a"]
    await fs.removexattr("/f", "user.a")
    with pytest.raises(errors.NoAttributeError):
        await fs.getxattr("/f", "user.a")


async def test_totals(tree: AsyncFileSystem) -> None:
    usage = await tree.du("/a")
    assert (usage.files, usage.directories) == (4, 3)
    assert usage.length == sum(len(path) for path in TREE[:4])
    volume = await tree.statvfs()
    assert volume.f_blocks * volume.f_frsize == volume.capacity == 1 << 30


async def test_copy_and_truncate(fs: AsyncFileSystem) -> None:
    data = os.urandom(50_000)
    await fs.write_bytes("/f", data, permissions=0o600)
    copied = await fs.copy("/f", "/g")
    assert await fs.read_bytes("/g") == data and copied.st_size == 50_000
    assert stat.S_IMODE((await fs.stat("/g")).st_mode) == 0o600
    await fs.link("/g", "/h")
    with pytest.raises(errors.InvalidArgumentError, match="same file"):
        await fs.copy("/g", "/h")
    await fs.truncate("/g", 100)
    assert await fs.read_bytes("/g") == data[:100]
    await fs.truncate("/g", 5000)
    assert await fs.read_bytes("/g") == data[:100] + bytes(4900)
    with pytest.raises(FileNotFoundError):
        await fs.truncate("/none", 0)
    with pytest.raises(ValueError, match="negative"):
        await fs.truncate("/g", -1)


async def test_trees_deeper_than_the_stack_of_python(fs: AsyncFileSystem) -> None:
    deep = "/d" * 1500
    await fs.makedirs(deep)
    for topdown in (True, False):
        walked = [step async for step in fs.walk("/", topdown)]
        assert len(walked) == 1501 and walked[-1 if topdown else 0][0] == deep
    assert len(await fs.glob("/**/d")) == 1500
    assert (await fs.glob("/**"))[-1] == deep


async def test_times_out_of_range_become_the_nearest(fs: AsyncFileSystem) -> None:
    await fs.write_bytes("/file", b"")
    for seconds in (253_402_300_799.0, -1e12):
        await fs.utime("/file", (seconds, seconds))
        assert abs((await fs.stat("/file")).st_mtime_ns) >= limits.TIME_NS_MAX
        await fs.utime("/file", (0, 0))
        await fs.set_times("/file", modified_ns=int(seconds) * 1_000_000_000)
        found = await fs.stat("/file")
        assert abs(found.st_mtime_ns) >= limits.TIME_NS_MAX and found.st_atime_ns == 0


async def test_an_attribute_too_large_is_refused_at_once(
    fs: AsyncFileSystem, cluster: FakeCluster
) -> None:
    await fs.write_bytes("/file", b"")
    for size in (limits.XATTR_VALUE_BYTES + 1, 65_537, 1 << 20):
        with pytest.raises(OSError, match="bytes at most") as caught:
            await fs.setxattr("/file", "user.large", bytes(size))
        assert caught.value.errno == caught.value.args[0] == errno.E2BIG
        assert pickle.loads(pickle.dumps(caught.value)).errno == errno.E2BIG
    assert cluster.asked["SetXattr"] == 0


async def test_attributes_of_any_size_that_linux_allows(fs: AsyncFileSystem) -> None:
    await fs.write_bytes("/file", b"")
    values = {f"user.{size}": bytes([size % 251]) * size for size in (0, 1, 8192, 8193, 65_536)}
    for name, value in values.items():
        await fs.setxattr("/file", name, bytearray(value))
    assert await fs.getxattrs("/file") == values
    assert await fs.getxattrs("/file", "user.1", "user.65536") == {
        name: values[name] for name in ("user.1", "user.65536")
    }
    assert await fs.listxattr("/file") == sorted(values)
    for name, value in values.items():
        assert await fs.getxattr("/file", name) == value


async def test_special_files(fs: AsyncFileSystem) -> None:
    await fs.mknod("/fifo", stat.S_IFIFO | 0o620)
    await fs.mknod("/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    found = await fs.stat("/null")
    assert stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3)
    assert (os.major(found.st_rdev), os.minor(found.st_rdev)) == (1, 3)
    assert stat.S_ISFIFO((await fs.stat("/fifo")).st_mode)
    assert (await fs.stat("/fifo")).st_mode & 0o777 == 0o620
    entries = await fs.scandir("/")
    assert [(entry.name, entry.is_file(), entry.is_dir()) for entry in entries] == [
        ("fifo", False, False),
        ("null", False, False),
    ]
    for mode in ("rb", "r+b", "wb", "ab"):
        with pytest.raises(errors.InvalidArgumentError):
            await fs.open("/fifo", mode)
    for wrong in (0o600, stat.S_IFREG | 0o600, stat.S_IFDIR | 0o700):
        with pytest.raises(errors.InvalidArgumentError, match="special file"):
            await fs.mknod("/x", wrong)
    assert await fs.exists("/fifo") and not await fs.isfile("/fifo")


async def test_special_files_are_not_copied(fs: AsyncFileSystem, tmp_path: Path) -> None:
    await fs.mkdir("/d")
    await fs.mknod("/d/fifo", stat.S_IFIFO | 0o600)
    await fs.write_bytes("/d/f", b"x")
    done = await fs.get("/d", tmp_path / "d", return_errors=True)
    assert [failure.path for failure in done.failures] == ["/d/fifo"]
    assert (tmp_path / "d" / "f").read_bytes() == b"x"
    os.mkfifo(tmp_path / "d" / "p")
    done = await fs.put(tmp_path / "d", "/e", return_errors=True)
    assert [Path(failure.path).name for failure in done.failures] == ["p"]
    assert await fs.listdir("/e") == ["f"]
    with pytest.raises(OSError, match="not a file"):
        await fs.get("/d/fifo", tmp_path / "alone")


MALFORMED: dict[type, Callable[[AsyncFileSystem], Awaitable[object]]] = {
    m.Lookup: lambda fs: fs.stat("/f"),
    m.MakeDirectory: lambda fs: fs.mkdir("/new"),
    m.Rename: lambda fs: fs.rename("/f", "/g"),
    m.SetAttributes: lambda fs: fs.chmod("/f", 0o600),
    m.SetXattr: lambda fs: fs.setxattr("/f", "user.a", b"x"),
    m.List: lambda fs: fs.listdir("/"),
    m.Unlink: lambda fs: fs.remove("/f"),
    m.Create: lambda fs: fs.open("/new", "wb"),
    m.PutFiles: lambda fs: fs.write_bytes("/new", b"x"),
}


@pytest.mark.parametrize("kind", MALFORMED, ids=lambda kind: kind.__name__)
async def test_what_is_refused_as_malformed_is_asked_once(
    fs: AsyncFileSystem, cluster: FakeCluster, kind: type
) -> None:
    await fs.write_bytes("/f", b"12345")
    cluster.asked.clear()
    cluster.refuse_once[kind] = [errors.InvalidArgumentError("malformed: no such field")] * 3
    with pytest.raises(errors.InvalidArgumentError, match="malformed"):
        await MALFORMED[kind](fs)
    assert cluster.asked[kind.__name__] == 1 and len(cluster.refuse_once[kind]) == 2
