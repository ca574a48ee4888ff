"""The WebHDFS gateway: one process beside a node, against the aims and the native client over TCP.

Statuses are asked by an asynchronous client of this process, streams by ``curl``, seeks as Java's
client seeks (a connection each, the rest of the file asked for and not read). The native client
runs in this process with local descriptors off; the gateway reads the node's memory, as it does
where it is meant to stand.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import uvloop

import memfs
from benchmarks import cluster, streams, tmpfs
from benchmarks.gateway_peer import (
    Running,
    answered,
    curl,
    gateway,
    head,
    idle_readers,
    read_a_little,
    url_of,
)
from benchmarks.harness import Row, Scale, Stopwatch, alternate
from benchmarks.streams import MIB

PATH = "/large"
STREAMS = 16
IDLE_READERS = 64
SEEKS = 40
CONNECTIONS = 64


def run(scale: Scale) -> Iterator[Row]:
    """Statuses, listings, streams, seeks, and the memory that all of it has left in use."""
    with (
        cluster.cluster(1) as url,
        memfs.connect(url, replication=1, local_descriptors=False, user="root") as fs,
        gateway(url) as running,
    ):
        before = running.memory()
        yield from statuses(scale, fs, running.port)
        yield from listings(scale, fs, running.port)
        yield from one_stream(scale, fs, running.port)
        yield from seeks(scale, running.port)
        yield memory(running, before)


def statuses(scale: Scale, fs: memfs.FileSystem, port: int) -> Iterator[Row]:
    """GETFILESTATUS of what exists and of what does not."""
    count = scale.pick(20_000, 200)
    fs.write_bytes("/status", b"x")
    hit = [head("GET", "/status", "op=GETFILESTATUS")] * count
    miss = [head("GET", "/missing", "op=GETFILESTATUS")] * count
    rates = alternate(
        {"hit": lambda: status_rate(port, hit), "miss": lambda: status_rate(port, miss)},
        scale.rounds,
    )
    yield Row("gateway: status, 64 connections", "1/s", rates["hit"], "the aim", 3000, 1.0)
    yield Row("gateway: status of nothing", "1/s", rates["miss"], "a hit", rates["hit"], 0.9)


def status_rate(port: int, requests: list[bytes]) -> float:
    """Requests a second."""
    with (
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        Stopwatch() as watch,
    ):
        runner.run(answered(port, requests, CONNECTIONS))
    return len(requests) / watch.seconds


def listings(scale: Scale, fs: memfs.FileSystem, port: int) -> Iterator[Row]:
    """LISTSTATUS of a large directory, beside the native client's scandir."""
    count = scale.pick(100_000, 300)
    fs.mkdir("/many")
    fs.write_many({f"/many/{number:06}": b"" for number in range(count)})
    seconds = alternate(
        {
            "gateway": lambda: curl_seconds([url_of(port, "/many", "op=LISTSTATUS")]),
            "native": lambda: scan_seconds(fs, count),
        },
        scale.rounds,
    )
    name = "gateway: list 100,000 entries"
    yield Row(name, "s", seconds["gateway"], "native scandir", seconds["native"], 2.0, True)


def scan_seconds(fs: memfs.FileSystem, count: int) -> float:
    """The native client's time for the directory."""
    with Stopwatch() as watch:
        assert len(fs.listdir("/many")) == count
    return watch.seconds


def curl_seconds(*runs: list[str]) -> float:
    """Time until all these curls have succeeded."""
    with Stopwatch() as watch:
        started = [curl(arguments) for arguments in runs]
        statuses = {each.wait() for each in started}
    assert statuses == {0}
    return watch.seconds


def one_stream(scale: Scale, fs: memfs.FileSystem, port: int) -> Iterator[Row]:
    """One curl, sixteen curls, and the native client."""
    content = streams.pieces(scale.pick(1024 * MIB, 8 * MIB))
    with tmpfs.tmpfs_file(content) as source:
        rates = stream_rates(scale, fs, port, source, content)
    unit, peer = "MB/s", "native client, TCP"
    rates = {name: rate / 1e6 for name, rate in rates.items()}
    yield Row("gateway: curl writes 1 GiB", unit, rates["write"], peer, rates["native write"], 0.5)
    yield Row("gateway: curl reads 1 GiB", unit, rates["read"], peer, rates["native read"], 0.5)
    name = "gateway: 16 curls read 1 GiB each"
    yield Row(name, unit, rates["sixteen"], "one curl", rates["read"], 0.9)


def stream_rates(
    scale: Scale, fs: memfs.FileSystem, port: int, source: Path, content: list[bytes]
) -> dict[str, float]:
    """Bytes a second of each.

    What is written is not read: memory that was lent to a reader on this host serves no other file.
    """
    size = sum(map(len, content))
    create = "op=CREATE&overwrite=true&replication=1"
    write = [url_of(port, "/written", create), "-T", str(source)]
    curl_seconds([url_of(port, PATH, create), "-T", str(source)])
    read = [url_of(port, PATH, "op=OPEN")]
    buffer = streams.noise(4 * MIB)
    opened, created = partial(fs.open, PATH, "rb", 0), partial(fs.open, "/native", "wb", 0)
    return alternate(
        {
            "write": lambda: size / curl_seconds(write),
            "native write": lambda: streams.write_rate(created, content),
            "read": lambda: size / curl_seconds(read),
            "sixteen": lambda: STREAMS * size / curl_seconds(*[read] * STREAMS),
            "native read": lambda: streams.read_rate(opened, buffer, size),
        },
        scale.rounds,
    )


def seeks(scale: Scale, port: int) -> Iterator[Row]:
    """Forty reads of 4 KiB anywhere in the file."""
    size = scale.pick(1024 * MIB, 8 * MIB)
    dice = random.Random(1)
    offsets = [dice.randrange(size - 4096) for _ in range(SEEKS)]

    def seconds() -> float:
        with Stopwatch() as watch:
            for offset in offsets:
                read_a_little(port, PATH, offset, 4096)
        return watch.seconds

    found = alternate({"seeks": seconds}, scale.rounds)
    yield Row("gateway: 40 random 4 KiB reads", "s", found["seeks"], "the aim", 0.5, 1.0, True)


def memory(running: Running, before: int) -> Row:
    """What the gateway has grown by, with clients that do not take what they asked for."""
    with idle_readers(running.port, PATH, IDLE_READERS):
        grown = max(1, running.memory() - before)
    name = f"gateway: memory gained, {IDLE_READERS} readers stalled"
    return Row(name, "MB", grown / 1e6, "the aim", 256, 1.0, lower_is_better=True)
