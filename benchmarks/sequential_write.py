"""Sequential write of a 1 GiB file over TCP, against the wire and against Redis SET.

With one replica on one node, and with two replicas on two nodes. The content is ``bytes`` objects
of 4 MiB, the same ones for all contenders; the time ends when ``close`` has committed the file.
Files are removed between the rounds, and their memory serves the next one, as in a node that is
in use; the first file of a new node goes into memory that the kernel must first find, and is a row
of its own. With two replicas three processes (client, two nodes) share two cores and the bytes
cross the loopback twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import memfs
from benchmarks import cluster, redis_peer, streams, wire
from benchmarks.harness import Row, Scale, Stopwatch, alternate
from benchmarks.streams import MIB

PATH = "/sequential"
SETTLE_SECONDS = 0.3


def run(scale: Scale) -> Iterator[Row]:
    """Write with one and with two replicas."""
    size = scale.pick(1024 * MIB, 8 * MIB)
    content = streams.pieces(size)
    with (
        cluster.cluster(1) as one,
        memfs.connect(one, replication=1, local_descriptors=False) as single,
        cluster.cluster(2) as two,
        memfs.connect(two, replication=2, local_descriptors=False) as double,
        wire.wire(size) as peer,
        redis_peer.redis_client() as redis,
    ):
        first = stored_rate(single, content)
        rates = alternate(
            {
                "one": lambda: stored_rate(single, content),
                "wire": lambda: peer.write(content),
                "two": lambda: stored_rate(double, content),
                "redis": lambda: set_rate(redis.set, content),
            },
            scale.rounds,
        )
    unit = "MB/s"
    rates = {name: rate / 1e6 for name, rate in rates.items()}
    yield Row("write 1 GiB, 1 replica, the first", unit, first / 1e6, "wire", rates["wire"], 0.3)
    yield Row("write 1 GiB, 1 replica", unit, rates["one"], "wire", rates["wire"], 0.6)
    yield Row("write 1 GiB, 1 replica", unit, rates["one"], "Redis SET", rates["redis"], 1.0)
    yield Row("write 1 GiB, 2 replicas", unit, rates["two"], "wire", rates["wire"], 0.3)


def stored_rate(fs: memfs.FileSystem, content: Sequence[bytes]) -> float:
    """Write a file and remove it; return bytes a second of the writing."""
    rate = streams.write_rate(partial(fs.open, PATH, "wb", 0), content)
    fs.remove(PATH)
    time.sleep(SETTLE_SECONDS)
    return rate


def set_rate(set_: Callable[[str, bytes], object], content: Sequence[bytes]) -> float:
    """SET each piece under a key of its own, one after the other; return bytes a second."""
    with Stopwatch() as watch:
        for number, piece in enumerate(content):
            set_(f"block-{number}", piece)
    return sum(map(len, content)) / watch.seconds
