"""The blocking client against real nodes: file objects, threads, forks, the end of the process."""

from __future__ import annotations

import copy
import io
import multiprocessing
import os
import pickle
import random
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import memfs
from memfs import errors
from memfs.testing.processes import Processes
from tests.support.patience import PATIENCE_SECONDS

MIB = 1 << 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Processes]:
    with Processes(nodes=2, replication=2, memory="512MiB") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def connected(cluster: Processes) -> Iterator[memfs.FileSystem]:
    with memfs.connect(cluster.url) as fs:
        yield fs


@pytest.fixture
def fs(connected: memfs.FileSystem) -> Iterator[memfs.FileSystem]:
    yield connected
    for name in connected.listdir("/"):
        path = f"/{name}"
        connected.rmtree(path) if connected.isdir(path) else connected.remove(path)


# --- file objects ----------------------------------------------------------------------------


def test_file_objects_are_those_of_the_library(fs: memfs.FileSystem, tmp_path: Path) -> None:
    for mode in ("wb", "w", "w+b", "w+", "rb", "r", "r+b", "r+", "ab", "a", "a+b"):
        with open(tmp_path / "f", mode) as real, fs.open("/f", mode) as ours:
            assert isinstance(ours, type(real)), mode
            assert ours.mode == real.mode
            assert ours.name == "/f"
            for question in ("readable", "writable", "seekable", "isatty", "tell"):
                assert getattr(ours, question)() == getattr(real, question)(), (mode, question)
            with pytest.raises(io.UnsupportedOperation):
                ours.fileno()
        assert ours.closed
        ours.close()
        with pytest.raises(ValueError, match="closed"):
            ours.seek(0)


def test_random_operations_as_on_a_local_file(fs: memfs.FileSystem, tmp_path: Path) -> None:
    dice = random.Random(11)
    with open(tmp_path / "f", "w+b") as real, fs.open("/f", "w+b") as ours:
        for _ in range(400):
            step = dice.randrange(7)
            if step == 0:
                data = dice.randbytes(dice.choice([1, 100, 5000, 300_000]))
                assert ours.write(data) == real.write(data)
            elif step == 1:
                size = dice.choice([0, 1, 1000, 400_000])
                assert ours.read(size) == real.read(size)
            elif step == 2:
                at = dice.randrange(1_000_000)
                assert ours.seek(at) == real.seek(at)
            elif step == 3:
                assert ours.seek(0, 2) == real.seek(0, 2)
            elif step == 4:
                assert ours.readline() == real.readline()
            elif step == 5:
                size = dice.randrange(1_500_000)
                assert ours.truncate(size) == real.truncate(size)
            else:
                mine, theirs = bytearray(1000), bytearray(1000)
                assert ours.readinto(mine) == real.readinto(theirs)
                assert mine == theirs
            assert ours.tell() == real.tell()
    assert fs.read_bytes("/f") == (tmp_path / "f").read_bytes()


def test_text(fs: memfs.FileSystem) -> None:
    with fs.open("/t", "w", newline="\r\n") as f:
        print("one", "zwei", sep="\n", file=f)
        f.writelines(["drei\n", "four"])
    assert fs.read_bytes("/t") == b"one\r\nzwei\r\ndrei\r\nfour"
    with fs.open("/t") as f:
        assert list(f) == ["one\n", "zwei\n", "drei\n", "four"]
        assert f.encoding == "utf-8"
    with fs.open("/t", "a+", encoding="latin-1", errors="replace") as f:
        f.write("ü")
        f.seek(0)
        assert f.read().endswith("fourü")
    with pytest.raises(ValueError, match="binary"):
        fs.open("/t", "rb", encoding="utf-8")


def test_flush_publishes_and_close_does_not_do_it_twice(fs: memfs.FileSystem) -> None:
    with fs.open("/f", "w") as f:
        f.write("abc")
        assert fs.stat("/f").st_size == 0
        f.flush()
        assert fs.read_text("/f") == "abc"
        f.write("def")
    assert fs.read_text("/f") == "abcdef"
    with fs.open("/log", "w", buffering=1) as f:
        f.write("line\n")
        assert fs.read_text("/log") == "line\n"


def test_a_block_left_by_an_exception_keeps_what_was_written(fs: memfs.FileSystem) -> None:
    with pytest.raises(ZeroDivisionError), fs.open("/f", "w") as f:
        f.write("kept")
        raise ZeroDivisionError
    assert fs.read_text("/f") == "kept"


