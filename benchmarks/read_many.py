"""read_many of 4 KiB files, 50 a call, against redis-py MGET of 50 values of 4 KiB.

One node, local descriptors off, one call at a time. Each call resolves 50 paths, checks the
permission of each, and verifies the checksum of each file's bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import memfs
from benchmarks import cluster, redis_peer
from benchmarks.harness import Row, Scale, Stopwatch, alternate

FILES, BATCH, SIZE = 2000, 50, 4096


def run(scale: Scale) -> Iterator[Row]:
    """Read all files in batches, over and over."""
    paths = [f"/many/{number:04}" for number in range(scale.pick(FILES, BATCH))]
    batches = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    contents = {path: bytes([number % 256]) * SIZE for number, path in enumerate(paths)}
    with (
        cluster.cluster(1) as url,
        memfs.connect(url, replication=1, local_descriptors=False) as fs,
        redis_peer.redis_client() as redis,
    ):
        fs.mkdir("/many")
        fs.write_many(contents)
        redis.mset(contents)
        rates = alternate(
            {
                "ours": lambda: rate(fs.read_many, batches, scale.pick(5, 1)),
                "redis": lambda: rate(redis.mget, batches, scale.pick(5, 1)),
            },
            scale.rounds,
        )
    figures = rates["ours"], "Redis MGET 50", rates["redis"]
    yield Row("read_many, 50 of 4 KiB", "files/s", *figures, 0.4)


def rate(read: Callable[[list[str]], Sequence[Any]], batches: list[list[str]], times: int) -> float:
    """Read every batch ``times`` times; return files a second."""
    count = 0
    with Stopwatch() as watch:
        for _ in range(times):
            for batch in batches:
                count += len(read(batch))
    return count / watch.seconds
