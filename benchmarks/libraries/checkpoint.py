"""Saving and loading a checkpoint of 1 GiB with PyTorch, beside ``torch.save`` to tmpfs.

One node of this host. Each save replaces the checkpoint before.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import cluster
from benchmarks.harness import Row, Scale
from benchmarks.libraries.environments import figures, tmpfs_directory
from tests.support.environments import TORCH


def run(scale: Scale) -> Iterator[Row]:
    """Megabytes a second."""
    size = scale.pick(1024, 16)
    with cluster.cluster(1) as url, tmpfs_directory() as directory:
        found = figures("torch", TORCH, "checkpoint", scale, url, directory, size)
    for what in ("save", "load"):
        name = f"torch: {what} a checkpoint of {size:,} MiB"
        yield Row(name, "MB/s", found[what], "tmpfs", found[f"{what} on tmpfs"], 0.5)
