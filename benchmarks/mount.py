"""The cluster as a directory, beside tmpfs and beside a pass-through FUSE server in C (bindfs).

All three do the same through the kernel: tmpfs is what a local file system costs, bindfs over tmpfs
what the way through ``/dev/fuse`` and back costs where nothing is done. Two nodes and two replicas
for names, one replica where a row says so. Needs root.
"""

from __future__ import annotations

import mmap
import os
import random
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import memfs
from benchmarks import cluster, streams
from benchmarks.harness import Row, Scale, Stopwatch, alternate
from benchmarks.streams import MIB
from tests.support.debian import program
from tests.support.mounts import mounted, tmpfs

NAMES = 5000
LISTED = 100_000
SMALL = 4096
PIECES = {"4 KiB": SMALL, "128 KiB": 128 * 1024, "1 MiB": MIB}
"""Sizes of one read or write."""
PIECES_BYTES = 64 * MIB
"""Most bytes, and below the most calls, that are read or written in pieces of one size."""
PIECES_CALLS = 4096
SOURCE = Path(memfs.__file__).parent
PATTERN_SEED = 11


def run(scale: Scale) -> Iterator[Row]:
    """Bytes, names, and what programs make of both."""
    with ExitStack() as stack:
        top = Path(stack.enter_context(TemporaryDirectory(prefix="memfs-bench-")))
        url = stack.enter_context(cluster.cluster(2))
        (top / "ours").mkdir()
        ours = stack.enter_context(mounted(url, top / "ours")).root
        local = stack.enter_context(tmpfs(top))
        (top / "peer").mkdir()
        passed = stack.enter_context(pass_through(local, top / "peer"))
        places = {"ours": ours, "tmpfs": local / "tmpfs", "bindfs": passed / "bindfs"}
        for name in ("tmpfs", "bindfs"):
            (local / name).mkdir()
        yield from bulk(scale, url, places)
        yield from in_pieces(scale, places)
        yield from names(scale, places)
        yield from listing(scale, url, places)
        yield from programs(scale, places)


@contextmanager
def pass_through(below: Path, point: Path) -> Iterator[Path]:
    """``below`` once more, through bindfs, on ``point``; the kernel keeps no names for it."""
    uncached = "-oattr_timeout=0,entry_timeout=0"
    command = [program("bindfs", "bindfs"), "-f", uncached, str(below), str(point)]
    server = subprocess.Popen(command)
    try:
        until = time.monotonic() + 10
        while not os.path.ismount(point):
            if time.monotonic() > until or server.poll() is not None:
                raise RuntimeError("bindfs does not mount")
            time.sleep(0.01)
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=False)
        server.terminate()
        server.wait(10)


def rows(
    name: str,
    unit: str,
    act: Callable[[Path], float],
    places: dict[str, Path],
    scale: Scale,
    **targets: float,
) -> Iterator[Row]:
    """One row beside each peer that has a target."""
    chosen = {each: partial(act, places[each]) for each in ("ours", *targets)}
    found = alternate(chosen, scale.rounds)
    for peer, target in targets.items():
        yield Row(f"mount: {name}", unit, found["ours"], peer, found[peer], target)


# --- bytes ---------------------------------------------------------------------------------------


