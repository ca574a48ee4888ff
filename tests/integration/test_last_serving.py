"""All who knew everything are gone: nobody serves until an operator accepts the loss."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

import memfs
from memfs.errors import ClusterError
from memfs.testing.processes import Processes
from tests.support.etcd import EtcdCluster
from tests.support.patience import PATIENCE_SECONDS

FAST = (
    "--lease-seconds=1",
    "--heartbeat-seconds=0.2",
    "--member-timeout-seconds=2",
    "--stop-with-parent",
)
LEASES = 4


@pytest.fixture
def cluster():
    with (
        EtcdCluster() as etcd,
        Processes(nodes=3, replication=2, flags=FAST, coordinator=etcd.url) as started,
    ):
        yield started


def command(cluster, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "memfs.cli", "--url", cluster.url, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        stdin=subprocess.DEVNULL,
    )


def wait_in_sync(fs, count):
    """Until so many members are in sync; the primary's name."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = fs.cluster_status()
        if sum(node.in_sync for node in found.nodes) == count:
            return next(
                node.member.name for node in found.nodes if node.member.number == found.view.primary
            )
        assert time.monotonic() < deadline
        time.sleep(0.1)


def assert_unavailable(fs, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with pytest.raises(ClusterError):
            fs.listdir("/", timeout=1)


def test_who_fell_behind_does_not_serve_until_an_operator_says_so(cluster):
    with memfs.connect(cluster.url, local_descriptors=False) as fs:
        fs.mkdir("/before")
        primary = wait_in_sync(fs, 3)
        behind = next(node for node in cluster.nodes if node.name != primary)
        behind.pause()
        wait_in_sync(fs, 2)
        fs.mkdir("/after")
        for node in cluster.nodes:
            if node is not behind:
                node.kill()
        behind.resume()
        assert_unavailable(fs, LEASES)
        refused = command(cluster, "cluster", "force-recover")
        assert refused.returncode != 0, refused.stdout
        assert_unavailable(fs, 1)
        done = command(cluster, "cluster", "force-recover", "--accept-data-loss")
        assert done.returncode == 0, done.stdout + done.stderr
        assert behind.name in done.stdout
    with memfs.connect(cluster.url, local_descriptors=False) as fs:
        assert fs.listdir("/") == ["before"]
        fs.mkdir("/begun anew")


def test_empty_nodes_under_the_old_names_are_nobody(cluster):
    with memfs.connect(cluster.url, local_descriptors=False) as fs:
        fs.mkdir("/before")
        wait_in_sync(fs, 3)
        for node in cluster.nodes:
            node.kill()
        for index in range(len(cluster.nodes)):
            cluster.restart(index)
        assert_unavailable(fs, LEASES)


def test_the_last_in_sync_member_does_not_acknowledge_alone(cluster):
    """With two copies promised one is not enough; when another has joined, work goes on."""
    with memfs.connect(cluster.url, local_descriptors=False) as fs:
        fs.mkdir("/before")
        primary = wait_in_sync(fs, 3)
        backups = [index for index, node in enumerate(cluster.nodes) if node.name != primary]
        for index in backups:
            cluster.nodes[index].kill()
        with pytest.raises(ClusterError):
            fs.mkdir("/alone", timeout=LEASES)
        cluster.restart(backups[0])
        fs.mkdir("/together", timeout=30)
        assert set(fs.listdir("/")) >= {"before", "together"}


def test_backups_that_stood_still_may_take_over_afterwards(cluster):
    """Two are needed to acknowledge: both keep the right to serve, however long they are silent."""
    with memfs.connect(cluster.url, local_descriptors=False) as fs:
        fs.mkdir("/before")
        primary = wait_in_sync(fs, 3)
        backups = [node for node in cluster.nodes if node.name != primary]
        for node in backups:
            node.pause()
        time.sleep(LEASES)
        assert "before" in fs.listdir("/")
        next(node for node in cluster.nodes if node.name == primary).kill()
        for node in backups:
            node.resume()
        fs.mkdir("/after", timeout=30)
        assert set(fs.listdir("/")) >= {"before", "after"}
