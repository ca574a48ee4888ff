"""Append 1 KiB and flush, on a file of 1 KiB and on one of 60 MiB, two replicas.

Every flush makes the bytes durable on both nodes and visible to readers: a derived block version,
of which only the new bytes travel, and a commit. The cost of one append must not depend on what is
there already; the comparison is between the two sizes, the target what counts as the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import memfs
from benchmarks import cluster, streams
from benchmarks.harness import Row, Scale, Stopwatch, alternate
from benchmarks.streams import MIB

PIECE = bytes(1024)
SAME = 1.25


def run(scale: Scale) -> Iterator[Row]:
    """Append to a short and to a long file."""
    count = scale.pick(500, 5)
    sizes = {"/short": len(PIECE), "/long": scale.pick(60, 6) * MIB}
    with (
        cluster.cluster(2) as url,
        memfs.connect(url, replication=2, local_descriptors=False) as fs,
    ):

        def cost(path: str) -> float:
            fs.write_bytes(path, streams.noise(sizes[path]))
            seconds = append_seconds(fs, path, count)
            fs.remove(path)
            return seconds * 1e6

        rates = alternate({path: partial(cost, path) for path in sizes}, scale.rounds)
    figures = rates["/long"], "the same at 1 KiB", rates["/short"]
    yield Row("append+flush 1 KiB at 60 MiB", "µs", *figures, SAME, lower_is_better=True)


def append_seconds(fs: memfs.FileSystem, path: str, count: int) -> float:
    """Append and flush ``count`` times; return seconds for one."""
    with fs.open(path, "ab") as file, Stopwatch() as watch:
        for _ in range(count):
            file.write(PIECE)
            file.flush()
    return watch.seconds / count
