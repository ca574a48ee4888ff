"""write_many of 4 KiB files, 50 a call, two replicas, against redis-py pipelined SET of 50.

Two nodes; a call returns when both hold the blocks and both have the namespace's log entry. Redis
keeps one copy in one process. Three of our processes share two cores. Every round writes new
files; they are removed between the rounds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

import memfs
from benchmarks import cluster, redis_peer
from benchmarks.harness import Row, Scale, Stopwatch, alternate

BATCH, SIZE = 50, 4096


def run(scale: Scale) -> Iterator[Row]:
    """Write fresh files in batches."""
    batches = scale.pick(80, 1)
    names = (f"/many-{number}" for number in itertools.count())
    with (
        cluster.cluster(2) as url,
        memfs.connect(url, replication=2, local_descriptors=False) as fs,
        redis_peer.redis_client() as redis,
    ):

        def pipelined_set(contents: Mapping[str, bytes]) -> None:
            pipeline = redis.pipeline(transaction=False)
            for key, value in contents.items():
                pipeline.set(key, value)
            pipeline.execute()

        def ours() -> float:
            directory = next(names)
            fs.mkdir(directory)
            result = rate(fs.write_many, directory, batches)
            fs.rmtree(directory)
            return result

        def theirs() -> float:
            return rate(pipelined_set, "/many", batches)

        rates = alternate({"ours": ours, "redis": theirs}, scale.rounds)
    figures = rates["ours"], "Redis SET x 50", rates["redis"]
    yield Row("write_many, 50 of 4 KiB, 2 replicas", "files/s", *figures, 0.25)


def rate(write: Callable[[Mapping[str, bytes]], object], directory: str, batches: int) -> float:
    """Write ``batches`` batches; return files a second."""
    value = bytes(SIZE)
    work = [
        {f"{directory}/{batch}-{number}": value for number in range(BATCH)}
        for batch in range(batches)
    ]
    with Stopwatch() as watch:
        for contents in work:
            write(contents)
    return batches * BATCH / watch.seconds
