"""Training on Spark's executors with files on memfs; more of it: tests/libraries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memfs.testing.processes import Processes
from tests.support.environments import TOP
from tests.support.spark_training import SparkEnvironment

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]  # the first run makes the environment
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def cluster() -> Iterator[Processes]:
    with Processes(nodes=3, replication=2, memory="256MiB") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def spark(installed: Path) -> SparkEnvironment:
    return SparkEnvironment(installed)


def test_tensorflowonspark_feeds(
    spark: SparkEnvironment, cluster: Processes, tmp_path: Path
) -> None:
    """Training fed by partitions, and inference, on two executors."""
    script = HERE / "tensorflowonspark_training.py"
    said = spark.run([script, "feeding", "inference"], tmp_path, cluster.url)
    assert [line for line in said.splitlines() if line in ("fed", "inferred")] == [
        "fed",
        "inferred",
    ]


def test_the_document_and_the_example(
    spark: SparkEnvironment, cluster: Processes, tmp_path: Path
) -> None:
    example = TOP / "examples" / "spark_training.py"
    script = TOP / "tests" / "support" / "document_programs.py"
    runs = [TOP / "docs" / "spark-training.md", example, example]
    said = spark.run([script, *runs], tmp_path, cluster.url)
    for expected in ("100", "328350", "2000 records", "all ran"):
        assert expected in said.splitlines(), said
    for begun in (0, 40):
        for worker in (0, 1):
            assert f"worker {worker}: steps {begun} to {begun + 40}, y = " in said, said