def test_a_forgotten_file_is_closed_by_the_collector(fs: memfs.FileSystem) -> None:
    with pytest.warns(ResourceWarning, match="unclosed file"):
        fs.open("/f", "wb", buffering=0).write(b"kept")
    assert fs.read_bytes("/f") == b"kept"


def test_big_and_small_reads(fs: memfs.FileSystem) -> None:
    data = random.Random(1).randbytes(9 * MIB + 17)
    with fs.open("/f", "wb") as f:
        for at in range(0, len(data), 700_000):
            f.write(data[at : at + 700_000])
    for size in (1, 1000, 65_536, MIB, 64 * MIB):
        with fs.open("/f", "rb", buffering=0 if size > 1000 else -1) as f:
            got = bytearray()
            while piece := f.read(size):
                got += piece
                if size == 1 and len(got) > 10_000:
                    break
        assert got == data[: len(got)]
        assert size == 1 or len(got) == len(data)
    buffer = memoryview(bytearray(len(data)))
    with fs.open("/f", "rb") as f:
        assert f.readinto(buffer) == len(data)
    assert buffer == data
    with fs.open("/f", "rb") as f:
        assert f.raw.pread(100, 5 * MIB) == data[5 * MIB : 5 * MIB + 100]
        assert f.read() == data


# --- the default cluster ---------------------------------------------------------------------


def test_memfs_open(
    cluster: Processes, fs: memfs.FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMFS_URL", cluster.url)
    with memfs.open("memfs:///hello.txt", "w") as f:
        f.write("Hello, world!")
    with memfs.open("/hello.txt") as f:
        assert f.read() == "Hello, world!"
    first = cluster.url.split(",")[0]
    with memfs.open(first + "/hello.txt", "rb") as f:
        assert f.read() == b"Hello, world!"
    with pytest.raises(FileNotFoundError) as caught:
        memfs.open("memfs:///none")
    assert caught.value.filename == "memfs:///none"


def test_nobody_there() -> None:
    with pytest.raises(errors.UnavailableError, match=r"127\.0\.0\.1:9") as caught:
        memfs.connect("memfs://127.0.0.1:9")
    assert isinstance(caught.value, ConnectionError)
    with pytest.raises(errors.ConfigError):
        memfs.connect("memfs://127.0.0.1:9", timeout_seconds="soon")


@pytest.mark.parametrize("url", ["memfs://host", "host:10500", "memfs://host:1o500", "/directory"])
def test_a_url_without_an_address_leads_to_no_other_cluster(url: str) -> None:
    with pytest.raises(errors.InvalidPathError, match=r"write (memfs://)?host:port"):
        memfs.connect(url)
    with pytest.raises(errors.InvalidPathError, match=r"write (memfs://)?host:port"):
        memfs.open("/file", url=url)


# --- threads ---------------------------------------------------------------------------------


def test_many_threads_share_a_file_system(fs: memfs.FileSystem) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(10):
                path = f"/t{number}-{step}"
                fs.write_bytes(path, path.encode() * 100)
                with fs.open(path, "ab") as f:
                    f.write(b"end")
                assert fs.read_bytes(path) == path.encode() * 100 + b"end"
                assert fs.stat(path).st_size == len(path) * 100 + 3
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(fs.listdir("/")) == 80


# --- forks -----------------------------------------------------------------------------------


def _in_child(fs: memfs.FileSystem, reader: Any, writer: Any, results: Any) -> None:
    results.put(reader.read(5))
    results.put(fs.read_bytes("/read"))
    fs.write_bytes("/child", b"child")
    try:
        writer.raw.write(b"x")
    except errors.StaleHandleError as error:
        results.put(error.filename)
    results.put(len(fs.view.members))


def test_a_forked_child_goes_on_by_itself(fs: memfs.FileSystem) -> None:
    fs.write_bytes("/read", b"0123456789")
    reader = fs.open("/read", "rb", buffering=0)
    assert reader.read(2) == b"01"
    writer = fs.open("/write", "wb")
    writer.write(b"parent")
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_in_child, args=(fs, reader, writer, results))
    child.start()
    assert [results.get(timeout=20) for _ in range(4)] == [b"23456", b"0123456789", "/write", 2]
    child.join(20)
    assert child.exitcode == 0
    assert reader.read(5) == b"23456"
    writer.close()
    reader.close()
    assert fs.read_bytes("/write") == b"parent"
    assert fs.read_bytes("/child") == b"child"


# --- the end of the process ------------------------------------------------------------------


