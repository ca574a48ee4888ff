"""Real processes with journals: kill -9 of everything, small full disks, ``memfs dev --data``."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

import memfs
from memfs.errors import MemfsError, NoSpaceError
from memfs.testing.ports import free_port
from memfs.testing.processes import Processes
from tests.support.patience import PATIENCE_SECONDS, until

pytestmark = pytest.mark.long

JOURNAL = ("--journal-blocks", "--ack=journal", "--journal-segment-size=1MiB")


class Journaled(Processes):
    """A cluster whose nodes keep journals; each of them can be restarted."""

    def __init__(self, *, nodes=3, flags=JOURNAL, **settings):
        super().__init__(nodes, flags=flags, **settings)
        self.journals = {}

    def flags_of(self, name):
        journal = self.journals.get(name, self.directory / name / "journal")
        return [f"--journal={journal}"]

    def kill_all(self):
        for node in self.nodes:
            node.signal(signal.SIGKILL)
        for node in self.nodes:
            node.kill()

    def restart_all(self):
        """Start all again; the first one, which keeps the coordinator, first."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        self.restart(0).wait_ready(deadline)
        others = [self.restart(index) for index in range(1, len(self.nodes))]
        for node in others:
            node.wait_ready(deadline)


def in_sync(fs, count=3):
    with contextlib.suppress(MemfsError):
        return len(fs.cluster_status().view.in_sync) == count
    return False


class Writer(threading.Thread):
    """Writes files of unique contents until the cluster is gone; knows what was acknowledged.

    Large files end at a bound, so that the cluster has room for all writers on the fastest disk.
    """

    LARGE_BYTES = 40 << 20

    def __init__(self, url, number):
        super().__init__()
        self.number = number
        self.acknowledged = {}
        self.url = url
        self.stopping = False

    def run(self):
        dice = random.Random(self.number)
        with memfs.connect(self.url, timeout_seconds=3) as fs, contextlib.suppress(MemfsError):
            written = 0
            for serial in range(1_000_000):
                if self.stopping:
                    return
                path = f"/w{self.number}-{serial}"
                large = [200_000, 3_000_000] if written < self.LARGE_BYTES else []
                data = dice.randbytes(dice.choice([10, 5000, *large]))
                written += len(data)
                fs.write_bytes(path, data)
                self.acknowledged[path] = hashlib.sha256(data).digest()


def check(fs, writers):
    for writer in writers:
        for path, digest in writer.acknowledged.items():
            assert hashlib.sha256(fs.read_bytes(path)).digest() == digest, path


def test_kill_all_and_start_again():
    with Journaled() as cluster:
        with memfs.connect(cluster.url) as fs:
            until(lambda: in_sync(fs))
        writers = []
        for cycle in range(2):
            mine = [Writer(cluster.url, 10 * cycle + number) for number in range(3)]
            for writer in mine:
                writer.start()
            until(lambda mine=mine: all(len(writer.acknowledged) > 3 for writer in mine))
            time.sleep(2)
            cluster.kill_all()
            for writer in mine:
                writer.join()
            writers += mine
            cluster.restart_all()
            with memfs.connect(cluster.url, timeout_seconds=60) as fs:
                until(lambda fs=fs: in_sync(fs))
                check(fs, writers)
                fs.write_bytes(f"/after-{cycle}", b"it goes on")


def test_each_node_restarts_under_its_number():
    with Journaled() as cluster, memfs.connect(cluster.url, timeout_seconds=60) as fs:
        until(lambda: in_sync(fs))
        data = random.Random(1).randbytes(9_000_000)
        fs.write_bytes("/file", data)
        for index in (1, 2):
            cluster.nodes[index].kill()
            cluster.restart(index).wait_ready(time.monotonic() + PATIENCE_SECONDS)
            until(lambda: in_sync(fs))
            assert fs.read_bytes("/file") == data
        assert [member.number for member in fs.cluster_status().view.members] == [1, 2, 3]


def test_a_planned_stop_keeps_the_membership():
    with Journaled() as cluster:
        with memfs.connect(cluster.url) as fs:
            until(lambda: in_sync(fs))
            fs.write_bytes("/file", b"content" * 100_000)
        for node in reversed(cluster.nodes):
            assert node.stop() == 0
        cluster.restart_all()
        with memfs.connect(cluster.url, timeout_seconds=60) as fs:
            until(lambda: in_sync(fs))
            assert fs.read_bytes("/file") == b"content" * 100_000
            assert [member.number for member in fs.cluster_status().view.members] == [1, 2, 3]