def bulk(scale: Scale, url: str, places: dict[str, Path]) -> Iterator[Row]:
    """A large file with one copy: written, read without and with the page cache, and at random."""
    size = scale.pick(1024 * MIB, 8 * MIB)
    content = streams.pieces(size)
    with memfs.connect(url, replication=1) as fs:
        fs.mkdir("/one")
        fs.chmod("/one", 0o777)
        native = partial(streams.write_rate, partial(fs.open, "/one/native", "wb", 0), content)
        fs.write_bytes("/one/file", b"")  # its number of copies stays when it is rewritten
        path = places["ours"] / "one" / "file"
        rates = alternate(
            {
                "ours": partial(streams.write_rate, partial(path.open, "r+b", 0), content),
                "native": native,
            },
            scale.rounds,
        )
        figures = rates["ours"] / 1e6, "native client", rates["native"] / 1e6
        yield Row("mount: write 1 GiB, 1 replica", "MB/s", *figures, 0.4)
        fs.remove("/one/native")
    beside = places["tmpfs"] / "file"
    streams.write_rate(partial(beside.open, "wb", 0), content)
    paths = {"ours": path, "tmpfs": beside, "bindfs": places["bindfs"].parent / "tmpfs" / "file"}
    buffer = streams.noise(MIB)

    def read(path: Path, *, cold: bool) -> float:
        if cold:
            forget(path)
        return streams.read_rate(partial(path.open, "rb", 0), buffer, size) / 1e6

    yield from rows("read 1 GiB", "MB/s", partial(read, cold=True), paths, scale, tmpfs=0.5)
    yield from rows("the same again", "MB/s", partial(read, cold=False), paths, scale, tmpfs=0.9)
    offsets = [SMALL * each for each in range(size // SMALL)]
    random.Random(PATTERN_SEED).shuffle(offsets)
    offsets = offsets[: scale.pick(20_000, 200)]

    def read_at_random(path: Path) -> float:
        forget(path)
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        with Stopwatch() as watch:
            for offset in offsets:
                os.pread(descriptor, SMALL, offset)
        os.close(descriptor)
        return len(offsets) / watch.seconds

    yield from rows("random reads of 4 KiB", "1/s", read_at_random, paths, scale, bindfs=0.5)
    for each in (path, beside):
        each.unlink()


def forget(path: Path) -> None:
    """Have the kernel drop what it holds of a file."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def in_pieces(scale: Scale, places: dict[str, Path]) -> Iterator[Row]:
    """A file that is read and written piece by piece: in order and at random, through the page
    cache and past it (O_DIRECT).

    Reads begin without the page cache, writes end when they are stored (fsync). These rows have no
    aim: they say what a mount costs.
    """
    size = scale.pick(PIECES_BYTES, 4 * MIB)
    for place in places.values():
        streams.write_rate(partial((place / "pieces").open, "wb", 0), streams.pieces(size))
    for order in ("sequential", "random"):
        for word, piece in PIECES.items():
            offsets = [piece * each for each in range(size // piece)]
            if order == "random":
                random.Random(PATTERN_SEED).shuffle(offsets)
            offsets = offsets[:PIECES_CALLS]
            for direct in (False, True):
                for act in (read_pieces, write_pieces):
                    name = f"{word} {act.__name__.partition('_')[0]}s, {order}"
                    work = partial(act, offsets=offsets, piece=piece, direct=direct)
                    name += ", direct" if direct else ""
                    yield from rows(name, "MB/s", work, places, scale, tmpfs=0.0, bindfs=0.0)
    for place in places.values():
        (place / "pieces").unlink()


def read_pieces(place: Path, *, offsets: list[int], piece: int, direct: bool) -> float:
    """Megabytes a second that come from a file, which nobody has read before."""
    path = place / "pieces"
    forget(path)
    descriptor = os.open(path, os.O_RDONLY | (os.O_DIRECT if direct else 0))
    into = [mmap.mmap(-1, piece)]  # aligned, as O_DIRECT wants it
    with Stopwatch() as watch:
        for offset in offsets:
            if os.preadv(descriptor, into, offset) != piece:
                raise RuntimeError(f"{path} has no {piece} bytes at {offset}")
    os.close(descriptor)
    return len(offsets) * piece / watch.seconds / 1e6


def write_pieces(place: Path, *, offsets: list[int], piece: int, direct: bool) -> float:
    """Megabytes a second that go into a file, over what it has; fsync included."""
    descriptor = os.open(place / "pieces", os.O_WRONLY | (os.O_DIRECT if direct else 0))
    source = mmap.mmap(-1, piece)
    source.write(streams.noise(piece))
    with Stopwatch() as watch:
        for offset in offsets:
            os.pwritev(descriptor, [source], offset)
        os.fsync(descriptor)
    os.close(descriptor)
    return len(offsets) * piece / watch.seconds / 1e6


# --- names ---------------------------------------------------------------------------------------


def names(scale: Scale, places: dict[str, Path]) -> Iterator[Row]:
    """Small files, one at a time, as a program of one thread has them."""
    count = scale.pick(NAMES, 50)
    content = streams.noise(SMALL).tobytes()
    steps: dict[str, tuple[Callable[[Path], object], float]] = {
        "create + write + close 4 KiB": (lambda path: path.write_bytes(content), 0.5),
        "stat": (lambda path: path.stat(), 0.9),
        "open + read + close": (lambda path: path.read_bytes(), 0.6),
        "rename": (lambda path: path.rename(path.with_suffix(".new")), 0.4),
        "unlink": (lambda path: path.with_suffix(".new").unlink(), 0.4),
    }
    rates: dict[str, dict[str, list[float]]] = {step: {who: [] for who in places} for step in steps}
    for _ in range(scale.rounds):
        for who in places:
            top = places[who] / "names"
            top.mkdir()
            paths = [top / f"file-{number:06}" for number in range(count)]
            for step, (act, _) in steps.items():
                with Stopwatch() as watch:
                    for path in paths:
                        act(path)
                rates[step][who].append(count / watch.seconds)
            top.rmdir()
    for step, (_, target) in steps.items():
        found = {who: sorted(each)[len(each) // 2] for who, each in rates[step].items()}
        for peer, least in (("bindfs", target), ("tmpfs", 0.0)):
            yield Row(f"mount: {step}", "1/s", found["ours"], peer, found[peer], least)


def listing(scale: Scale, url: str, places: dict[str, Path]) -> Iterator[Row]:
    """A large directory that nobody has looked at since it changed."""
    count = scale.pick(LISTED, 200)
    tops = {who: place / "listed" for who, place in places.items()}
    for top in tops.values():
        top.mkdir(mode=0o777)
    with memfs.connect(url) as fs:  # a name after the other through a mount would take minutes
        fs.write_many((f"/listed/{number:06}", b"") for number in range(count))
    for peer in ("tmpfs", "bindfs"):
        for number in range(count):
            (places["tmpfs"].parent / peer / "listed" / f"{number:06}").touch()

    def entries(top: Path) -> float:
        (top / "another").touch()
        (top / "another").unlink()
        with Stopwatch() as watch:
            found = sum(1 for _ in top.iterdir())
        if found != count:
            raise RuntimeError(f"{top} lists {found} of {count} names")
        return count / watch.seconds

    yield from rows("list 100,000 names", "names/s", entries, tops, scale, bindfs=0.5, tmpfs=0.0)


# --- programs ------------------------------------------------------------------------------------


def programs(scale: Scale, places: dict[str, Path]) -> Iterator[Row]:
    """Untar a source tree, clone it with git, and read small files as a loader does."""
    with TemporaryDirectory(prefix="memfs-bench-") as work:
        archive, repository = Path(work, "source.tar"), Path(work, "repository")
        make_repository(SOURCE / "config" if scale.smoke else SOURCE, repository)
        with tarfile.open(archive, "w") as file:
            for path in sorted(repository.iterdir()):
                if path.name != ".git":
                    file.add(path, path.name)
        untar = ["tar", "-xf", str(archive), "-C"]
        clone = ["git", "clone", "-q", str(repository)]

        def timed(place: Path, command: list[str]) -> float:
            target = place / "tree"
            if command is untar:
                target.mkdir()
            with Stopwatch() as watch:
                subprocess.run([*command, str(target)], check=True)
            shutil.rmtree(target)
            return 1 / watch.seconds

        untarring, cloning = partial(timed, command=untar), partial(timed, command=clone)
        both = {"bindfs": 0.5, "tmpfs": 0.0}
        yield from rows("tar -x of a source tree", "1/s", untarring, places, scale, **both)
        yield from rows("git clone", "1/s", cloning, places, scale, **both)
    yield from loading(scale, places)


def make_repository(source: Path, directory: Path) -> None:
    """A git repository of one commit, which holds the source files of a package."""
    shutil.copytree(source, directory, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    git = ["git", "-C", str(directory), "-c", "user.name=memfs", "-c", "user.email=memfs@localhost"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "source"]):
        subprocess.run([*git, *command], check=True)


def loading(scale: Scale, places: dict[str, Path]) -> Iterator[Row]:
    """Files of 4 KiB in random order, with the kernel's caches as the last pass has left them."""
    count = scale.pick(10_000, 100)
    content = streams.noise(SMALL).tobytes()
    order = list(range(count))
    random.Random(PATTERN_SEED).shuffle(order)
    for place in places.values():
        (place / "small").mkdir()
        for number in order:
            (place / "small" / str(number)).write_bytes(content)

    def load(place: Path) -> float:
        with Stopwatch() as watch:
            for number in order:
                (place / "small" / str(number)).read_bytes()
        return count / watch.seconds

    yield from rows("10,000 files of 4 KiB", "files/s", load, places, scale, tmpfs=0.1, bindfs=0.6)
