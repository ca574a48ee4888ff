"""PyTorch itself on memfs, in an environment of its own."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from memfs.testing.processes import Processes
from tests.support.environments import TOP, LibraryEnvironment, environment

pytestmark = pytest.mark.timeout(900)  # the first run makes the environment
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def torch(installed: Path) -> LibraryEnvironment:
    return environment("torch", ["torch==2.15.0", "numpy"], installed)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Processes]:
    with Processes(nodes=3, replication=2, memory="256MiB") as cluster:
        yield cluster


def test_every_case(torch: LibraryEnvironment, cluster: Processes, tmp_path: Path) -> None:
    """Datasets, loaders, checkpoints, and a group of two processes."""
    said = torch.run([HERE / "torch_cases.py", tmp_path], tmp_path, MEMFS_URL=cluster.url)
    assert said.count("ok ") == 9


def test_the_document_and_the_example(
    torch: LibraryEnvironment, cluster: Processes, tmp_path: Path
) -> None:
    example = TOP / "examples" / "torch_training.py"
    script = TOP / "tests" / "support" / "document_programs.py"
    runs = [TOP / "docs" / "pytorch.md", example, example]
    said = torch.run(["-W", "ignore", script, *runs], tmp_path, MEMFS_URL=cluster.url)
    assert [line for line in said.splitlines() if "loss" not in line] == [
        "2016",
        "{'epoch': 0, 'position': 2} 2",
        "180.0",
        "True",
        "499500",
        "10.0",
        "goes on after step 20",
        "all ran",
    ]


def test_without_torch() -> None:
    with pytest.raises(ImportError, match=r"torch is not installed: pip install '.*\[torch\]'"):
        importlib.import_module("memfs.torch")
