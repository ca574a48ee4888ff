"""The client while nodes die or stand still: no error that another node could have prevented."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

import memfs
from memfs import aio, errors
from memfs.testing.processes import NodeProcess, Processes
from tests.support.patience import PATIENCE_SECONDS

MIB = 1 << 20
DATA = random.Random(2).randbytes(20 * MIB + 99)
FLAGS = ("--heartbeat-seconds=0.1", "--member-timeout-seconds=1", "--block-size=1MiB")


@pytest.fixture
def cluster() -> Iterator[Processes]:
    with Processes(nodes=3, replication=2, memory="256MiB", flags=FLAGS) as cluster:
        yield cluster


def other_than_primary(cluster: Processes, fs: memfs.FileSystem) -> NodeProcess:
    """A node that does not serve the namespace."""
    primary = next(each for each in fs.view.members if each.number == fs.view.primary)
    return next(node for node in cluster.nodes if node.name != primary.name)


@pytest.mark.parametrize("local", [True, False])
def test_a_node_dies_under_readers_and_writers(cluster: Processes, local: bool) -> None:
    with memfs.connect(cluster.url, local_descriptors=local) as fs:
        fs.write_bytes("/read", DATA)
        fs.write_bytes("/small", b"small")
        reader = fs.open("/read", "rb")
        writer = fs.open("/written", "wb")
        appender = fs.open("/read", "ab")
        writer.write(DATA[: 5 * MIB])
        assert reader.read(3 * MIB) == DATA[: 3 * MIB]
        other_than_primary(cluster, fs).kill()
        assert reader.read() == DATA[3 * MIB :]
        writer.write(DATA[5 * MIB :])
        writer.close()
        appender.write(b"appended")
        appender.close()
        assert fs.read_bytes("/written") == DATA
        assert fs.read_bytes("/read") == DATA + b"appended"
        assert fs.read_many(["/small", "/written"]) == [b"small", DATA]
        fs.write_many({f"/after{n}": b"x" * n for n in range(100)})
        assert [len(data) for data in fs.read_many(f"/after{n}" for n in range(100))] == [
            *range(100)
        ]
        reader.close()


def test_a_node_that_stands_still_is_passed_by(cluster: Processes) -> None:
    with memfs.connect(cluster.url, local_descriptors=False, hedge_seconds=0.1) as fs:
        fs.write_bytes("/f", DATA)
        still = other_than_primary(cluster, fs)
        still.signal(signal.SIGSTOP)
        assert fs.read_bytes("/f") == DATA
        still.signal(signal.SIGCONT)


def test_the_primarys_loss_is_said_clearly(cluster: Processes) -> None:
    with memfs.connect(cluster.url, timeout_seconds=2) as fs:
        fs.write_bytes("/f", b"x")
        for node in cluster.nodes:
            node.kill()
        with pytest.raises(errors.UnavailableError, match=r"127\.0\.0\.1:\d+") as caught:
            fs.stat("/f")
        assert caught.value.filename == "/f"
        with pytest.raises((errors.UnavailableError, errors.OutcomeUnknownError)):
            fs.mkdir("/d")


async def test_discovery_outlives_the_node_that_was_named(cluster: Processes) -> None:
    with memfs.connect(cluster.url) as blocking:
        named = other_than_primary(cluster, blocking)
    async with aio.connect(named.url) as fs:
        await fs.write_bytes("/f", DATA)
        named.kill()
        assert await fs.read_bytes("/f") == DATA
        await fs.write_bytes("/g", DATA[: 3 * MIB])
        assert await fs.read_bytes("/g") == DATA[: 3 * MIB]


CLOSING = """
import memfs, os, sys
fs = memfs.connect(timeout_seconds=2)
files = [fs.open(f"/open-{os.getpid()}-{number}", "wb") for number in range(int(sys.argv[1]))]
for file in files:
    file.write(b"not flushed")
print("open", flush=True)
sys.stdin.readline()
if sys.argv[2] == "close":
    try:
        fs.close()
        print("closed", flush=True)
    except memfs.errors.MemfsError as error:
        print(error.filename, flush=True)
"""


@pytest.mark.parametrize("way", ["close", "exit"])
@pytest.mark.parametrize("end", [NodeProcess.kill, NodeProcess.pause], ids=["killed", "paused"])
def test_many_open_files_end_with_a_dead_cluster_as_fast_as_one(
    cluster: Processes, end: Callable[[NodeProcess], None], way: str
) -> None:
    """A file that is lost is told of; all together have one budget."""
    url = cluster.url
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", CLOSING, str(count), way],
            env={**os.environ, "MEMFS_URL": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for count in (1, 12)
    ]
    for program in programs:
        assert program.stdout is not None and program.stdout.readline() == "open\n"
    for node in cluster.nodes:
        end(node)
    took = []
    for program in programs:  # one after the other
        began = time.monotonic()
        said, _ = program.communicate("go\n", timeout=PATIENCE_SECONDS)
        took.append(time.monotonic() - began)
        assert program.returncode == 0
        assert said.startswith("/open-") if way == "close" else said == ""
    one, many = took
    assert many < 3 * one
