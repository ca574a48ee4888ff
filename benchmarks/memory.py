"""Bytes of a node's memory for each file: a million files of one block, a thousand to a directory.

A process of its own builds the namespace and nothing else; the growth of its resident memory
(RSS) from the empty namespace to the full one, divided by the files, is the number: names, inodes,
directories, block maps, and whatever the allocator wastes on them. The limit is fixed: 500 bytes a
file.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import populated
from benchmarks.harness import Row, Scale

LIMIT = 500.0


def run(scale: Scale) -> Iterator[Row]:
    """Measure in a new process."""
    count = scale.pick(1_000_000, 20_000)
    command = [sys.executable, "-m", "benchmarks.memory", str(count)]
    result = subprocess.run(command, check=True, capture_output=True)
    figures = float(result.stdout), "fixed", LIMIT
    yield Row("memory of a file, 1 M files", "bytes", *figures, 1.0, lower_is_better=True)


def measure(count: int) -> float:
    """Return the bytes of resident memory for each of ``count`` files."""
    state = populated.Populated()
    state.fill(populated.spread(populated.PER_DIRECTORY))  # code and tables that exist only once
    before = resident()
    state.fill(populated.spread_path(number) for number in range(populated.PER_DIRECTORY, count))
    gc.collect()
    return (resident() - before) / (count - populated.PER_DIRECTORY)


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(measure(int(sys.argv[1])))
