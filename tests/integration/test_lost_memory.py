"""Memory of a node that its account does not know of is told, and no longer than it is there."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import memfs
from memfs.limits import MIB
from memfs.machine import module_command
from memfs.testing.processes import Place, Processes
from tests.support.patience import PATIENCE_SECONDS

LOST = 300 * MIB
WASTING = f"""
import mmap, signal, sys
from memfs.cli.entry import main

def toggle(number, frame, held=[]):
    if held:
        held.pop().close()
    else:
        held.append(mmap.mmap(-1, {LOST}))
        held[0].write(bytes({LOST}))

signal.signal(signal.SIGUSR1, toggle)
sys.argv = sys.argv[sys.argv.index("memfs.cli"):]
main()
"""
"""Runs the node's command in a process that takes shared memory when it is told to, and gives it
back when it is told so again."""


class Wasteful(Processes):
    """A node whose process may take memory beside the node."""

    def place(self, name: str) -> Place:
        return super().place(name)._replace(command=(sys.executable, "-c", WASTING))


def status(cluster: Processes) -> str:
    command = module_command("memfs.cli", f"--url={cluster.url}", "cluster", "status")
    return subprocess.run(command, capture_output=True, text=True).stdout


def wait_for(cluster: Processes, word: str, *, told: bool) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (word in (text := status(cluster))) is not told:
        assert time.monotonic() < deadline, text
        time.sleep(0.5)
    return text


def test_memory_that_the_account_does_not_know_of_is_told() -> None:
    word = "of which it accounts for"
    with Wasteful(1, memory="128MiB", replication=1) as cluster:
        assert word not in status(cluster)
        cluster.nodes[0].signal(signal.SIGUSR1)
        text = wait_for(cluster, word, told=True)
        assert "node-1 takes 3" in text and "healthy" in text
        with memfs.connect(cluster.url) as fs:
            fs.write_bytes("/still", b"stores")
            assert fs.cluster_status().nodes[0].usage.resident >= LOST
        cluster.nodes[0].signal(signal.SIGUSR1)
        wait_for(cluster, word, told=False)
