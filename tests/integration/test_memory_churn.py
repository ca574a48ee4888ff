"""A node's memory is what its status says, while small files of changing sizes come and go.

The bounds are those of docs/memory.md; nothing here measures time.
"""

from __future__ import annotations

import random
import re
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

import memfs
from memfs.errors import NoSpaceError
from memfs.limits import KIB, MIB
from memfs.testing.processes import Processes
from tests.support.held_memory import resident
from tests.support.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.alone

LIMIT = 96 * MIB
PHASES = ((100, 2 * KIB), (60 * KIB, 140 * KIB), (8 * KIB, 24 * KIB), (300 * KIB, 900 * KIB))
"""Lengths of the files of each phase."""
SLACK = 64 * MIB


def held_as_told(cluster: Processes, when: str) -> None:
    """Every node holds what it says, and no more than it may."""
    for node in cluster.nodes:
        before = resident(node.pid)
        with urlopen(f"{cluster.monitoring_url(node.name)}/metrics") as reply:
            text = reply.read().decode()
        told = {
            name: float(value)
            for name, value in re.findall(r"^memfs_memory_(\w+)_bytes (\S+)$", text, re.MULTILINE)
        }
        held = min(before, resident(node.pid))  # it may change between two questions
        assert held <= 1.1 * (told["used"] + told["spare"]) + SLACK, (when, held, told)
        assert held <= told["limit"] + SLACK, (when, held, told)


@pytest.fixture
def cluster(tmp_path: Path):
    with Processes(1, memory=f"{LIMIT // MIB}MiB", replication=1, monitoring=True) as cluster:
        yield cluster


def test_resident_memory_follows_the_account(cluster: Processes) -> None:
    (node,) = cluster.nodes
    empty = resident(node.pid)
    dice = random.Random(5)
    data = dice.randbytes(900 * KIB)
    with memfs.connect(cluster.url) as fs:
        held: list[str] = []
        for number, (least, most) in enumerate(PHASES):
            refused = False
            batches = 0
            while not refused and batches < 200:
                batches += 1
                length = dice.randint(least, most)
                count = max(1, min(150, 2 * MIB // length))
                files = {f"/p{number}-{batches}-{i}": data[:length] for i in range(count)}
                try:
                    fs.write_many(files)
                except NoSpaceError:
                    refused = True
                # A batch that is refused may have written some of its files.
                held += [path for path in files if not refused or fs.exists(path)]
                if batches % 8 == 0:
                    held_as_told(cluster, f"phase {number} is written")
            held_as_told(cluster, f"phase {number} is full")
            dice.shuffle(held)
            fs.read_many(held[:100])  # out of the node's own memory, which is lent
            for path in held[len(held) // 4 :]:
                fs.remove(path)
            del held[len(held) // 4 :]
            held_as_told(cluster, f"most of phase {number} is deleted")
        deadline = time.monotonic() + PATIENCE_SECONDS
        for path in held:
            fs.remove(path)
        held_as_told(cluster, "all is deleted")
        while (now := resident(node.pid)) > empty + 100 * MIB:
            assert time.monotonic() < deadline, f"{now} bytes stay, {empty} when it was empty"
            time.sleep(0.5)
        while (usage := fs.cluster_status().nodes[0].usage).used - usage.overhead > 0:
            assert time.monotonic() < deadline, usage
            time.sleep(0.5)
