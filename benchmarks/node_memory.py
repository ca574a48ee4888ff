"""Memory of a node beside the blocks that its limit is for: empty, filled until "no space", and a
minute after many small files were deleted.

What a node takes is its anonymous memory and the pages of its memfds, whoever maps them: what the
kernel counts against a container. The limits are fixed. A file's name comes on top of what blocks
take; ``benchmarks.memory`` measures names alone.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import memfs
from benchmarks.harness import Row, Scale
from memfs.client.blocking.filesystem import FileSystem
from memfs.errors import NoSpaceError
from memfs.limits import BLOCK_BYTES_DEFAULT, FILES_PER_BATCH, KIB, MIB
from memfs.testing.processes import Processes

EMPTY_MIB = 64.0
BESIDE_MIB = 128.0
"""The empty node, and the names of 113,000 files of 4 KiB."""
SMALL_BYTES = 4 * KIB
TINY_BYTES = 100
TINY_FILES = (524_288, 1_000_000)
FILE_BYTES = 400.0
"""Of a tiny file, with its name, its bytes and everything, less what the empty node takes."""
LEFT_MIB = 100.0
"""More than an empty node, of which the unused parts of tables and of the heap are most."""
WAIT_SECONDS = 60.0


def run(scale: Scale) -> Iterator[Row]:
    """Fill one node after another."""
    yield Row("an empty node", "MiB", _empty(), "fixed", EMPTY_MIB, 1.0, lower_is_better=True)
    for name, put in (("4 MiB blocks", _large), ("4 KiB files", _small)):
        beside = _beside(scale.pick(512, 16) * MIB, put)
        title = f"a node beside its limit, full of {name}"
        yield Row(title, "MiB", beside, "fixed", BESIDE_MIB, 1.0, lower_is_better=True)
    for full in TINY_FILES:
        count, wait = scale.pick(full, FILES_PER_BATCH), 0.0 if scale.smoke else WAIT_SECONDS
        held, left = _deleted(count, wait)
        title = f"a file of {TINY_BYTES} bytes, of {full:,}"
        yield Row(title, "bytes", held, "fixed", FILE_BYTES, 1.0, lower_is_better=True)
        title = f"a minute after {full:,} such files were deleted, beyond an empty node"
        yield Row(title, "MiB", left, "fixed", LEFT_MIB, 1.0, lower_is_better=True)


def taken(pid: int) -> int:
    """Bytes that a process takes, memfds included and shared libraries not."""
    status = Path(f"/proc/{pid}/status").read_text()
    anonymous = re.search(r"RssAnon:\s+(\d+) kB", status)
    assert anonymous, "Linux 4.5 and newer says RssAnon"
    memfds: dict[int, int] = {}
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            if "memfd:" in str(descriptor.readlink()):
                found = descriptor.stat()
                memfds[found.st_ino] = found.st_blocks * 512
    return int(anonymous[1]) * KIB + sum(memfds.values())


def _empty() -> float:
    with Processes(1) as cluster:
        return taken(cluster.nodes[0].pid) / MIB


def _beside(limit: int, put: Callable[[FileSystem, int], None]) -> float:
    """MiB beyond ``limit`` of a node that can take no more."""
    with Processes(1, replication=1, memory=str(limit)) as cluster:
        with memfs.connect(cluster.url) as fs:
            fs.mkdir("/full")
            try:
                for number in itertools.count():
                    put(fs, number)
            except NoSpaceError:
                pass
        return (taken(cluster.nodes[0].pid) - limit) / MIB


def _deleted(count: int, wait: float) -> tuple[float, float]:
    """Bytes that a node takes for each of ``count`` tiny files, and MiB that it still takes when
    all were deleted, both beyond what it took empty and after ``wait`` seconds: so long it has to
    give memory back that nothing uses."""
    data = bytes(TINY_BYTES)
    batches = [range(count)[at : at + FILES_PER_BATCH] for at in range(0, count, FILES_PER_BATCH)]
    memory = f"{max(256, count >> 10)}MiB"
    with Processes(1, replication=1, memory=memory) as cluster:
        pid = cluster.nodes[0].pid
        with memfs.connect(cluster.url) as fs:
            fs.mkdir("/full")
            empty = taken(pid)
            for batch in batches:
                fs.write_many(dict.fromkeys(map(_tiny, batch), data))
            time.sleep(wait)
            held = (taken(pid) - empty) / count
            for batch in batches:
                fs.remove_many(map(_tiny, batch))
            time.sleep(wait)
            return held, (taken(pid) - empty) / MIB


def _tiny(number: int) -> str:
    return f"/full/part-{number:06}.bin"


def _large(fs: FileSystem, number: int) -> None:
    fs.write_bytes(f"/full/{number}", os.urandom(BLOCK_BYTES_DEFAULT))


def _small(fs: FileSystem, number: int) -> None:
    data = os.urandom(SMALL_BYTES)
    fs.write_many({f"/full/{number:05}-{each:03}": data for each in range(FILES_PER_BATCH)})
