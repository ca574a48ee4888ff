"""Copies that break off: nothing of them stays in the cluster but files that are whole."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_cluster import Cluster, dev_cluster, execute, start

import memfs
from memfs.limits import KIB, MIB
from tests.support.patience import PATIENCE_SECONDS, until

SMALL, LARGE = 64 * KIB, 12 * MIB
RECORD_BYTES = 1 * KIB
"""More than a node keeps beside the bytes of a block."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("dev")
    quick = {"MEMFS_NODE_SESSION_TIMEOUT_SECONDS": "3s"}  # what a killed client leaves goes then
    with dev_cluster(directory, "--memory=96MiB", nodes=2, **quick) as cluster:
        yield cluster


@pytest.fixture
def fs(cluster: Cluster) -> Iterator[memfs.FileSystem]:
    with memfs.connect(cluster.url) as fs:
        yield fs
        for name in fs.listdir("/"):
            path = f"/{name}"
            fs.rmtree(path) if fs.isdir(path) else fs.remove(path)
        until(lambda: held(cluster) == 0)  # the next test begins with all of the memory


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of both kinds, more than half of what the cluster holds."""
    top = tmp_path_factory.mktemp("source")
    for directory in ("a", "b"):
        (top / directory).mkdir()
        for number in range(40):
            (top / directory / f"small-{number}").write_bytes(os.urandom(SMALL))
        for number in range(2):
            (top / directory / f"large-{number}").write_bytes(os.urandom(LARGE))
    return top


def held(cluster: Cluster) -> int:
    """Bytes of blocks that the nodes have, all copies."""
    lines = execute(cluster.url, ["df", "--nodes", "--json"]).stdout.splitlines()
    return sum(json.loads(line)["data"] for line in lines)


def wait_nothing_left(cluster: Cluster, fs: memfs.FileSystem, source: Path) -> list[str]:
    """Until nothing is held but what files have, each of which is whole; returns their names."""
    names = [
        os.path.join(directory, name) for directory, _, files in fs.walk("/") for name in files
    ]
    for name in names:
        relative = name.removeprefix("/").partition("/")[2]
        assert fs.read_bytes(name) == (source / relative).read_bytes(), name
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (left := held(cluster) - fs.du("/").space) > len(names) * 2 * RECORD_BYTES:
        assert time.monotonic() < deadline, f"{left} bytes of no file"
        time.sleep(0.1)
    return names


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_put_that_is_ended(
    cluster: Cluster, fs: memfs.FileSystem, source: Path, number: int
) -> None:
    for share in (1, 4, 16):  # of the bytes, at which it is ended
        target = f"/{share}"
        before = fs.statvfs().used
        process = start(cluster.url, "put", "-r", "-q", str(source), target)
        while fs.statvfs().used < before + 2 * LARGE // share and process.poll() is None:
            pass
        process.send_signal(number)
        process.wait()
        wait_nothing_left(cluster, fs, source)
        if fs.exists(target):
            fs.rmtree(target)
        wait_nothing_left(cluster, fs, source)


def test_a_put_without_room(cluster: Cluster, fs: memfs.FileSystem, source: Path) -> None:
    whole = sum(path.is_file() for path in source.rglob("*"))
    said = []
    for turn in range(6):
        done = execute(cluster.url, ["put", "-r", "-q", str(source), f"/{turn}"])
        found = wait_nothing_left(cluster, fs, source)
        if done.returncode:
            said.append(done.stderr.decode())
        else:
            assert sum(name.startswith(f"/{turn}/") for name in found) == whole
    assert said, "there was room for all"
    for each in said:
        assert each.startswith(f"memfs: cannot put '{source}"), each  # a file, or its directory
        assert "memory is full" in each and each.count("\n") == 1


def test_a_stream_without_room(cluster: Cluster, fs: memfs.FileSystem, source: Path) -> None:
    fs.write_bytes("/kept", b"what was there")
    process = start(cluster.url, "put", "-", "/kept", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None and process.stderr is not None
    with contextlib.suppress(BrokenPipeError):
        while process.poll() is None:
            process.stdin.write(bytes(MIB))
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    with process.stderr:
        said = process.stderr.read().decode()
    assert process.wait() == 1
    assert "memory is full" in said and said.count("\n") == 1
    assert fs.read_bytes("/kept") == b"what was there"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while held(cluster) > fs.du("/").space + 2 * RECORD_BYTES:
        assert time.monotonic() < deadline
        time.sleep(0.1)
