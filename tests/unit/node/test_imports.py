"""What a node does not load before it needs it: it starts sooner."""

from __future__ import annotations

import subprocess
import sys


def test_a_node_without_etcd_and_metrics_does_without_aiohttp() -> None:
    program = "import memfs.node.assembly, sys; print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
