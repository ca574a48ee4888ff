"""Bytes of a node's memory for each file: a million files of one block, in one directory.

``benchmarks.namespace_memory`` measures it in a process of its own, as growth of resident memory:
names, inodes, the directory, block maps, and whatever the allocator wastes on them. The limit is
fixed: 500 bytes a file. Beside it the time for which the namespace stands still when a snapshot
for a new backup begins; no step of a node should exceed 50 ms.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.harness import Row, Scale

LIMIT_BYTES = 500.0
LONGEST_MS = 50.0


def run(scale: Scale) -> Iterator[Row]:
    """Measure once, in a new process."""
    files = scale.pick(1_000_000, 5_000)
    command = [sys.executable, "-m", "benchmarks.namespace_memory", "--files", str(files)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = (line.split() for line in printed.splitlines())
    figures = {name: float(value.replace(",", "")) for name, value in lines}
    memory = figures["rss_per_file_bytes"], "fixed", LIMIT_BYTES
    pause = figures["snapshot_begin_ms"], "fixed", LONGEST_MS
    yield Row("memory of a file, 1 M files", "bytes", *memory, 1.0, lower_is_better=True)
    yield Row("pause for a snapshot, 1 M files", "ms", *pause, 1.0, lower_is_better=True)
