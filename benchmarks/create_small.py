"""Create, write and close a 4 KiB file, one at a time, two replicas on two nodes.

``open(path, "wb")`` costs three round trips (create, block, commit), the block a hop more for the
second copy and each command one for the second node's log; ``write_bytes`` knows the whole content
and saves the first. The number to reach is fixed: 1,500 files/s. Three processes share two cores,
and each waits for the others: this is latency, not load.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import memfs
from benchmarks import cluster
from benchmarks.harness import Row, Scale, Stopwatch, alternate

CONTENT = bytes(4096)
TARGET = 1_500.0


def run(scale: Scale) -> Iterator[Row]:
    """Time both ways of making a small file."""
    count = scale.pick(1000, 5)
    names = (f"/small-{number}" for number in itertools.count())
    with (
        cluster.cluster(2) as url,
        memfs.connect(url, replication=2, local_descriptors=False) as fs,
    ):

        def opened(path: str) -> None:
            with fs.open(path, "wb") as file:
                file.write(CONTENT)

        def whole(path: str) -> None:
            fs.write_bytes(path, CONTENT)

        rates = alternate(
            {
                "open": lambda: create_rate(fs, opened, next(names), count),
                "write_bytes": lambda: create_rate(fs, whole, next(names), count),
            },
            scale.rounds,
        )
    yield Row("open+write+close, 2 replicas", "files/s", rates["open"], "fixed", TARGET, 1.0)
    yield Row("write_bytes, 2 replicas", "files/s", rates["write_bytes"], "fixed", TARGET, 1.0)


def create_rate(
    fs: memfs.FileSystem, create: Callable[[str], None], directory: str, count: int
) -> float:
    """Create ``count`` files in a new directory, then remove it; return files a second."""
    fs.mkdir(directory)
    with Stopwatch() as watch:
        for number in range(count):
            create(f"{directory}/{number}")
    fs.rmtree(directory)
    return count / watch.seconds
