"""Mounts while nodes, workers and clusters fail: a pause, an error, never a dead directory."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_cluster import Cluster, dev_cluster

from tests.support.mounts import Mounted, mounted, need_mounts
from tests.support.patience import PATIENCE_SECONDS, until


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of its own: it will be damaged."""
    need_mounts()
    (tmp_path / "dev").mkdir()
    with dev_cluster(tmp_path / "dev", "--memory=256MiB") as running:
        yield running


class Writer(threading.Thread):
    """Writes files with their number in them, one after the other, until it is told to stop."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self.done: list[int] = []
        self.failure: OSError | None = None
        self.stopping = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            try:
                (self.root / f"f{number}").write_bytes(content(number))
            except OSError as error:
                self.failure = error
                return
            self.done.append(number)
            number += 1

    def wait_for(self, count: int) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while len(self.done) < count and self.failure is None and time.monotonic() < until:
            time.sleep(0.02)
        assert self.failure is None and len(self.done) >= count, (self.failure, len(self.done))


def content(number: int) -> bytes:
    return str(number).encode() * 2000


def test_a_lost_primary_is_a_pause(fragile: Cluster, tmp_path: Path) -> None:
    with mounted(fragile.url, tmp_path) as here:
        writer = Writer(here.root)
        writer.start()
        try:
            writer.wait_for(5)
            os.kill(fragile.nodes()["node-1"], signal.SIGKILL)
            writer.wait_for(len(writer.done) + 10)
        finally:
            writer.stopping.set()
            writer.join()
        for number in writer.done:
            assert (here.root / f"f{number}").read_bytes() == content(number)


def test_a_worker_killed_again_and_again_is_a_pause(cluster: Cluster, tmp_path: Path) -> None:
    need_mounts()
    with mounted(cluster.url, tmp_path) as here:
        where = here.root / "worker"
        where.mkdir()
        writer = Writer(where)
        writer.start()
        try:
            for _ in range(3):
                writer.wait_for(len(writer.done) + 5)
                for worker in here.processes("work"):
                    os.kill(worker, signal.SIGKILL)
        finally:
            writer.stopping.set()
            writer.join()
        assert writer.failure is None
        for number in writer.done:
            assert (where / f"f{number}").read_bytes() in (content(number), b"")
        assert sum((where / f"f{number}").stat().st_size > 0 for number in writer.done) >= (
            len(writer.done) - 3
        )


def test_without_a_cluster_calls_fail_and_can_be_killed(fragile: Cluster, tmp_path: Path) -> None:
    with mounted(fragile.url, tmp_path, "timeout=3s") as here:
        (here.root / "there").write_text("x")
        for node in fragile.nodes().values():
            os.kill(node, signal.SIGSTOP)
        try:
            with pytest.raises(OSError) as failed:
                (here.root / "there").read_text()
            assert failed.value.errno == errno.EIO
            waiting = subprocess.Popen(
                [sys.executable, "-c", f"open({str(here.root / 'there')!r})"],
                stderr=subprocess.DEVNULL,
            )
            time.sleep(0.5)
            waiting.send_signal(signal.SIGINT)
            waiting.wait(PATIENCE_SECONDS)
        finally:
            for node in fragile.nodes().values():
                os.kill(node, signal.SIGCONT)
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            try:
                assert (here.root / "there").read_text() == "x"
                return
            except OSError:
                time.sleep(0.2)
        pytest.fail("the mount does not come back")


def test_a_mount_whose_processes_are_gone_can_be_ended_and_made_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    need_mounts()
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with mounted(cluster.url, first) as here:
        for process in (*here.processes("keep"), *here.processes("work")):
            os.kill(process, signal.SIGKILL)
        with pytest.raises(OSError) as failed:
            os.listdir(here.root)
        if failed.value.errno == errno.ECONNABORTED:  # queued while the last descriptor went
            with pytest.raises(OSError) as failed:
                os.listdir(here.root)
        assert failed.value.errno == errno.ENOTCONN
        check_remount(cluster, here)


def check_remount(cluster: Cluster, here: Mounted) -> None:
    """What to do is said, and works."""
    from tests.support.mounts import fuse

    done = fuse("mount", f"--log-file={here.log}", str(here.root), url=cluster.url)
    assert done.returncode == 1 and "memfs fuse umount" in done.stderr
    assert fuse("umount", str(here.root)).returncode == 0
    done = fuse("mount", f"--log-file={here.log}", str(here.root), url=cluster.url)
    assert done.returncode == 0, done.stderr
    (here.root / "again").write_text("works")


def test_a_process_that_is_killed_ends_whatever_it_has_open(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The kernel closes its files for it, and tells of the signal in the same breath."""
    kill_itself = """
import os, signal, sys
descriptor = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
os.write(descriptor, b"written")
os.kill(os.getpid(), signal.SIGKILL)
"""
    with mounted(cluster.url, tmp_path) as here:
        for number in range(20):
            path = here.root / f"killed-{number}"
            killed = subprocess.Popen([sys.executable, "-ISc", kill_itself, str(path)])
            assert killed.wait(PATIENCE_SECONDS) == -signal.SIGKILL
            until(lambda path=path: path.read_bytes() == b"written")
        assert here.story() == ""
