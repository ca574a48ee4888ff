"""A node process is restarted thirty times: what the processes beside it take, does not grow."""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

import memfs
from memfs.machine import module_command
from memfs.testing.processes import Processes
from tests.support.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.alone, pytest.mark.nightly, pytest.mark.timeout(3600)]

RESTARTS = 30
WARM = 10
USERS = 8
MEMORY = 12 << 20
"""What the allocator may keep of one time or another; a gateway once grew by 2 MB per restart."""


class Taken(NamedTuple):
    """By one process."""

    memory: int
    """Resident bytes."""
    descriptors: int


def taken(pid: int) -> Taken:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Taken(pages * os.sysconf("SC_PAGESIZE"), len(os.listdir(f"/proc/{pid}/fd")))


@contextmanager
def gateway(url: str) -> Iterator[tuple[int, int]]:
    """Its process id and its port."""
    command = [*module_command("memfs.cli", "gateway", "--port=0"), f"--url={url}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().split()[-1].decode().rstrip("/")
            yield process.pid, int(line.rpartition(":")[2])
        finally:
            process.terminate()


def use(fs: memfs.FileSystem, port: int, data: bytes) -> None:
    """Through the gateway as several users, and beside it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for number in range(USERS):
        target = f"/webhdfs/v1/f{number}?user.name=user-{number}&op="
        connection.request("PUT", f"{target}CREATE&overwrite=true&data=true", data)
        assert connection.getresponse().read() == b""
        connection.request("GET", f"{target}OPEN")
        assert connection.getresponse().read() == data
        assert fs.read_bytes(f"/f{number}") == data
    connection.close()


def test_nobody_grows_by_the_restarts_of_a_node() -> None:
    flags = ["--heartbeat-seconds=0.2", "--member-timeout-seconds=2"]
    with (
        Processes(nodes=3, flags=flags) as cluster,
        memfs.connect(cluster.url) as fs,
        gateway(cluster.url) as (pid, port),
    ):
        fs.chmod("/", 0o777)
        data = os.urandom(1 << 20)
        counts: list[dict[str, Taken]] = []
        for number in range(RESTARTS):
            node = cluster.nodes[2]
            if number % 2:
                node.stop()
            else:
                node.kill()
            cluster.restart(2).wait_ready(time.monotonic() + PATIENCE_SECONDS)
            use(fs, port, data)
            pids = {"client": os.getpid(), "gateway": pid}
            pids |= {node.name: node.pid for node in cluster.nodes[:2]}
            counts.append({name: taken(each) for name, each in pids.items()})
        for name in counts[0]:
            early = [each[name] for each in counts[WARM // 2 : WARM + 5]]
            late = [each[name] for each in counts[-WARM:]]
            assert min(each.memory for each in late) <= max(early).memory + MEMORY, name
            most = max(each.descriptors for each in early)
            assert min(each.descriptors for each in late) <= most + 4, name
