"""``/readyz`` of nodes over HTTP, as a proxy or Kubernetes asks: can this node serve?"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from memfs.testing.processes import NodeProcess, Processes
from tests.support.patience import PATIENCE_SECONDS


class Watched(Processes):
    """Nodes with a port for machines that watch."""

    def readiness(self, name: str) -> tuple[int, str]:
        """Status and text of ``/readyz``."""
        url = f"{self.monitoring_url(name)}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def wait_for(self, names: list[str], status: int) -> list[str]:
        """Until all of them answer so; what they say."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = [self.readiness(name) for name in names]
            if all(each == status for each, _ in found):
                return [text for _, text in found]
            assert time.monotonic() < deadline, found
            time.sleep(0.1)


@pytest.mark.parametrize("ends", [NodeProcess.kill, NodeProcess.pause], ids=["dead", "paused"])
def test_no_node_is_ready_without_a_primary(ends: Callable[[NodeProcess], None]) -> None:
    with Watched(
        nodes=3, replication=2, memory="64MiB", flags=["--min-in-sync=2"], monitoring=True
    ) as cluster:
        names = [node.name for node in cluster.nodes]
        assert cluster.wait_for(names, 200) == ["ready\n"] * 3
        first = cluster.nodes[0]  # the primary, and the coordinator with it
        ends(first)
        assert all("no primary" in reason for reason in cluster.wait_for(names[1:], 503))
        if first.running:
            first.resume()
            assert cluster.wait_for(names, 200) == ["ready\n"] * 3
