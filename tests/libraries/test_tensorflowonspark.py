"""TensorFlowOnSpark whose workers read records, and one whose executor is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from memfs.testing.processes import Processes
from tests.support.environments import TOP
from tests.support.spark_training import SparkEnvironment

pytestmark = pytest.mark.timeout(3600)


def test_records_and_a_killed_executor(installed: Path, tmp_path: Path) -> None:
    """The job after the one that failed is another program, as it is for who submits it."""
    script = TOP / "tests" / "integration" / "tensorflowonspark_training.py"
    spark = SparkEnvironment(installed)
    with Processes(nodes=3, replication=2, memory="256MiB") as cluster:
        said = spark.run([script, "records", "a_killed_executor"], tmp_path, cluster.url)
        assert "trained from records" in said and "\nthe job failed" in said, said
        assert "went on" in spark.run([script, "the_next_job"], tmp_path, cluster.url)
