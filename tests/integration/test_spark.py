"""PySpark from PyPI against memfs: formats, committers, tables, streams, and what may fail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hadoop_served import Site, site
from spark_served import TOP, Spark, session
from spark_streaming import Feed, exactly_once

from tests.support.hadoop import NEWEST
from tests.support.patience import until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ROWS = 20_000
TOTAL = ROWS * (ROWS - 1) // 2
WORK_ROWS = 800_000
"""About 100 MB of parquet, written by eight tasks, two at a time."""
READINGS = 3


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("nodes")) as served:
        yield served


@pytest.fixture(scope="module")
def spark(served: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    with session(served, tmp_path_factory.mktemp("spark"), NEWEST) as spark:
        yield spark


# --- reading and writing -------------------------------------------------------------------------


def test_formats(served: Site, spark: Spark) -> None:
    names = ["parquet", "orc", "csv", "json", "text"]
    found = spark.run("formats", at=f"{TOP}/formats", rows=ROWS, names=names)
    assert found == {name: [ROWS, TOTAL] for name in names}
    for name in names:
        files = served.native.listdir(f"/formats/a {name}+ü")
        assert "_SUCCESS" in files and "_temporary" not in files


def test_binary_files(served: Site, spark: Spark, tmp_path: Path) -> None:
    """As Spark reads them from a local directory, which leaves empty files out."""
    served.native.makedirs("/binaries/below")
    for size in (0, 1, 100_000, (9 << 20) + 7):
        data = os.urandom(size)
        for name in (f"{size} ü+.bin", f"{size}.other"):
            (tmp_path / name).write_bytes(data)
            served.native.write_bytes(f"/binaries/below/{name}", data)
    found = spark.run("binaries", at=f"{TOP}/binaries")
    assert [length for _, length, _ in found] == [1, 100_000, (9 << 20) + 7]
    assert found == spark.run("binaries", at=tmp_path.as_uri())


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


def test_join(served: Site, spark: Spark) -> None:
    found, wanted = spark.run("join", at=f"{TOP}/join", rows=2_000_000)
    assert found == wanted and found[0] == len(range(0, 2_000_000, 3))
    sizes = [each.stat().st_size for each in served.native.scandir("/join/left")]
    assert sum(sizes) > 200_000_000
    served.native.rmtree("/join")


def test_tables(served: Site, spark: Spark) -> None:
    assert spark.run("table", at=f"{TOP}/tables", rows=ROWS) == [ROWS + 1, -1]
    assert "_SUCCESS" in served.native.listdir("/warehouse/ttables")


def test_checkpoints(served: Site, spark: Spark) -> None:
    assert spark.run("checkpoint", at=f"{TOP}/checkpoints", rows=ROWS) == [ROWS, TOTAL]
    (run,) = served.native.listdir("/checkpoints")
    (rdd,) = served.native.listdir(f"/checkpoints/{run}")
    assert "part-00000" in served.native.listdir(f"/checkpoints/{run}/{rdd}")


def test_the_event_log_can_be_followed(served: Site, spark: Spark) -> None:
    spark.run("commits", at=f"{TOP}/logged", rows=10)

    def logged() -> bool:
        logs = [path for path in served.native.glob("/events/**/events_*") if path]
        return any(b"SparkListenerJobEnd" in served.native.read_bytes(path) for path in logs)

    until(logged)


# --- streams -------------------------------------------------------------------------------------


def test_a_stream_that_is_killed_goes_on_exactly(
    served: Site, spark: Spark, tmp_path: Path
) -> None:
    with session(served, tmp_path, NEWEST) as first:
        exactly_once(Feed(served, "/stream"), first, spark)


# --- what fails in the middle --------------------------------------------------------------------


@pytest.mark.parametrize("how", ["raises", "dies", "killed"])
def test_tasks_that_end_in_the_middle(served: Site, spark: Spark, tmp_path: Path, how: str) -> None:
    at = f"/broken/{how}"
    found = spark.run("broken_tasks", at=TOP + at, rows=ROWS, how=how, marks=str(tmp_path))
    assert found == [ROWS, TOTAL]
    assert not served.native.exists(f"{at}/_temporary")


def test_the_primary_is_killed_while_a_job_writes(
    served: Site, spark: Spark, tmp_path: Path
) -> None:
    job = Job(served, spark, "/primary", tmp_path)
    job.wait_for_tasks()
    served.node(primary=True).kill()
    job.check()
    served.mend()


def test_a_node_is_killed_while_a_job_reads(served: Site, spark: Spark, tmp_path: Path) -> None:
    job = Job(served, spark, "/node", tmp_path)
    job.wait_for_success()
    served.node(primary=False).kill()
    job.check()
    served.mend()


def test_gateways_are_killed_one_after_the_other(
    served: Site, spark: Spark, tmp_path: Path
) -> None:
    job = Job(served, spark, "/gateway", tmp_path)
    first, second = served.gateways
    job.wait_for_tasks()
    first.end(crash=True)
    first.start()
    job.wait_for_success()
    second.end(crash=True)
    job.check()
    second.start()


class Job:
    """One that writes and then reads what it wrote, some seconds each.

    WebHDFS has no retry cache: a client that loses the answer to a rename tries again and is told
    that the source is gone, and Spark gives a job up whose committer has failed. A gateway is
    therefore killed while data is written and read, not while an answer to a commit is under way.
    """

    def __init__(self, served: Site, spark: Spark, path: str, directory: Path) -> None:
        self._native, self._spark, self._path = served.native, spark, path
        self._written = directory / "written"
        spark.start(
            "work",
            at=TOP + path,
            rows=WORK_ROWS,
            readings=READINGS,
            written=str(self._written),
        )

    def wait_for_tasks(self) -> None:
        """Until some have committed what they wrote and two others write: as many as may run."""
        below = f"{self._path}/_temporary/0"

        def writing() -> bool:
            committed = self._native.glob(f"{below}/task_*")
            begun = self._native.glob(f"{below}/_temporary/attempt_*/part-*")
            return len(committed) > 1 and len(begun) == 2

        until(writing)

    def wait_for_success(self) -> None:
        """Until everything is written and Spark knows it."""
        until(self._written.exists)

    def check(self) -> None:
        """Everything that was read is what was made."""
        *found, wanted = self._spark.result()
        assert wanted[:2] == [WORK_ROWS, WORK_ROWS * (WORK_ROWS - 1) // 2]
        assert found == [wanted] * READINGS
        self._native.rmtree(self._path)
