"""read_many of 4 KiB files, 50 a call, against redis-py MGET of 50 values of 4 KiB.

One node, one call at a time. Over TCP the bytes travel in one payload; on the same host they are
copied out of the node's memory, which the client maps. Each call resolves 50 paths, checks the
permission of each, and verifies the checksum of each file's bytes. One file alone, read_bytes, is
compared with a stat: both are one round trip.
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
        memfs.connect(url, replication=1, local_descriptors=False) as remote,
        memfs.connect(url, replication=1) as local,
        redis_peer.redis_client() as redis,
    ):
        local.mkdir("/many")
        local.write_many(contents)
        redis.mset(contents)
        times = scale.pick(5, 1)
        rates = alternate(
            {
                "TCP": lambda: rate(remote.read_many, batches, times),
                "same host": lambda: rate(local.read_many, batches, times),
                "redis": lambda: rate(redis.mget, batches, times),
                "read_bytes": lambda: single_rate(local.read_bytes, paths),
                "stat": lambda: single_rate(local.stat, paths),
            },
            scale.rounds,
        )
    for way, target in (("TCP", 0.5), ("same host", 1.0)):
        figures = rates[way], "Redis MGET 50", rates["redis"]
        yield Row(f"read_many, 50 of 4 KiB, {way}", "files/s", *figures, target)
    figures = rates["read_bytes"], "stat", rates["stat"]
    yield Row("read_bytes of 4 KiB, same host", "files/s", *figures, 0.85)


def rate(read: Callable[[list[str]], Sequence[Any]], batches: list[list[str]], times: int) -> float:
    """Read every batch ``times`` times; return files a second."""
    count = 0
    with Stopwatch() as watch:
        for _ in range(times):
            for batch in batches:
                count += len(read(batch))
    return count / watch.seconds


def single_rate(call: Callable[[str], Any], paths: list[str]) -> float:
    """Call with each path in turn; return calls a second."""
    with Stopwatch() as watch:
        for path in paths:
            call(path)
    return len(paths) / watch.seconds
