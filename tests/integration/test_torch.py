"""PyTorch itself on memfs, in an environment of its own."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import memfs
from memfs.testing.processes import Processes
from tests.support.environments import TOP, TORCH, LibraryEnvironment, environment
from tests.support.stores.s3_servers import moto

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]  # the first run makes the environment
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def torch(installed: Path) -> LibraryEnvironment:
    return environment("torch", TORCH, installed)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Processes]:
    with Processes(nodes=3, replication=2, memory="256MiB") as cluster:
        yield cluster


def test_every_case(torch: LibraryEnvironment, cluster: Processes, tmp_path: Path) -> None:
    """Datasets, loaders, checkpoints, and a group of two processes."""
    cases = HERE / "torch_cases.py"
    said = torch.run([cases, tmp_path], tmp_path, MEMFS_URL=cluster.url)
    assert said.count("ok ") == cases.read_text().count("\n@case\n")


def test_the_document_and_the_example(
    torch: LibraryEnvironment, cluster: Processes, tmp_path: Path
) -> None:
    example = TOP / "examples" / "torch_training.py"
    script = TOP / "tests" / "support" / "document_programs.py"
    runs = [TOP / "docs" / "pytorch.md", example, example]
    said = torch.run(["-W", "ignore", script, *runs], tmp_path, MEMFS_URL=cluster.url)
    assert [line for line in said.splitlines() if "loss" not in line] == [
        "2016",
        "2 2",
        "180.0",
        "True",
        "499500",
        "10.0",
        "goes on after step 20",
        "all ran",
    ]


def test_training_from_a_bucket_into_a_bucket(
    torch: LibraryEnvironment, cluster: Processes, tmp_path: Path
) -> None:
    """Samples out of a read-only mount; checkpoints into one that stores in the background."""
    example = TOP / "examples" / "torch_training.py"
    with moto(tmp_path) as s3, memfs.connect(cluster.url) as fs:
        for bucket in ("samples", "models"):
            s3.client.create_bucket(Bucket=bucket)
        torch.run(
            [example, "--samples", "/made", "--checkpoints", "/"], tmp_path, MEMFS_URL=cluster.url
        )
        fs.remove("/checkpoint-0.pt")
        made = {name: fs.read_bytes(f"/made/{name}") for name in fs.listdir("/made")}
        for name, content in made.items():
            s3.client.put_object(Bucket="samples", Key=f"v1/{name}", Body=content)
        options = s3.mount_options(tmp_path)
        fs.mount("/training-data", "s3://samples/v1", read_only=True, shared=True, options=options)
        fs.mount("/checkpoints", "s3://models/run-1", mode="dual-async", options=options)
        chosen = ["--samples", "/training-data", "--checkpoints", "/checkpoints"]
        for step in (20, 40):
            said = torch.run([example, *chosen], tmp_path, MEMFS_URL=cluster.url)
            assert f"step {step}: loss" in said
        fs.persist("/checkpoints")
        (found,) = s3.client.list_objects_v2(Bucket="models")["Contents"]
        assert found["Key"] == "run-1/checkpoint-0.pt"
        stored = s3.client.get_object(Bucket="models", Key=found["Key"])["Body"].read()
        assert stored == fs.read_bytes("/checkpoints/checkpoint-0.pt")
        assert {name: fs.read_bytes(f"/training-data/{name}") for name in made} == made
        for path in ("/training-data", "/checkpoints"):
            fs.unmount(path)


def test_without_torch() -> None:
    with pytest.raises(ImportError, match=r"torch is not installed: pip install '.*\[torch\]'"):
        importlib.import_module("memfs.torch")
