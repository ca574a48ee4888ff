"""stat, one at a time on one connection, against redis-py GET of a 100-byte value.

A stat resolves a path of two components, checks permissions and carries seventeen attributes; GET
looks one key up. Both clients are blocking calls in one thread; our synchronous client hands each
call to an event loop in another thread and back, which the asynchronous client does not: it is
shown too. Each request is one round trip between two processes, so this is mostly the price of
waking each other.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator

import uvloop

import memfs
from benchmarks import cluster, redis_peer
from benchmarks.harness import Row, Scale, Stopwatch, alternate

FILES = 1000


def run(scale: Scale) -> Iterator[Row]:
    """Time the synchronous and the asynchronous client."""
    calls = scale.pick(20_000, 50)
    paths = [f"/stat/{number:04}" for number in range(FILES)]
    chosen = list(itertools.islice(itertools.cycle(paths), calls))
    with (
        cluster.cluster(1) as url,
        memfs.connect(url, replication=1, local_descriptors=False) as fs,
        redis_peer.redis_client() as redis,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        fs.mkdir("/stat")
        fs.write_many(dict.fromkeys(paths, b"x" * 100))
        redis.mset(dict.fromkeys(paths, b"x" * 100))
        rates = alternate(
            {
                "aio": lambda: runner.run(aio_rate(url, chosen)),
                "sync": lambda: rate(fs.stat, chosen),
                "redis": lambda: rate(redis.get, chosen),
            },
            scale.rounds,
        )
    yield Row("stat, sync client", "1/s", rates["sync"], "Redis GET", rates["redis"], 0.6)
    yield Row("stat, async client", "1/s", rates["aio"], "Redis GET", rates["redis"], 0.6)


def rate(call: Callable[[str], object], chosen: list[str]) -> float:
    """Call with each key in turn; return calls a second."""
    with Stopwatch() as watch:
        for key in chosen:
            call(key)
    return len(chosen) / watch.seconds


async def aio_rate(url: str, chosen: list[str]) -> float:
    """Await a stat of each path in turn; return calls a second."""
    async with memfs.aio.connect(url, local_descriptors=False) as client:
        await client.stat(chosen[0])
        with Stopwatch() as watch:
            for path in chosen:
                await client.stat(path)
    return len(chosen) / watch.seconds