def run_node(*flags):
    """A node that is expected to end by itself: its exit status and what it says."""
    command = [sys.executable, "-m", "memfs.cli", "node", "--port=0", "--monitoring-port=-1"]
    done = subprocess.run(
        [*command, *flags], capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    return done.returncode, done.stderr


def test_what_is_refused_when_a_node_starts(tmp_path):
    with Journaled(nodes=1, replication=1) as cluster:
        first = f"--coordinator={cluster.nodes[0].url}"
        journal = cluster.directory / "node-1" / "journal"
        status, said = run_node(first, f"--data-directory={tmp_path}/a")
        assert status != 0 and "--journal" in said, said
        status, said = run_node(first, "--journal-blocks", f"--journal={journal}")
        assert status != 0 and "in use by another process" in said, said
        cluster.nodes[0].kill()
        status, said = run_node(
            f"--data-directory={tmp_path}/b", f"--journal={journal}", "--journal-blocks"
        )
        assert status != 0 and "the coordinator knows no cluster" in said, said
        with Journaled(nodes=1, replication=1) as other:
            status, said = run_node(
                f"--coordinator={other.nodes[0].url}",
                f"--journal={journal}",
                "--journal-blocks",
            )
            assert status != 0 and "belongs to cluster" in said, said


def test_damage_is_refused_and_says_what_to_do():
    with Journaled(nodes=1, replication=1) as cluster:
        with memfs.connect(cluster.url) as fs:
            for number in range(20):
                fs.mkdir(f"/d{number}")
        cluster.nodes[0].kill()
        top = cluster.directory / "node-1" / "journal" / "namespace"
        (path,) = top.glob("*.segment")
        content = bytearray(path.read_bytes())
        content[200] ^= 0xFF
        path.write_bytes(content)
        cluster.restart(0)
        until(lambda: not cluster.nodes[0].running)
        story = cluster.nodes[0].story()
        assert str(path) in story and "byte 72" in story, story
        assert "move the journal directory away" in story


def test_under_ram_an_operator_brings_the_names_back():
    with Journaled(flags=("--journal-segment-size=1MiB",)) as cluster:
        urls = [node.url for node in cluster.nodes]
        with memfs.connect(cluster.url) as fs:
            until(lambda: in_sync(fs))
            for number in range(50):
                fs.mkdir(f"/d{number}")
        time.sleep(1)
        cluster.kill_all()
        first = cluster.restart(0)
        until(lambda: "waiting for the cluster" in first.story())
        first.url = urls[0]
        for index in (1, 2):
            cluster.restart(index)
        until(lambda: all("waiting" in node.story() for node in cluster.nodes))
        url = "memfs://" + ",".join(url.removeprefix("memfs://") for url in urls)
        command = [sys.executable, "-m", "memfs.cli", f"--url={url}", "cluster"]
        command += ["force-recover", "--accept-data-loss"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        assert done.returncode == 0, done.stderr
        assert "log index 50" in done.stdout
        for node in cluster.nodes:
            node.wait_ready(time.monotonic() + PATIENCE_SECONDS)
        with memfs.connect(cluster.url, timeout_seconds=60) as fs:
            until(lambda: in_sync(fs))
            assert len(fs.listdir("/")) == 50


# --- a disk that is really full --------------------------------------------------------------


@contextlib.contextmanager
def small_disk(path, size):
    """A tmpfs of ``size`` at ``path``."""
    path.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True, capture_output=True)


def can_mount():
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return os.geteuid() == 0 and subprocess.run(probe, capture_output=True).returncode == 0


def test_a_disk_that_is_really_full(tmp_path):
    if not can_mount():
        print("not root: no small disk could be mounted, the full disk was not tried")
        return
    cluster = Journaled(nodes=1, replication=1, memory="256MiB")
    with small_disk(tmp_path / "disk", "24m") as disk:
        cluster.journals["node-1"] = disk / "journal"
        with cluster:
            full(cluster, disk)


def full(cluster, disk):
    written = {}
    with memfs.connect(cluster.url, timeout_seconds=10) as fs:
        with pytest.raises(NoSpaceError, match="journal"):
            for number in range(100):
                data = random.Random(number).randbytes(1_000_000)
                fs.write_bytes(f"/f{number}", data)
                written[f"/f{number}"] = data
        assert len(written) > 5
        before = cluster.nodes[0].log.read_text().count("\n")
        for number in range(100):
            with contextlib.suppress(NoSpaceError):
                fs.write_bytes(f"/more{number}", bytes(300_000))
                fs.remove(f"/more{number}")
        lines = cluster.nodes[0].log.read_text().splitlines()[before:]
        assert len(lines) < 10, "a line for each that is refused"
        for path, data in written.items():
            assert fs.read_bytes(path) == data
    cluster.nodes[0].kill()
    cluster.restart(0).wait_ready(time.monotonic() + PATIENCE_SECONDS)
    with memfs.connect(cluster.url, timeout_seconds=30) as fs:
        for path, data in written.items():
            assert fs.read_bytes(path) == data
        subprocess.run(["mount", "-o", "remount,size=96m", str(disk)], check=True)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                fs.write_bytes("/after", b"there is room" * 100_000)
                break
            except NoSpaceError:
                assert time.monotonic() < deadline
                time.sleep(0.3)
    cluster.nodes[0].kill()
    cluster.restart(0).wait_ready(time.monotonic() + PATIENCE_SECONDS)
    with memfs.connect(cluster.url, timeout_seconds=30) as fs:
        assert fs.read_bytes("/after") == b"there is room" * 100_000


# --- memfs dev --data ------------------------------------------------------------------------


@contextlib.contextmanager
def dev(port, data):
    command = [sys.executable, "-m", "memfs.cli", "dev", "--nodes=3", f"--port={port}"]
    process = subprocess.Popen(
        [*command, f"--data={data}", "--memory=64MiB"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert "3 nodes are up" in process.stdout.readline()
        yield f"memfs://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)


def test_a_whole_dev_cluster_restarts_on_its_data(tmp_path):
    port = free_port(3)
    content = {f"/f{number}": random.Random(number).randbytes(300_000) for number in range(20)}
    with dev(port, tmp_path) as url, memfs.connect(url, timeout_seconds=30) as fs:
        for path, data in content.items():
            fs.write_bytes(path, data)
    with dev(port, tmp_path) as url, memfs.connect(url, timeout_seconds=30) as fs:
        assert {path: fs.read_bytes(path) for path in content} == content
        fs.write_bytes("/more", b"more")
