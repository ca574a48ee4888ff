"""fsspec's ``cat`` of many small files: memfs's beside the local one on tmpfs, and beside s3fs.

One node of this host; SeaweedFS serves the objects.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import cluster
from benchmarks.harness import Row, Scale
from benchmarks.libraries.environments import figures, tmpfs_directory
from tests.support.stores.s3_servers import KEY, REGION, SECRET, seaweed

S3FS = ("s3fs==2026.9.0", "fsspec==2026.9.0")
BUCKET = "bench"


def run(scale: Scale) -> Iterator[Row]:
    """Files a second."""
    files = scale.pick(1000, 20)
    with (
        cluster.cluster(1) as url,
        tempfile.TemporaryDirectory(prefix="memfs-bench-") as private,
        seaweed(Path(private)) as server,
        tmpfs_directory() as directory,
    ):
        server.client.create_bucket(Bucket=BUCKET)
        found = figures(
            "s3fs",
            S3FS,
            "fsspec_cat",
            scale,
            url,
            directory,
            f"{server.endpoint}/{BUCKET}",
            files,
            AWS_ACCESS_KEY_ID=KEY,
            AWS_SECRET_ACCESS_KEY=SECRET,
            AWS_DEFAULT_REGION=REGION,
        )
    name = f"fsspec: cat of {files:,} files of 4 KiB"
    yield Row(name, "files/s", found["memfs"], "fsspec's local on tmpfs", found["local"], 0.3)
    yield Row(name, "files/s", found["memfs"], "s3fs", found["s3fs"], 1.0)
