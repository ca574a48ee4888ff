"""PySpark from PyPI against memfs: formats, committers, partitions, a join, tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hadoop_served import SERVICE, USER, Site, site

from memfs.testing.hadoop import NEWEST, java_home, pyspark

pytestmark = pytest.mark.timeout(900)

TOP = f"webhdfs://{SERVICE}"
ROWS = 20_000
TOTAL = ROWS * (ROWS - 1) // 2
JOBS = Path(__file__).with_name("spark_jobs.py")


class Spark:
    """A Spark session in a process of its own."""

    def __init__(self, served: Site, directory: Path, version: str = NEWEST) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        served.native.makedirs("/events", exist_ok=True)
        settings = {
            "spark.master": "local[2,4]",
            "spark.ui.enabled": "false",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.memory": "768m",
            "spark.sql.shuffle.partitions": "2",
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": f"{TOP}/events",
            "spark.sql.warehouse.dir": f"{TOP}/warehouse",
            "spark.local.dir": str(directory / "local"),
        } | {f"spark.hadoop.{name}": value for name, value in served.settings.items()}
        environment = {
            "PYTHONPATH": str(pyspark(version)),
            "PYSPARK_PYTHON": sys.executable,
            "JAVA_HOME": str(java_home()),
            "HADOOP_USER_NAME": USER,
            "LC_ALL": "C.UTF-8",
        }
        dropped = ("SPARK_", "HADOOP_", "PYSPARK_", "MEMFS_")
        kept = {name: each for name, each in os.environ.items() if not name.startswith(dropped)}
        self._log = directory / "spark.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(JOBS)],
                cwd=directory,
                env=kept | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                text=True,
            )
        self._send(settings)

    def _send(self, line: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def start(self, job: str, **arguments: Any) -> None:
        """Begin a job of ``spark_jobs``."""
        self._send([job, arguments])

    def result(self) -> Any:
        """Of the job that was begun."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        reply = json.loads(line) if line else {"error": "Spark ended"}
        if "error" in reply:
            tail = self._log.read_text(errors="replace")[-6000:]
            raise AssertionError(f"{reply['error']}\n{tail}")
        return reply["result"]

    def run(self, job: str, **arguments: Any) -> Any:
        self.start(job, **arguments)
        return self.result()

    def end(self, *, crash: bool = False) -> None:
        """Stop it, Java and all."""
        assert self._process.stdin is not None and self._process.stdout is not None
        if crash:
            os.killpg(self._process.pid, 9)
        with suppress(BrokenPipeError):  # it may have ended by itself
            self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


@contextmanager
def session(served: Site, directory: Path, version: str = NEWEST) -> Iterator[Spark]:
    spark = Spark(served, directory, version)
    try:
        yield spark
    finally:
        spark.end()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("nodes")) as served:
        yield served


@pytest.fixture(scope="module")
def spark(served: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    with session(served, tmp_path_factory.mktemp("spark")) as spark:
        yield spark


def test_formats(served: Site, spark: Spark) -> None:
    names = ["parquet", "orc", "csv", "json", "text"]
    found = spark.run("formats", at=f"{TOP}/formats", rows=ROWS, names=names)
    assert found == {name: [ROWS, TOTAL] for name in names}
    for name in names:
        files = served.native.listdir(f"/formats/a {name}+ü")
        assert "_SUCCESS" in files and "_temporary" not in files


def test_commits(served: Site, spark: Spark) -> None:
    found = spark.run("commits", at=f"{TOP}/commits", rows=ROWS)
    assert found == {"1": 2 * ROWS, "2": 2 * ROWS}
    for version in ("v1", "v2"):
        assert not served.native.exists(f"/commits/{version}/_temporary")


def test_partitions(served: Site, spark: Spark) -> None:
    found = spark.run("partitions", at=f"{TOP}/partitions", rows=ROWS)
    fifth = ROWS // 5
    assert found["counts"] == {"0": fifth, "1": fifth, "2": fifth, "3": 7, "4": fifth}
    assert found["files"] == ["k=3"]
    names = served.native.listdir("/partitions/partitioned")
    assert [name for name in names if name.startswith(".spark-staging")] == []


def test_join(spark: Spark) -> None:
    rows = 600_000
    thirds = range(0, rows, 3)
    found = spark.run("join", at=f"{TOP}/join", rows=rows)
    assert found == [len(thirds), 2 * sum(thirds)]


def test_tables(served: Site, spark: Spark) -> None:
    assert spark.run("table", at=f"{TOP}/tables", rows=ROWS) == [ROWS + 1, -1]
    assert "_SUCCESS" in served.native.listdir("/warehouse/ttables")


def test_attempts_that_break_off(served: Site, spark: Spark) -> None:
    assert spark.run("broken_tasks", at=f"{TOP}/broken") == [20_000, 20_000 * 19_999 // 2]
    assert not served.native.exists("/broken/_temporary")
