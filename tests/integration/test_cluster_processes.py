"""A cluster of real processes: clients in other processes, SIGKILL, SIGSTOP, a clean end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import memfs
from memfs.client.session import member_requests
from memfs.errors import ClusterError
from memfs.testing.processes import Processes
from tests.support.patience import PATIENCE_SECONDS

FAST = ["--heartbeat-seconds=0.2", "--member-timeout-seconds=2"]


@pytest.fixture
def cluster():
    with Processes(nodes=3, replication=2, flags=FAST) as started:
        yield started


def command(cluster, *arguments, **options):
    """Run the ``memfs`` command in a process of its own."""
    environment = {**os.environ, "MEMFS_URL": cluster.url}
    arguments = [sys.executable, "-m", "memfs.cli", *arguments]
    return subprocess.run(
        arguments,
        env=environment,
        capture_output=True,
        check=True,
        timeout=PATIENCE_SECONDS,
        **options,
    )


def test_what_one_process_writes_another_reads(cluster, tmp_path):
    data = os.urandom(30_000_000)
    (tmp_path / "data").write_bytes(data)
    command(cluster, "put", str(tmp_path / "data"), "/data")
    with memfs.connect(cluster.url) as fs:
        assert fs.read_bytes("/data") == data
        fs.write_bytes("/back", data[::-1])
    command(cluster, "get", "/back", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == data[::-1]
    assert command(cluster, "cat", "/data").stdout == data
    command(cluster, "put", "-", "/piped", input=data[:1000])
    assert command(cluster, "cat", "/piped").stdout == data[:1000]


def test_a_killed_backup_costs_no_data(cluster):
    with memfs.connect(cluster.url) as fs:
        files = {f"/file-{number}": os.urandom(number * 5000) for number in range(100)}
        fs.write_many(files)
        cluster.nodes[2].kill()
        assert fs.read_many(files) == list(files.values())
        with memfs.connect(cluster.url) as fresh:
            assert fresh.read_many(files) == list(files.values())
            fresh.write_bytes("/new", b"written with two nodes")
        assert fs.read_bytes("/new") == b"written with two nodes"


def test_a_stopped_backup_delays_and_loses_nothing(cluster, monkeypatch):
    monkeypatch.setattr(member_requests, "MEMBER_SECONDS", 1.0)
    with memfs.connect(cluster.url) as fs:
        files = {f"/file-{number}": os.urandom(20_000) for number in range(40)}
        fs.write_many(files)
        cluster.nodes[1].signal(signal.SIGSTOP)
        try:
            for path, data in files.items():
                assert fs.read_bytes(path) == data
            fs.write_bytes("/during", b"slow but sure")
        finally:
            cluster.nodes[1].signal(signal.SIGCONT)
        assert fs.read_bytes("/during") == b"slow but sure"


def test_a_killed_primary_is_told_in_time(cluster):
    with memfs.connect(cluster.url, timeout_seconds=3) as fs:
        fs.write_bytes("/file", b"content")
        cluster.nodes[0].kill()
        with pytest.raises(ClusterError):
            fs.stat("/file")


def test_clients_in_threads_and_children(cluster):
    """One file system object used by many threads; then a forked child goes on with it."""
    with memfs.connect(cluster.url) as fs:
        failures = []

        def work(number):
            try:
                for step in range(20):
                    path = f"/thread-{number}-{step}"
                    fs.write_bytes(path, path.encode())
                    assert fs.read_bytes(path) == path.encode()
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(fs.listdir("/")) == 160


def test_a_node_stops_in_good_order(cluster):
    with memfs.connect(cluster.url) as fs:
        fs.write_bytes("/file", b"content")
        assert cluster.nodes[2].stop() == 0
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(fs.cluster_status().view.members) > 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert fs.read_bytes("/file") == b"content"


def test_a_node_that_cannot_start_shows_its_log():
    flags = ["--block-size=5000"]
    with pytest.raises(RuntimeError, match="block_size"), Processes(nodes=1, flags=flags):
        pass
