"""Records of 64 KiB and 1 MiB through TensorFlow's TFRecordDataset, beside tmpfs.

One node of this host; both read the same files with the same options, those that TensorFlow has by
default.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import cluster
from benchmarks.harness import Row, Scale
from benchmarks.libraries.environments import figures, tmpfs_directory
from tests.support.spark_training import QUIET, TENSORFLOW


def run(scale: Scale) -> Iterator[Row]:
    """Megabytes a second."""
    size = scale.pick(512, 8)
    with cluster.cluster(1) as url, tmpfs_directory() as directory:
        arguments = directory, size
        found = figures(
            "tensorflow", TENSORFLOW, "tfrecords", scale, *arguments, MEMFS_URL=url, **QUIET
        )
    for record in ("64 KiB", "1 MiB"):
        name = f"TensorFlow: TFRecords of {record}"
        yield Row(name, "MB/s", found[record], "tmpfs", found[f"{record} on tmpfs"], 0.5)
