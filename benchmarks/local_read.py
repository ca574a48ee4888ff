"""Same-host read of a 1 GiB file through block descriptors, against ``read()`` from tmpfs.

Both copy once, into the same buffer whose pages are present. Our client asks the node for the
descriptors of the blocks over a unix socket and copies out of the mappings: after that neither
the node nor the socket has any part in it, so this is one core's work on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import memfs
from benchmarks import cluster, streams, tmpfs
from benchmarks.harness import Row, Scale, alternate
from benchmarks.streams import MIB

PATH = "/local"


def run(scale: Scale) -> Iterator[Row]:
    """Read with a buffer of one block and with one of a group."""
    size = scale.pick(1024 * MIB, 8 * MIB)
    content = streams.pieces(size)
    group = streams.noise(scale.pick(64, 4) * MIB)
    with (
        cluster.cluster(1) as url,
        memfs.connect(url, replication=1) as fs,
        tmpfs.tmpfs_file(content) as path,
    ):
        streams.write_rate(partial(fs.open, PATH, "wb", 0), content)
        for name, buffer in (("4 MiB", streams.noise(4 * MIB)), ("64 MiB", group)):
            contenders = {
                "ours": partial(streams.read_rate, partial(fs.open, PATH, "rb", 0), buffer, size),
                "tmpfs": partial(streams.read_rate, partial(path.open, "rb", 0), buffer, size),
            }
            rates = alternate(contenders, scale.rounds)
            figures = rates["ours"] / 1e6, "tmpfs read()", rates["tmpfs"] / 1e6
            yield Row(f"same-host read 1 GiB, {name} buffer", "MB/s", *figures, 0.8)
        buffer = streams.noise(4 * MIB)
        rates = alternate(
            {
                "ours": partial(once, url, buffer, size),
                "tmpfs": partial(streams.read_rate, partial(path.open, "rb", 0), buffer, size),
            },
            scale.rounds,
        )
        figures = rates["ours"] / 1e6, "tmpfs read()", rates["tmpfs"] / 1e6
        yield Row("same-host read 1 GiB once, 4 MiB buffer", "MB/s", *figures, 0.9)


def once(url: str, buffer: memoryview, size: int) -> float:
    """Read by a new client, which checks every byte against its CRC; return bytes a second."""
    with memfs.connect(url, replication=1) as fs:
        fs.stat(PATH)
        return streams.read_rate(partial(fs.open, PATH, "rb", 0), buffer, size)
