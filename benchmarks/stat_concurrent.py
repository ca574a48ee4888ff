"""stat with 64 requests in flight on one connection, asynchronous client.

64 tasks each stat one file after the other. Requests share the connection and the system calls,
so the cost is the CPU of both sides: the client's event loop and the node's have a core each, and
the slower of the two, the client with its tasks and futures, sets the rate. The number to reach is
fixed: 30,000/s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import uvloop

import memfs
from benchmarks import cluster
from benchmarks.harness import Row, Scale, Stopwatch, alternate

CONCURRENCY = 64
TARGET = 30_000.0


def run(scale: Scale) -> Iterator[Row]:
    """Time 64 tasks."""
    calls = scale.pick(1000, 2)
    paths = [f"/stat/{number:04}" for number in range(CONCURRENCY)]
    with (
        cluster.cluster(1) as url,
        memfs.connect(url, replication=1, local_descriptors=False) as fs,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        fs.mkdir("/stat")
        fs.write_many(dict.fromkeys(paths, b"x" * 100))
        rates = alternate({"ours": lambda: runner.run(rate(url, paths, calls))}, scale.rounds)
    yield Row("stat, 64 concurrent", "1/s", rates["ours"], "fixed", TARGET, 1.0)


async def rate(url: str, paths: list[str], calls: int) -> float:
    """Run a task for each path; return calls a second over all."""
    async with memfs.aio.connect(url, local_descriptors=False) as client:

        async def stat_often(path: str) -> None:
            for _ in range(calls):
                await client.stat(path)

        await client.stat(paths[0])
        with Stopwatch() as watch:
            async with asyncio.TaskGroup() as tasks:
                for path in paths:
                    tasks.create_task(stat_often(path))
    return len(paths) * calls / watch.seconds
