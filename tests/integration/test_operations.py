"""What operators do, on real processes: look, wait, hand over, drain, restart in turn, recover."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import memfs
from memfs.testing.processes import Processes
from tests.support.etcd import EtcdCluster
from tests.support.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.long

QUICK = (
    "--heartbeat-seconds=0.2",
    "--member-timeout-seconds=1",
    "--lease-seconds=1",
    "--removal-seconds=5",
    "--orphan-sweep-seconds=1",
)


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdCluster]:
    with EtcdCluster(1) as members:
        yield members


@contextlib.contextmanager
def cluster_of(etcd: EtcdCluster, nodes: int, prefix: str, *flags: str, **options: int):
    coordinator = f"{etcd.url}/{prefix}"
    flags = (*QUICK, *flags)
    with Processes(nodes, coordinator=coordinator, flags=flags, **options) as cluster:
        assert memfs_command(cluster.url, "wait", "--nodes", str(nodes)).returncode == 0
        yield cluster


def start(url: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "memfs.cli", "cluster", *arguments],
        env=os.environ | {"MEMFS_URL": url, "MEMFS_CONFIG": os.devnull},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def memfs_command(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(url, *arguments)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def status(url: str) -> dict:
    return json.loads(memfs_command(url, "status", "--json").stdout)


def primary_of(found: dict) -> str:
    return next(node["name"] for node in found["nodes"] if node["primary"])


def test_looking_and_handing_over(etcd):
    with cluster_of(etcd, 4, "look") as cluster:
        shown = memfs_command(cluster.url, "status")
        assert shown.returncode == 0
        assert "healthy" in shown.stdout and "(2 required, 3 wanted)" in shown.stdout
        found = status(cluster.url)
        assert sum(node["ring_share"] for node in found["nodes"]) == 1
        before = primary_of(found)
        with memfs.connect(cluster.url) as fs:
            fs.write_bytes("/file", b"content")

        refused = memfs_command(cluster.url, "force-recover", "--accept-data-loss")
        assert refused.returncode == 1
        assert refused.stderr == (
            f"memfs: nothing is recovered: {before} is the primary and serves\n"
        )
        stranger = memfs_command(cluster.url, "hand-over", "--user", "stranger")
        assert (stranger.returncode, primary_of(status(cluster.url))) == (1, before)
        unknown = memfs_command(cluster.url, "hand-over", "nobody")
        assert unknown.returncode == 1 and "there is no node 'nobody'" in unknown.stderr

        backup = next(
            node["name"] for node in found["nodes"] if node["in_sync"] and not node["primary"]
        )
        done = memfs_command(cluster.url, "hand-over", backup)
        assert done.stdout == f"{backup} is the primary now, {before} before\n", done.stderr
        assert primary_of(status(cluster.url)) == backup

        watching = start(cluster.url, "status", "--watch", "0.1")
        lines = [watching.stdout.readline() for _ in range(3)]
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=PATIENCE_SECONDS)
        assert watching.returncode == 130
        assert all(f"primary {backup}; 3 in sync; 4 of 4 nodes alive" in x for x in lines), lines
        taker = next(node for node in cluster.nodes if node.name == backup)
        assert "took over by handover" in taker.log.read_text()

        late = memfs_command(cluster.url, "wait", "--nodes", "9", "--timeout", "1s")
        assert late.returncode == 1 and "4 of 9 nodes are there" in late.stderr


def test_a_forced_recovery_begins_with_what_is_left(etcd):
    flags = ("--min-in-sync=1", "--removal-seconds=15")  # who is silent stays a member for now
    with cluster_of(etcd, 2, "recover", *flags, replication=2) as cluster:
        found = status(cluster.url)
        names = [node.name for node in cluster.nodes]
        primary = cluster.nodes[names.index(primary_of(found))]
        backup = next(node for node in cluster.nodes if node is not primary)
        with memfs.connect(cluster.url) as fs:
            fs.write_bytes("/before", b"kept")
            backup.pause()
            deadline = time.monotonic() + PATIENCE_SECONDS
            while len(fs.cluster_status().view.in_sync) > 1:
                assert time.monotonic() < deadline, "a silent backup stays in sync"
                time.sleep(0.05)
            fs.mkdir("/after")
        primary.kill()
        backup.resume()

        shown = memfs_command(backup.url, "status")
        assert shown.returncode == 1
        assert f"gone or out of reach: {primary.name}" in shown.stdout, shown.stdout
        assert "memfs cluster force-recover --accept-data-loss" in shown.stdout

        asked = memfs_command(backup.url, "force-recover")
        assert asked.returncode == 1 and "say --accept-data-loss" in asked.stderr
        assert f"given up: what only {primary.name}" in asked.stdout

        done = memfs_command(backup.url, "force-recover", "--accept-data-loss")
        assert done.returncode == 0, done.stderr
        assert f"{backup.name} is the primary now" in done.stdout
        with memfs.connect(backup.url) as fs:
            assert fs.read_bytes("/before") == b"kept"
            assert not fs.exists("/after")
            fs.write_bytes("/new", b"written", timeout=PATIENCE_SECONDS)  # once node 1 is removed
        waited = memfs_command(backup.url, "wait")
        assert waited.returncode == 1  # one node is not enough for two copies
        assert "not healthy: under-replicated: 2 blocks" in waited.stderr


class Load:
    """A client that writes, reads and removes until it is told to stop."""

    def __init__(self, url: str) -> None:
        self.operations = 0
        self.failure: BaseException | None = None
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with memfs.connect(self._url) as fs:
                while not self._stop.is_set():
                    self._step(fs, self.operations)
                    self.operations += 1
        except BaseException as error:
            self.failure = error

    def _step(self, fs: memfs.FileSystem, number: int) -> None:
        path, data = f"/load-{number % 20}", os.urandom(70_000 + number % 7)
        fs.write_bytes(path, data)
        assert fs.read_bytes(path) == data
        fs.rename(path, f"{path}-renamed")
        assert fs.read_bytes(f"{path}-renamed") == data
        fs.remove(f"{path}-renamed")


def restart_in_turn(cluster: Processes, load: Load) -> None:
    for index in range(len(cluster.nodes)):
        before = load.operations
        assert cluster.nodes[index].stop() == 0
        assert memfs_command(cluster.url, "wait").returncode == 0
        cluster.restart(index).wait_ready(time.monotonic() + PATIENCE_SECONDS)
        waited = memfs_command(cluster.url, "wait", "--nodes", str(len(cluster.nodes)))
        assert waited.returncode == 0, waited.stderr
        assert load.failure is None, load.failure
        assert load.operations > before, "the load stands still"


def test_a_rolling_restart_is_invisible(etcd):
    with cluster_of(etcd, 4, "rolling", replication=2) as cluster:
        content = {f"/kept-{number}": os.urandom(200_000) for number in range(20)}
        with memfs.connect(cluster.url) as fs:
            for path, data in content.items():
                fs.write_bytes(path, data)
            with Load(cluster.url) as load:
                restart_in_turn(cluster, load)
            assert load.failure is None, load.failure
            for path, data in content.items():
                assert fs.read_bytes(path) == data


def test_drained_nodes_lose_nothing_of_single_copies(etcd):
    with cluster_of(etcd, 3, "drain", "--drain-blocks", replication=1) as cluster:
        content = {f"/single-{number}": os.urandom(300_000) for number in range(30)}
        with memfs.connect(cluster.url) as fs:
            for path, data in content.items():
                fs.write_bytes(path, data)
            for index in range(3):
                assert cluster.nodes[index].stop() == 0
                assert "drain done" in cluster.nodes[index].log.read_text()
                for path, data in content.items():
                    assert fs.read_bytes(path) == data
                cluster.restart(index).wait_ready(time.monotonic() + PATIENCE_SECONDS)
                assert memfs_command(cluster.url, "wait", "--nodes", "3").returncode == 0


def test_a_cluster_that_is_stopped_whole_does_not_wait_for_its_drain(etcd):
    with cluster_of(etcd, 3, "shutdown", "--drain-blocks") as cluster:
        with memfs.connect(cluster.url) as fs:
            fs.write_bytes("/f", os.urandom(3_000_000))
        with ThreadPoolExecutor() as threads:  # stop() waits for far less than drain_seconds
            assert list(threads.map(lambda node: node.stop(), cluster.nodes)) == [0, 0, 0]
