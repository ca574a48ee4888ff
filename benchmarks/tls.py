"""What TLS costs: the same transfers and calls with certificates on both sides, and in clear.

Beside both, blocks in clear on connections that were proved under TLS (``bulk = authenticated``).

One node each, one client process, by TCP. Bulk data is encrypted by the process that sends it and
decrypted by the one that receives it, so that both cores work on every byte. A stat is a round trip
of two small records on a connection that stands: handshakes are not in it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import memfs
from benchmarks import cluster, streams
from benchmarks.harness import Row, Scale, alternate
from benchmarks.stat import rate
from benchmarks.streams import MIB
from memfs.cli.serve.certificates import make_certificates
from memfs.client.blocking.filesystem import FileSystem
from memfs.machine import login_name

PATH = "/tls"


def run(scale: Scale) -> Iterator[Row]:
    """Write, read and stat on both clusters in turn."""
    size, calls = scale.pick(512 * MIB, 8 * MIB), scale.pick(10_000, 50)
    content, block = streams.pieces(size), streams.noise(4 * MIB)
    chosen = [PATH] * calls
    with _served() as plain, _served("tls") as secured, _served("authenticated") as proved:
        contenders = {}
        for name, fs in (("plain", plain), ("tls", secured), ("proved", proved)):
            write, read = (partial(fs.open, PATH, mode, 0) for mode in ("wb", "rb"))
            contenders[f"{name} write"] = partial(streams.write_rate, write, content)
            contenders[f"{name} read"] = partial(streams.read_rate, read, block, size)
            contenders[f"{name} stat"] = partial(rate, fs.stat, chosen)
        rates = alternate(contenders, scale.rounds)
    megabyte = 1e6
    for what, target in (("write", 0.35), ("read", 0.35)):
        ours, theirs = rates[f"tls {what}"] / megabyte, rates[f"plain {what}"] / megabyte
        yield Row(f"{what} 512 MiB under TLS 1.3", "MB/s", ours, "in clear", theirs, target)
        ours = rates[f"proved {what}"] / megabyte
        yield Row(f"{what} 512 MiB, bulk authenticated", "MB/s", ours, "in clear", theirs, 0.85)
    yield Row("stat under TLS 1.3", "1/s", rates["tls stat"], "in clear", rates["plain stat"], 0.85)


@contextlib.contextmanager
def _served(bulk: str = "") -> Iterator[FileSystem]:
    """A client of a node of its own; ``bulk``, with certificates, as the setting."""
    with tempfile.TemporaryDirectory() as directory:
        certificates = directory if bulk else ""
        flags = [f"--certificates={directory}", f"--bulk={bulk}"] if bulk else []
        if bulk:
            make_certificates(Path(directory), ("127.0.0.1",), login_name())
        with (
            cluster.cluster(1, *flags) as url,
            memfs.connect(
                url, replication=1, local_descriptors=False, certificates=certificates
            ) as fs,
        ):
            yield fs
