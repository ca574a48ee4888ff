"""A node that hears nobody, in network namespaces: files are written beside it."""

from __future__ import annotations

import os

import pytest

from tests.support.etcd_package import etcd_binaries
from tests.support.hosts import Hosts
from tests.support.nemesis.cluster import FaultyCluster, HostedEtcd

CONTENT = bytes(range(256)) * 40_000
"""Three blocks of 4 MiB."""
FILES = 4


@pytest.fixture(scope="module")
def cluster():
    obstacle = Hosts.obstacle()
    if obstacle:
        told = f"hosts that hear nothing were not tried: {obstacle}"
        assert not os.environ.get("CI"), told
        pytest.skip(told)
    etcd_binaries()
    with (
        Hosts() as hosts,
        HostedEtcd(hosts, members=1) as etcd,
        FaultyCluster(4, replication=2, hosts=hosts, etcd=etcd) as cluster,
    ):
        yield cluster


@pytest.mark.parametrize("which", ["primary", "backup"])
def test_writes_go_on_beside_a_node_that_hears_nobody(cluster, which):
    """Each call has the time of three attempts; twenty seconds was one pause of such a cluster."""
    primary = cluster.primary()
    deaf = primary if which == "primary" else next(n for n in cluster.in_sync() if n != primary)
    fs = cluster.fs
    fs.mkdir(f"/{which}")
    try:
        for other in cluster.others(deaf):
            cluster.hosts.block(other, deaf)
        for number in range(FILES):
            fs.write_bytes(f"/{which}/{number}", CONTENT, timeout=20)
        fs.write_many([(f"/{which}/small-{at}", b"small") for at in range(50)], timeout=10)
        for number in range(FILES):
            assert fs.read_bytes(f"/{which}/{number}") == CONTENT
        assert cluster.primary() != deaf
    finally:
        cluster.hosts.heal()
        cluster.wait_healthy(120)
    assert len(fs.listdir(f"/{which}")) == FILES + 50
