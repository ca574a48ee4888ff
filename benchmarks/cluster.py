"""A memfs cluster for benchmarks: every node is a process of its own, started by the CLI.

The client lives in the benchmark's process. Nodes keep blocks in memory and write a log to a
temporary directory only where the embedded coordinator needs one.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import memfs
from benchmarks import peers

MEMORY = "5GiB"


@contextmanager
def cluster(nodes: int) -> Iterator[str]:
    """Run a cluster of ``nodes`` processes on loopback; yield its URL once all have joined."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="memfs-bench-")))
        ports = peers.free_ports(nodes)
        url = f"memfs://127.0.0.1:{ports[0]}"
        for number, port in enumerate(ports):
            home = directory / str(number)
            home.mkdir()
            command = _node(number, port, "embedded" if number == 0 else url, home)
            child = stack.enter_context(peers.process(command))
            peers.wait_until(lambda expected=number + 1: _members(url) >= expected, child)
        yield url


def _node(number: int, port: int, coordinator: str, home: Path) -> list[str]:
    settings = {
        "name": f"bench-{number}",
        "port": port,
        "monitoring-port": -1,
        "coordinator": coordinator,
        "memory": MEMORY,
        "data-directory": home,
        "socket-directory": home,
        "domain": f"bench/{number}",
        "log-level": "warning",
    }
    flags = (f"--{name}={value}" for name, value in settings.items())
    return [sys.executable, "-m", "memfs.cli", "node", *flags]


def _members(url: str) -> int:
    with contextlib.suppress(memfs.MemfsError), memfs.connect(url) as fs:
        return len(fs.cluster_status(timeout=1.0).view.members)
    return 0
