"""Healing, growth and decommission of real node processes, driven by the command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import memfs
from memfs.testing.processes import Processes
from tests.support.patience import PATIENCE_SECONDS

QUICK = (
    "--heartbeat-seconds=0.2",
    "--member-timeout-seconds=1",
    "--removal-seconds=1.5",
    "--orphan-sweep-seconds=1",
)


def command(cluster, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "memfs.cli", *arguments],
        env=os.environ | {"MEMFS_URL": cluster.url, "MEMFS_CONFIG": os.devnull},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def status(cluster):
    return json.loads(command(cluster, "cluster", "status", "--json").stdout)


def wait_until_whole(cluster, nodes):
    """Until so many nodes are left and every block has its copies where it should."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with memfs.connect(cluster.url) as fs:
        while time.monotonic() < deadline:
            found = fs.cluster_status()
            healing = found.healing
            calm = healing.state == "idle" and not healing.blocks and not healing.moves
            if len(found.nodes) == nodes and calm and not command(cluster, "fsck").returncode:
                return
            time.sleep(0.1)
    raise AssertionError(f"not whole: {healing}, {command(cluster, 'fsck').stdout}")


def write(cluster, count):
    content = {f"/{number}": os.urandom(300_000 * (1 + number % 3)) for number in range(count)}
    with memfs.connect(cluster.url) as fs:
        for path, data in content.items():
            fs.write_bytes(path, data)
    return content


def expect(cluster, content):
    with memfs.connect(cluster.url) as fs:
        for path, data in content.items():
            assert fs.read_bytes(path) == data


def test_a_killed_node_is_made_up_for():
    with Processes(5, flags=QUICK) as cluster:
        content = write(cluster, 40)
        cluster.nodes[4].kill()
        wait_until_whole(cluster, 4)
        cluster.nodes[3].kill()
        wait_until_whole(cluster, 3)
        expect(cluster, content)


def test_a_killed_node_is_not_waited_for():
    patient = ("--heartbeat-seconds=0.2", "--member-timeout-seconds=1", "--removal-seconds=86400")
    with Processes(4, flags=patient) as cluster:
        content = write(cluster, 20)
        small = {f"/small-{number}": os.urandom(1000) for number in range(2000)}
        with memfs.connect(cluster.url) as fs:
            fs.write_many(list(small.items()))
        cluster.nodes[3].kill()
        wait_until_whole(cluster, 3)
        assert [each["reason"] for each in status(cluster)["departed"]] == ["its process ended"]
        expect(cluster, content)
        with memfs.connect(cluster.url) as fs:
            assert fs.read_many(list(small)) == list(small.values())


def test_nodes_join_and_leave_by_the_command():
    with Processes(2, replication=1, flags=QUICK) as cluster:
        content = write(cluster, 40)
        cluster.start_node().wait_ready(time.monotonic() + PATIENCE_SECONDS)
        wait_until_whole(cluster, 3)
        assert all(node["blocks"] for node in status(cluster)["nodes"])
        done = command(cluster, "cluster", "decommission", "node-2")
        assert (done.returncode, done.stdout) == (0, "node-2 has left\n"), done.stderr
        deadline = time.monotonic() + PATIENCE_SECONDS
        while cluster.nodes[1].running:
            assert time.monotonic() < deadline, "a decommissioned node does not stop"
            time.sleep(0.05)
        wait_until_whole(cluster, 2)
        expect(cluster, content)
        assert command(cluster, "cluster", "weight", "node-3", "50").returncode == 0
        assert command(cluster, "cluster", "rebalance").returncode == 0
        wait_until_whole(cluster, 2)
        expect(cluster, content)
        unknown = command(cluster, "cluster", "weight", "nobody", "50")
        assert unknown.returncode == 1
        assert "there is no node 'nobody'" in unknown.stderr


def test_the_primary_leaves_by_the_command():
    with Processes(4, replication=2, flags=QUICK) as cluster:
        content = write(cluster, 20)
        done = command(cluster, "cluster", "decommission", "node-1")
        assert (done.returncode, done.stdout) == (0, "node-1 has left\n"), done.stderr
        wait_until_whole(cluster, 3)
        assert status(cluster)["primary"] != 1
        assert cluster.nodes[0].running  # it keeps the coordinator
        expect(cluster, content)
