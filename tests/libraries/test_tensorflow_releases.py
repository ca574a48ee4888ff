"""An older TensorFlow on memfs, and a tensor above 4 GiB."""

from __future__ import annotations

from pathlib import Path

import pytest

from memfs.testing.processes import Processes
from tests.support.environments import TOP, environment
from tests.support.spark_training import QUIET, TENSORFLOW

pytestmark = pytest.mark.timeout(3600)
HERE = Path(__file__).parent
OLDER = ("tensorflow-cpu==2.15.1", "tensorboard==2.15.2", "setuptools<81")


def test_every_case_with_an_older_release(installed: Path, tmp_path: Path) -> None:
    older = environment("tensorflow-older", OLDER, installed)
    cases = TOP / "tests" / "integration" / "tensorflow_cases.py"
    with Processes(nodes=3, replication=2, memory="512MiB") as cluster:
        said = older.run([cases, cluster.url, tmp_path], tmp_path, **QUIET)
    assert said.count("\nok ") > 100


def test_a_tensor_above_4_gib(installed: Path, tmp_path: Path) -> None:
    """Takes some 13 GB of memory: two copies in TensorFlow and one on the nodes."""
    newest = environment("tensorflow", TENSORFLOW, installed)
    with Processes(nodes=2, replication=1, memory="3GiB") as cluster:
        script = HERE / "tensorflow_large.py"
        said = newest.run([script], tmp_path, MEMFS_URL=cluster.url, **QUIET)
    assert "as it was written" in said
