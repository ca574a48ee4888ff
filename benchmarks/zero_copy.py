"""Zero-copy reading on the same host: open, map and touch whole files, one at a time.

``fs.map`` asks the namespace for the file, gets its descriptor from the node and maps it; the
first and the last byte are then read. No byte of the content is copied, so the rate should not
depend on the size. Files below 1 MiB are packed with others on the node and cannot be mapped:
they come as one copy over the socket. A file is mapped again many times but nothing of it is kept
between two maps. The number to reach is fixed: 10,000 files/s.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import memfs
from benchmarks import cluster, streams
from benchmarks.harness import Row, Scale, Stopwatch, alternate
from benchmarks.streams import MIB

SIZES = {"4 KiB": 4096, "1 MiB": MIB, "16 MiB": 16 * MIB, "64 MiB": 64 * MIB}
TARGET = 10_000.0


def run(scale: Scale) -> Iterator[Row]:
    """Map files of one size after the other."""
    maps = scale.pick(3_000, 20)
    with cluster.cluster(1) as url, memfs.connect(url, replication=1) as fs:
        for name, size in itertools.islice(SIZES.items(), scale.pick(len(SIZES), 2)):
            paths = [f"/mapped-{size}-{number}" for number in range(16)]
            source = streams.noise(size)
            for path in paths:
                fs.write_bytes(path, source)
            ours = partial(map_rate, fs, paths, size, maps)
            rates = alternate({"ours": ours}, scale.rounds)
            yield Row(f"open+map+touch, {name}", "files/s", rates["ours"], "fixed", TARGET, 1.0)


def map_rate(fs: memfs.FileSystem, paths: list[str], size: int, maps: int) -> float:
    """Map ``maps`` files, touch both ends of each and let it go; return files a second."""
    touched = 0
    with Stopwatch() as watch:
        for path in itertools.islice(itertools.cycle(paths), maps):
            with fs.map(path) as view:
                assert len(view) == size
                touched += view[0] + view[-1]
    assert touched >= 0
    return maps / watch.seconds
