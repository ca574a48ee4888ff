"""Sequential read of a 1 GiB file over TCP, against the wire and against Redis GET.

One node, one client process, local descriptors off. Both read into a caller's buffer whose pages
are present; the file is opened anew each time, so the namespace call and the ramp of the readahead
are part of the number. Redis answers with new bytes objects of 4 MiB, one GET at a time. On two
cores the client and the node have one each: neither shares with anyone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import memfs
from benchmarks import cluster, redis_peer, streams, wire
from benchmarks.harness import Row, Scale, Stopwatch, alternate
from benchmarks.streams import MIB

PATH = "/sequential"
VALUE = 4 * MIB


def run(scale: Scale) -> Iterator[Row]:
    """Read with a buffer of one block and with one of a group."""
    size = scale.pick(1024 * MIB, 8 * MIB)
    content = streams.pieces(size)
    group, block = streams.noise(scale.pick(64, 4) * MIB), streams.noise(VALUE)
    with (
        cluster.cluster(1) as url,
        memfs.connect(url, replication=1, local_descriptors=False) as fs,
        wire.wire(size) as peer,
        redis_peer.redis_client() as redis,
    ):
        opened = partial(fs.open, PATH, "rb", 0)
        streams.write_rate(partial(fs.open, PATH, "wb", 0), content)
        keys = [b"block-%d" % number for number in range(size // VALUE)]
        for key, value in zip(keys, content, strict=True):
            redis.set(key, value)
        rates = alternate(
            {
                "block": lambda: streams.read_rate(opened, block, size),
                "wire block": lambda: peer.read(size, block),
                "group": lambda: streams.read_rate(opened, group, size),
                "wire group": lambda: peer.read(size, group),
                "redis": lambda: get_rate(redis.get, keys, size),
            },
            scale.rounds,
        )
    unit = "MB/s"
    rates = {name: rate / 1e6 for name, rate in rates.items()}
    yield Row("read 1 GiB, 4 MiB buffer", unit, rates["block"], "wire", rates["wire block"], 0.8)
    yield Row("read 1 GiB, 64 MiB buffer", unit, rates["group"], "wire", rates["wire group"], 0.8)
    yield Row("read 1 GiB, 4 MiB buffer", unit, rates["block"], "Redis GET", rates["redis"], 1.5)


def get_rate(get: Callable[[bytes], bytes], keys: list[bytes], size: int) -> float:
    """GET every key, one after the other; return bytes a second."""
    with Stopwatch() as watch:
        total = sum(len(get(key)) for key in keys)
    assert total == size
    return total / watch.seconds
