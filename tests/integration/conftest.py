"""What several modules of real processes and containers share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from memfs.testing.containers.cluster import Containers
from memfs.testing.containers.engine import obstacle


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
