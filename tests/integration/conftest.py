"""What several modules of real processes and containers share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from cli_cluster import Cluster, Command, dev_cluster

from tests.support.containers.cluster import Containers
from tests.support.containers.engine import obstacle
from tests.support.mounts import Mounted, mounted, need_mounts
from tests.support.stores.processes import what_they_said


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is marked ``long`` first; the order is kept otherwise, and so are files together."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What servers that a failed test used have logged: why one answered as it did stands there."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {program}", said) for program, said in what_they_said()]
    return report


@pytest.fixture(scope="session")
def containers(pytestconfig: pytest.Config) -> Iterator[Containers]:
    """The image, built on the spot, and a cluster of Compose that nobody has started.

    Without a Docker engine the tests say that they did not run; under CI that is a failure.
    """
    if reason := obstacle():
        told = f"the containers were not tried: {reason}"
        if os.environ.get("CI"):
            pytest.fail(told)
        with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\n{told}")
        pytest.skip(told)
    with Containers(Path(__file__).parents[2]) as containers:
        yield containers


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with dev_cluster(tmp_path_factory.mktemp("dev"), "--memory=512MiB") as running:
        yield running


@pytest.fixture
def two_mounts(cluster: Cluster, tmp_path: Path) -> Iterator[tuple[Mounted, Mounted]]:
    """Two mounts of one cluster."""
    need_mounts()
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with mounted(cluster.url, first) as one, mounted(cluster.url, second) as other:
        yield one, other


@pytest.fixture
def open_mount(cluster: Cluster) -> Iterator[Mounted]:
    """A mount in a directory that other users than root reach."""
    need_mounts()
    with tempfile.TemporaryDirectory(prefix="memfs-mount-") as directory:
        Path(directory).chmod(0o755)
        with mounted(cluster.url, Path(directory)) as found:
            yield found


@pytest.fixture
def cli(
    cluster: Cluster, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    monkeypatch.setenv("MEMFS_URL", cluster.url)
    monkeypatch.setenv("MEMFS_CONFIG", os.devnull)
    return Command(capfd)


@pytest.fixture
def home(cli: Command, request: pytest.FixtureRequest) -> Iterator[str]:
    """A directory in the cluster for one test."""
    path = f"/{request.node.name.partition('[')[0]}"
    cli.ok("mkdir", path)
    yield path
    cli("rm", "-rf", path)
