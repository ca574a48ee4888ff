"""A memfs cluster for benchmarks: every node is a process of its own, on loopback.

The client lives in the benchmark's process, which has nothing else to do meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from memfs.testing.processes import Processes

MEMORY = "5GiB"
"""Limit of each node: room for the large file, twice while one replaces the other."""


@contextmanager
def cluster(nodes: int, *flags: str) -> Iterator[str]:
    """Run a cluster of ``nodes`` processes; yield its URL once all have joined."""
    with Processes(nodes, memory=MEMORY, flags=["--log-level=warning", *flags]) as processes:
        yield processes.url
