"""Nodes of one host that were told no limit share its memory, whatever becomes of the others."""

from __future__ import annotations

import time

import memfs
from memfs import machine
from memfs.testing.processes import READY_SECONDS, Processes
from tests.support.patience import PATIENCE_SECONDS

LEAST = 64 << 20


def limits(cluster: Processes) -> dict[str, int]:
    """By name, of the nodes that run; once each has said it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    running = {node.name for node in cluster.nodes if node.running}
    with memfs.connect(cluster.url) as fs:
        while True:
            usages = {each.member.name: each.usage for each in fs.cluster_status().nodes}
            found = {name: usages[name].limit for name in running & usages.keys()}
            if len(found) == len(running) and all(found.values()):
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.1)


def started(cluster: Processes, index: int) -> None:
    cluster.nodes[index].wait_ready(time.monotonic() + READY_SECONDS)


def test_each_default_node_takes_half_of_what_the_others_leave() -> None:
    usable = machine.usable_memory()
    half, quarter, eighth = (max(LEAST, usable // part) for part in (2, 4, 8))
    with Processes(1, memory="", replication=1) as cluster:
        for index in (1, 2):
            cluster.start_node()
            started(cluster, index)
        found = limits(cluster)
        assert abs(found["node-1"] - half) <= 8
        assert abs(found["node-2"] - quarter) <= 8
        assert abs(found["node-3"] - eighth) <= 8
        assert "claimed by node-1, node-2" in cluster.nodes[2].story()
        cluster.nodes[1].kill()
        cluster.restart(1)
        started(cluster, 1)
        assert limits(cluster)["node-2"] == found["node-2"], "as before, not half of three eighths"
        cluster.nodes[2].kill()
        cluster.start_node()
        started(cluster, 3)
        assert abs(limits(cluster)["node-4"] - eighth) <= 8, "what the dead one claimed is free"


def test_what_an_operator_says_is_taken_as_given() -> None:
    usable = machine.usable_memory()
    with Processes(1, memory="90%", replication=1) as cluster:
        assert limits(cluster)["node-1"] <= 0.9 * usable
        assert "claimed" not in cluster.nodes[0].story()
        cluster.start_node()
        started(cluster, 1)
        assert limits(cluster)["node-2"] == limits(cluster)["node-1"]
        assert "more memory is claimed than there is" in cluster.nodes[1].story()
