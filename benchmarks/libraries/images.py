"""Many files of 4 to 150 KiB through PyTorch's DataLoader: 2 workers, batches of 64, random order.

Every loader hands out the first 4 KiB of each file as a tensor, so that what is compared is the
fetching: decoding costs the same everywhere. memfs's files lie on a node of this host; beside Redis
they come over TCP. A round is an epoch, its workers are those of the epoch before.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import cluster, redis_peer
from benchmarks.harness import Row, Scale
from benchmarks.libraries.environments import figures, tmpfs_directory
from tests.support.environments import TORCH

FILES = 50_000


def run(scale: Scale) -> Iterator[Row]:
    """First beside files and tars on tmpfs, then, when these are gone, beside Redis."""
    files = scale.pick(FILES, 256)
    with (
        cluster.cluster(1) as url,
        redis_peer.redis_client() as redis,
        tmpfs_directory() as directory,
    ):
        port = redis.connection_pool.connection_kwargs["port"]
        found = figures("torch", TORCH, "images", scale, url, port, directory, files)
    name = f"{files:,} files of 4-150 KiB in batches"
    for ours, peer, theirs, target in (
        ("stream", "the loader on tmpfs", "files", 0.8),
        ("dataset", "the loader on tmpfs", "files", 0.8),
        ("stream", "WebDataset on tmpfs", "shards", 0.8),
        ("over TCP", "Redis MGET", "redis", 1.0),
    ):
        yield Row(f"torch, {ours}: {name}", "files/s", found[ours], peer, found[theirs], target)
