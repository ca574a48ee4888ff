"""Hadoop's own clients on the gateway: its shell, its seeks, and a Spark job beside tmpfs.

The shell is one Java process for all commands. The native client of the same run moves the same
bytes over TCP. Spark runs its tasks in one process and writes and aggregates the same table on
memfs and on tmpfs; that is the whole job, what Spark computes included.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import memfs
from benchmarks import cluster, streams, tmpfs
from benchmarks.gateway_peer import gateway
from benchmarks.harness import Row, Scale, Stopwatch, alternate
from benchmarks.streams import MIB
from tests.support.hadoop import NEWEST, Shell, java_home, pyspark

SETTINGS = {"io.file.buffer.size": "65536", "dfs.replication": "1"}
SPARK_SETTINGS = SETTINGS | {"parquet.hadoop.vectored.io.enabled": "false"}
"""As docs/hadoop-spark.md has it, for both file systems."""
SEEKS, SEEK_BYTES = 40, 4096
SPARK_ROUNDS = 2
"""A round of the job takes most of a minute."""
ROWS = 8_000_000
"""About 1 GiB of parquet."""


def run(scale: Scale) -> Iterator[Row]:
    """Streams and seeks of the shell, then the job."""
    with (
        cluster.cluster(1) as url,
        memfs.connect(url, replication=1, local_descriptors=False, user="root") as fs,
        gateway(url) as running,
        scratch() as directory,
    ):
        top = f"webhdfs://127.0.0.1:{running.port}"
        with Shell(directory / "shell", SETTINGS, user="root") as shell:
            yield from shell_streams(scale, fs, shell, top, directory)
            yield from shell_seeks(scale, fs, shell, top)
        fs.remove("/large")
        fs.remove("/native")
        yield from spark_job(scale, top, directory)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory on tmpfs."""
    directory = Path(tempfile.mkdtemp(prefix="memfs-bench-", dir=tmpfs.SHARED_MEMORY))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def shell_streams(
    scale: Scale, fs: memfs.FileSystem, shell: Shell, top: str, directory: Path
) -> Iterator[Row]:
    """-put and -get of one file."""
    content = streams.pieces(scale.pick(1024 * MIB, 8 * MIB))
    size = sum(map(len, content))
    buffer = streams.noise(4 * MIB)
    opened, created = partial(fs.open, "/large", "rb", 0), partial(fs.open, "/native", "wb", 0)
    fetched = directory / "fetched"

    def rate(*words: str) -> float:
        with Stopwatch() as watch:
            ran = shell.run(*words)
        assert ran.status == 0, ran.err
        return size / watch.seconds

    with tmpfs.tmpfs_file(content) as source:
        rates = alternate(
            {
                "put": lambda: rate("-put", "-f", str(source), f"{top}/large"),
                "native write": lambda: streams.write_rate(created, content),
                "get": lambda: rate("-get", "-f", f"{top}/large", str(fetched)),
                "native read": lambda: streams.read_rate(opened, buffer, size),
            },
            scale.rounds,
        )
        assert fetched.read_bytes() == source.read_bytes()
    fetched.unlink()
    rates = {name: each / 1e6 for name, each in rates.items()}
    unit, peer = "MB/s", "native client, TCP"
    yield Row("Hadoop: -put 1 GiB", unit, rates["put"], peer, rates["native write"], 0.25)
    yield Row("Hadoop: -get 1 GiB", unit, rates["get"], peer, rates["native read"], 0.25)


def shell_seeks(scale: Scale, fs: memfs.FileSystem, shell: Shell, top: str) -> Iterator[Row]:
    """Reads of 4 KiB anywhere in the file, as Java makes them: a connection each."""
    dice = random.Random(1)
    offsets = [dice.randrange(fs.stat("/large").st_size - SEEK_BYTES) for _ in range(SEEKS)]
    with fs.open("/large", "rb", 0) as file:
        pieces = [file.seek(offset) * b"" + file.read(SEEK_BYTES) for offset in offsets]
    words = ["-seeks", f"{top}/large", str(SEEK_BYTES), *map(str, offsets)]

    def seconds() -> float:
        taken, crc = shell.run(*words).text.split()
        assert int(crc) == zlib.crc32(b"".join(pieces))
        return float(taken)

    found = alternate({"seeks": seconds}, scale.rounds)
    name = f"Hadoop: {SEEKS} random reads of 4 KiB"
    yield Row(name, "s", found["seeks"], "the aim", 0.5, 1.0, lower_is_better=True)


def spark_job(scale: Scale, top: str, directory: Path) -> Iterator[Row]:
    """A table is written and aggregated, on memfs and on tmpfs."""
    rows, rounds = scale.pick(ROWS, 20_000), min(scale.rounds, SPARK_ROUNDS)
    places = {"memfs": f"{top}/job", "tmpfs": (directory / "job").as_uri()}
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(pyspark(NEWEST)), str(Path(__file__).parents[1])]),
        "PYSPARK_PYTHON": sys.executable,
        "JAVA_HOME": str(java_home()),
        "HADOOP_USER_NAME": "root",
        "LC_ALL": "C.UTF-8",
    }
    command = [sys.executable, "-m", "benchmarks.gateway_spark", str(directory / "spark")]
    with (directory / "spark.log").open("wb") as log:
        done = subprocess.run(
            [*command, str(rows), str(rounds), json.dumps(places), json.dumps(SPARK_SETTINGS)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            check=False,
        )
    assert done.returncode == 0, (directory / "spark.log").read_text()[-4000:]
    seconds = json.loads(done.stdout)
    for step, aim in (("write", 1.5), ("aggregate", 1.5)):
        ours, theirs = seconds[f"memfs {step}"], seconds[f"tmpfs {step}"]
        name = f"Spark: {step} 1 GiB of parquet"
        yield Row(name, "s", ours, "tmpfs", theirs, aim, lower_is_better=True)
