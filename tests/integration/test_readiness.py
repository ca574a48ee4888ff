"""``/readyz`` of nodes over HTTP, as a proxy or Kubernetes asks: can this node serve?"""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from memfs.testing.processes import NodeProcess, Processes

SECONDS = 40


class Watched(Processes):
    """Nodes with a port for machines that watch."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._ports: dict[str, int] = {}

    def flags_of(self, name: str) -> list[str]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._ports[name] = free.getsockname()[1]
        return [f"--monitoring-port={self._ports[name]}"]

    def readiness(self, name: str) -> tuple[int, str]:
        """Status and text of ``/readyz``."""
        url = f"http://127.0.0.1:{self._ports[name]}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def wait_for(self, names: list[str], status: int) -> list[str]:
        """Until all of them answer so; what they say."""
        deadline = time.monotonic() + SECONDS
        while True:
            found = [self.readiness(name) for name in names]
            if all(each == status for each, _ in found):
                return [text for _, text in found]
            assert time.monotonic() < deadline, found
            time.sleep(0.1)


@pytest.mark.parametrize("ends", [NodeProcess.kill, NodeProcess.pause], ids=["dead", "paused"])
def test_no_node_is_ready_without_a_primary(ends: Callable[[NodeProcess], None]) -> None:
    with Watched(nodes=3, replication=2, memory="64MiB", flags=["--min-in-sync=2"]) as cluster:
        names = [node.name for node in cluster.nodes]
        assert cluster.wait_for(names, 200) == ["ready\n"] * 3
        first = cluster.nodes[0]  # the primary, and the coordinator with it
        ends(first)
        assert all("no primary" in reason for reason in cluster.wait_for(names[1:], 503))
        if first.running:
            first.resume()
            assert cluster.wait_for(names, 200) == ["ready\n"] * 3
