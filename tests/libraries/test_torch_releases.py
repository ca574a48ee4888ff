"""An older PyTorch on memfs."""

from __future__ import annotations

from pathlib import Path

import pytest

from memfs.testing.processes import Processes
from tests.support.environments import TOP, environment

pytestmark = pytest.mark.timeout(3600)
OLDER = ("torch==2.2.2", "numpy<2")


def test_every_case_with_an_older_release(installed: Path, tmp_path: Path) -> None:
    older = environment("torch-older", OLDER, installed)
    cases = TOP / "tests" / "integration" / "torch_cases.py"
    with Processes(nodes=3, replication=2, memory="256MiB") as cluster:
        said = older.run([cases, tmp_path], tmp_path, MEMFS_URL=cluster.url)
    assert said.count("ok ") == cases.read_text().count("\n@case\n")