def test_files_left_open_are_written_at_exit(cluster: Processes, fs: memfs.FileSystem) -> None:
    script = (
        "import memfs\n"
        "f = memfs.open('/left', 'w')\n"
        "f.write('open')\n"
        "g = memfs.connect().open('/other', 'wb', buffering=0)\n"
        "g.write(b'raw')\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", script],
        env={**os.environ, "MEMFS_URL": cluster.url},
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == b""
    assert fs.read_bytes("/left") == b"open"
    assert fs.read_bytes("/other") == b"raw"
    fs.write_bytes("/left", b"the lease is free")


ORDINARY = """
import asyncio, gc, logging, os, pickle, sys, tarfile
import memfs

logging.getLogger("asyncio").setLevel(logging.ERROR)  # its warnings tell how long a turn took

def use(fs):
    fs.makedirs("/used/d")
    with fs.open("/used/f", "wb") as file:
        file.write(bytes(9_000_000))
    with fs.open("/used/f", "rb") as file:
        assert len(file.read()) == 9_000_000
    file = fs.open("/used/t", "w")
    file.write("a\\nb\\n")
    file.close()
    with fs.open("/used/t") as file:
        assert list(file) == ["a\\n", "b\\n"]
    fs.write_many({"/used/m": b"1"})
    fs.read_many(["/used/m", "/used/t"])
    fs.copy("/used/t", "/used/u")
    with fs.map("/used/f") as view:
        assert bytes(view[:2]) == bytes(2)
    with fs.replacing("/used/u") as file:
        file.write(b"new")
    with fs.open("/used/tar", "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(os.__file__)
    with fs.open("/used/tar", "rb") as file, tarfile.open(fileobj=file) as archive:
        assert archive.getnames()
    with fs.scandir("/used") as entries:
        assert len(list(entries)) == len(list(fs.scandir("/used"))) == len(fs.listdir("/used"))
    assert len(list(fs.walk("/used"))) == 2 and fs.glob("/used/*")
    next(fs.walk("/used"))
    path = fs.path("/used")
    (path / "p").write_text((path / "t").read_text())
    assert list(path.iterdir()) and list(path.rglob("*"))
    fs.put(os.__file__, "/used/put")
    fs.get("/used/put", sys.argv[1])
    fs.rmtree("/used")

async def wait():
    async with memfs.aio.connect() as fs:
        async with fs.open("/waited", "wb") as file:
            await file.write(b"1")
        await fs.read_bytes("/waited")
        await fs.remove("/waited")

with memfs.connect() as fs:
    use(fs)
    with pickle.loads(pickle.dumps(fs)) as other:
        use(other)
fs = memfs.connect()
use(fs)
fs.close()
with memfs.open("/left", "w") as file:
    file.write("by the default file system")
asyncio.run(wait())
gc.collect()
"""


