"""A node that believes everybody says so: in its log, in the status, and in its metrics."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from memfs.testing.processes import NodeProcess
from tests.integration.cli_cluster import COMMAND, clean_environment
from tests.support.hosts import Hosts
from tests.support.patience import PATIENCE_SECONDS


def test_an_insecure_node_says_so(tmp_path: Path) -> None:
    obstacle = Hosts.obstacle()
    if obstacle:
        told = f"a node that is open to the network was not tried: {obstacle}"
        assert not os.environ.get("CI"), told
        pytest.skip(told)
    with Hosts() as hosts:
        host = hosts.add("open")
        flags = ["--host=0.0.0.0", f"--advertise-host={host.address}", "--insecure", "--port=10500"]
        flags += ["--memory=64MiB", "--monitoring-host=0.0.0.0", "--monitoring-port=11500"]
        node = NodeProcess("open", tmp_path / "log", flags, command=host.command)
        try:
            node.wait_ready(time.monotonic() + PATIENCE_SECONDS)
            done = subprocess.run(
                [*COMMAND, "cluster", "status"],
                env=clean_environment(MEMFS_URL=f"memfs://{host.address}:10500"),
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
            assert "security  INSECURE: everybody" in done.stdout, done.stdout + done.stderr
            url = f"http://{host.address}:11500/metrics"
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
                assert "\nmemfs_insecure 1" in answer.read().decode()
            assert "warning" in node.story() and "under any user's name" in node.story()
        finally:
            node.stop()
