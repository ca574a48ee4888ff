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


@pytest.fixture
def four():
    """Nobody is removed for its silence, or taken over from since the machine is busy."""
    flags = ("--lease-seconds=3", "--removal-seconds=600", "--stop-with-parent")
    with (
        EtcdCluster() as etcd,
        Processes(nodes=4, replication=2, flags=flags, coordinator=etcd.url) as started,
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


def test_a_primary_that_stood_still_goes_on_after_its_successor(four):
    """Its successor took over while only the two of them held the namespace, and was killed before
    another node did: nothing is lost with it, and no operator is needed."""
    with memfs.connect(four.url, local_descriptors=False, timeout_seconds=60) as fs:
        fs.mkdir("/before")
        nodes = {node.name: node for node in four.nodes}
        primary = wait_in_sync(fs, 3)
        view = fs.cluster_status().view
        names = {member.number: member.name for member in view.members}
        backups = [names[number] for number in view.in_sync if names[number] != primary]
        spare = next(name for name in nodes if name not in (primary, *backups))
        nodes[spare].pause()
        nodes[backups[1]].pause()
        assert wait_in_sync(fs, 2) == primary
        fs.write_bytes("/acknowledged", b"by two")
        nodes[primary].pause()
        assert wait_for_primary(fs, backups[0])
        assert fs.read_bytes("/acknowledged") == b"by two"
        with pytest.raises(ClusterError):
            fs.mkdir("/alone", timeout=LEASES)
        nodes[backups[0]].kill()
        nodes[primary].resume()
        assert wait_for_primary(fs, primary)
        assert set(fs.listdir("/")) == {"before", "acknowledged"}
        for name in (spare, backups[1]):
            nodes[name].resume()
        fs.mkdir("/after")
        assert fs.read_bytes("/acknowledged") == b"by two"


def wait_for_primary(fs, name):
    """Until the node of this name is the primary, and serves."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            found = fs.cluster_status(timeout=5)
        except ClusterError:
            continue
        leader = next(n for n in found.view.members if n.number == found.view.primary)
        if leader.name == name:
            return True
        time.sleep(0.1)
    return False