@pytest.mark.usefixtures("fs")
def test_ordinary_use_leaves_nothing_unclosed(cluster: Processes, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", ORDINARY, str(tmp_path / "got")],
        env={**os.environ, "MEMFS_URL": cluster.url},
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_an_interrupt_ends_a_blocked_call(cluster: Processes) -> None:
    script = (
        "import memfs, signal, threading\n"
        "fs = memfs.connect()\n"
        "main = threading.main_thread().ident\n"
        "threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT)).start()\n"
        "try:\n"
        "    while True: fs.stat('/')\n"
        "except KeyboardInterrupt:\n"
        "    print(fs.exists('/'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "MEMFS_URL": cluster.url},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


# --- pathlib-like paths ----------------------------------------------------------------------


def test_paths(fs: memfs.FileSystem) -> None:
    root = fs.path()
    file = root / "data" / "one.tar.gz"
    with pytest.raises(FileNotFoundError):
        file.write_text("x")
    file.parent.mkdir(parents=True)
    file.parent.mkdir(exist_ok=True)
    assert file.write_text("text") == 4
    assert (file.name, file.stem, file.suffix) == ("one.tar.gz", "one.tar", ".gz")
    assert file.suffixes == [".tar", ".gz"] and file.parts == ("/", "data", "one.tar.gz")
    assert [path.name for path in root.iterdir()] == ["data"]
    assert list(root.rglob("*.gz")) == [file] == list(root.glob("*/*.gz"))
    assert file.is_file() and file.parent.is_dir() and not file.is_symlink()
    moved = file.rename(file.with_suffix(".zip"))
    assert moved.read_bytes() == b"text" and not file.exists()
    with moved.open("a") as f:
        f.write("!")
    assert moved.read_text() == "text!" and moved.stat().st_size == 5
    file.symlink_to(moved)
    assert file.readlink() == str(moved) and file.is_symlink()
    file.unlink()
    file.unlink(missing_ok=True)
    moved.with_name("two").hardlink_to(moved)
    moved.chmod(0o600)
    assert moved.relative_to("/data").name == "one.tar.zip"
    assert str(moved) == "/data/one.tar.zip"
    assert moved.parent == root.joinpath("data") and moved > root
    root.joinpath("data").rmtree()
    root.joinpath("empty").touch()


# --- copies in other processes, and what is dropped --------------------------------------------


def read_in_another_process(path: memfs.MemfsPath) -> tuple[str, bytes]:
    return str(path), path.read_bytes()


def test_paths_and_file_systems_travel(fs: memfs.FileSystem) -> None:
    fs.write_bytes("/carried", b"content")
    path = fs.path("/carried")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(read_in_another_process, (path,)) == ("/carried", b"content")
    copied = pickle.loads(pickle.dumps(path))
    assert copied == path and copied.fs is not fs and copied.read_bytes() == b"content"
    assert pickle.loads(pickle.dumps(path)).fs is copied.fs, "one connection for all"
    assert copy.deepcopy(fs).read_bytes("/carried") == b"content"
    for kind in (errors.PathNotFoundError, errors.LeaseHeldError, errors.ConfigError):
        error = pickle.loads(pickle.dumps(kind("why", path="/p")))
        assert (type(error), str(error), error.filename) == (kind, "/p: why", "/p")
    with fs.open("/carried", "rb", buffering=0) as file:
        with pytest.raises(TypeError, match="pass its path"):
            pickle.dumps(file)
        with pytest.raises(AttributeError):
            file.mode = "wb"
    copied.fs.close()


def test_what_is_dropped_unclosed_says_so(cluster: Processes, fs: memfs.FileSystem) -> None:
    fs.write_bytes("/f", b"")
    for mode, buffering in (("rb", 0), ("rb", -1), ("r", -1), ("r+b", -1), ("a", -1)):
        file = fs.open("/f", mode, buffering)
        with pytest.warns(ResourceWarning, match="unclosed file"):
            del file
    before = len(os.listdir("/proc/self/fd"))
    with pytest.warns(ResourceWarning, match="unclosed file system"):
        for _ in range(50):
            memfs.connect(cluster.url)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(os.listdir("/proc/self/fd")) > before:
        assert time.monotonic() < deadline, "connections of dropped file systems stay open"
        time.sleep(0.02)


def test_trifles_of_file_objects(fs: memfs.FileSystem) -> None:
    with fs.open(file="/f", mode="wb", buffering=0) as file:
        with pytest.raises(TypeError):
            file.seek(1.0)
        with pytest.raises(TypeError):
            file.truncate(1.5)
    with pytest.raises(ValueError, match="closed"):
        file.flush()
    fs.utime(b"/f", (1700000000.25, 1041808783.0))
    found = fs.stat("/f")
    assert (found.st_atime_ns, found.st_mtime) == (1_700_000_000_250_000_000, 1041808783.0)
    assert found[stat.ST_SIZE] == 0 and len(tuple(found)) == 10
    assert (found.st_uid, found.st_gid) == (os.getuid(), os.getgid())


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # CPython 3.12 and later
def test_a_forked_child_may_begin_with_open(fs: memfs.FileSystem) -> None:
    fs.write_bytes("/f", b"abc")
    child = os.fork()
    if not child:
        with fs.open("/f", "rb") as file:
            os._exit(0 if file.read() == b"abc" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_handler_s_exception_in_open_leaves_no_lease(cluster: Processes) -> None:
    """SIGALRM at moments spread over the call, as programs with a time limit of their own do."""
    script = (
        "import memfs, random, signal\n"
        "fs, other = memfs.connect(), memfs.connect()\n"
        "class Late(Exception): pass\n"
        "def late(*_): raise Late\n"
        "signal.signal(signal.SIGALRM, late)\n"
        "fs.mkdir('/alarm')\n"
        "chance, interrupted, opened = random.Random(3), 0, 0\n"
        "for number in range(80):\n"
        "    path = f'/alarm/{number}'\n"
        "    fs.write_bytes(path, b'x')\n"
        "    file = None\n"
        "    signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.002))\n"
        "    try:\n"
        "        file = fs.open(path, 'ab')\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "    except Late:\n"
        "        interrupted += 1\n"
        "    if file is not None:\n"
        "        file.close()\n"
        "        opened += 1\n"
        "    for each in (fs, other):\n"
        "        each.open(path, 'ab').close()\n"
        "print(interrupted > 0, interrupted + opened >= 80)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "MEMFS_URL": cluster.url},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("True True\n", 0), done.stderr
