"""The namespace alone, full of one-block files: memory, cost of the common steps, a snapshot.

``python -m benchmarks.namespace_memory --files 1000000`` prints one figure per line; run it in a
process of its own, since memory is the growth of this one's RSS. Files are named like
``part-000123.bin`` and lie in one directory, the hardest case for it. Times are medians of single
steps, the longest page of the listing excepted.
"""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks import populated
from memfs import limits
from memfs.node.namespace import Namespace
from memfs.protocol import messages, records
from memfs.types import BlockRef

STEPS = 2_000


class Figures(NamedTuple):
    """What one namespace costs."""

    rss_per_file_bytes: float
    put_us: float
    """One file of a PutFiles of 256."""
    create_commit_us: float
    """Create and Commit of one block, together."""
    lookup_us: float
    page_longest_ms: float
    """Of listing the directory in pages, encoding included."""
    snapshot_begin_ms: float
    """What the namespace stands still for."""
    snapshot_s: float
    """All pieces."""
    snapshot_per_file_bytes: float
    restore_s: float


def measure(files: int) -> Figures:
    """Fill a namespace and time it."""
    state = populated.Populated()
    state.apply(messages.MakeDirectory(b"/all"))
    before = resident_bytes()
    batches = [
        range(first, min(first + limits.FILES_PER_BATCH, files))
        for first in range(0, files, limits.FILES_PER_BATCH)
    ]
    puts = [_put(state, [path(number) for number in batch]) for batch in batches]
    gc.collect()
    rss = (resident_bytes() - before) / files
    numbers = range(0, files, max(1, files // STEPS))
    creates = [_create_commit(state, b"/all/new-%06d" % number) for number in numbers]
    query = state.namespace.query
    lookups = [_seconds(query, populated.ROOT, messages.Lookup(path(number))) for number in numbers]
    return Figures(
        rss,
        median(puts) * 1e6,
        median(creates) * 1e6,
        median(lookups) * 1e6,
        max(page_seconds(state.namespace)) * 1e3,
        *_snapshot(state.namespace, files),
    )


def path(number: int) -> bytes:
    """Path of one file."""
    return b"/all/part-%06d.bin" % number


def resident_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def page_seconds(namespace: Namespace) -> list[float]:
    """Seconds of each page of a listing, encoding included."""
    seconds: list[float] = []
    after, remaining = b"", 1
    while remaining:
        started = perf_counter()
        page = namespace.query(populated.ROOT, messages.List(b"/all", after))
        records.encode(page)
        seconds.append(perf_counter() - started)
        after, remaining = page.entries[-1].name, page.remaining
    return seconds


def _put(state: populated.Populated, paths: Sequence[bytes]) -> float:
    """Put files of one block each; seconds per file."""
    inodes = state.apply(messages.ReserveInodes(len(paths))).inodes
    files = [
        messages.NewFile(path, inode, populated.SIZE, (_block(inode),))
        for path, inode in zip(paths, inodes, strict=True)
    ]
    return _seconds(state.apply, messages.PutFiles(tuple(files))) / len(paths)


def _create_commit(state: populated.Populated, path: bytes) -> float:
    create = messages.Create(path)
    started = perf_counter()
    inode = state.apply(create).attributes.inode
    middle = perf_counter()
    commit = messages.Commit(inode, 1, populated.SIZE, (_block(inode),), release=True)
    return middle - started + _seconds(state.apply, commit)


def _snapshot(namespace: Namespace, files: int) -> tuple[float, float, float, float]:
    started = perf_counter()
    stream = namespace.snapshot()
    begun = perf_counter()
    pieces = list(stream)
    written = perf_counter()
    Namespace.restore(pieces)
    restored = perf_counter()
    size = sum(map(len, pieces)) / files
    return (begun - started) * 1e3, written - started, size, restored - written


def _block(inode: int) -> BlockRef:
    return BlockRef(inode, 0, 1, 0, populated.SIZE, 0, (1, 2))


def _seconds(act: Callable[..., Any], *arguments: Any) -> float:
    started = perf_counter()
    act(*arguments)
    return perf_counter() - started


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description="What a namespace full of small files costs.")
    parser.add_argument("--files", type=int, default=1_000_000)
    for name, value in measure(parser.parse_args().files)._asdict().items():
        print(f"{name:24} {value:12,.2f}")


if __name__ == "__main__":
    main()
