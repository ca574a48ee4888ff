"""Many files: what grows with them, and the longest that another client waits meanwhile.

One node with a journal is filled by batches, asked and listed; a directory that holds a tenth of
all files is renamed and removed; the node is stopped and starts from its journal; a second node
joins, catches up and becomes the primary; it is killed, and the first takes over. All the while
another process asks for the status of one file every two milliseconds, and in turn a node of
another cluster that has nothing else to do: how long that one takes is what the machine adds.

``BENCHMARK_FILES`` in the environment: how many files, a million by default.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Final, NamedTuple

import memfs
from benchmarks.harness import Row, Scale, Stopwatch, alternate
from memfs.machine import module_command
from memfs.testing.processes import Processes

PER_DIRECTORY: Final = 1000
PROBE: Final = "/probe"
PROBE_SECONDS: Final = 0.002
READY_SECONDS: Final = 600.0
PAUSE_MS: Final = 20.0
LEASE_SECONDS: Final = 3.0
FEW: Final = 10_000


class _Journalled(Processes):
    """Each node has a journal of its own."""

    def flags_of(self, name: str) -> list[str]:
        return [*super().flags_of(name), f"--journal={self.directory / name / 'journal'}"]


class _Waits(NamedTuple):
    """The longest of the other client since it was asked last, in milliseconds."""

    here: float
    idle: float
    """For the node that has nothing else to do."""


class _Prober:
    """Another client, in a process of its own."""

    def __init__(self, url: str, idle: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_probe, args=(url, idle, theirs), daemon=True)
        self._process.start()
        self.waits()

    def waits(self) -> _Waits:
        """What it saw since the last call."""
        self._pipe.send(True)
        return _Waits(*self._pipe.recv())

    def close(self) -> None:
        self._pipe.send(False)
        self._process.join(READY_SECONDS)


def _probe(url: str, idle: str, pipe: Connection) -> None:
    """Ask both again and again, and tell how long it took when told to."""
    with (
        memfs.connect(url, timeout_seconds=READY_SECONDS) as here,
        memfs.connect(idle, timeout_seconds=READY_SECONDS) as there,
    ):
        longest = [0.0, 0.0]
        while True:
            for at, fs in enumerate((here, there)):
                started = time.perf_counter()
                fs.exists(PROBE)
                longest[at] = max(longest[at], (time.perf_counter() - started) * 1e3)
            if not pipe.poll(PROBE_SECONDS):
                continue
            if not pipe.recv():
                return
            pipe.send(longest)
            longest = [0.0, 0.0]


def run(scale: Scale) -> Iterator[Row]:
    """Fill one cluster and do to it, once, what grows."""
    count = scale.pick(int(os.environ.get("BENCHMARK_FILES", "1000000")), 2000)
    flags = ["--log-level=warning", "--journal-blocks", "--ack=journal"]
    with (
        Processes(1, replication=1, memory="64MiB") as idle,
        _Journalled(1, replication=1, memory="6GiB", flags=flags) as cluster,
        memfs.connect(cluster.url, timeout_seconds=READY_SECONDS) as fs,
    ):
        fs.write_bytes(PROBE, b"")
        prober = _Prober(cluster.url, idle.url)
        try:
            yield from _steps(scale, count, cluster, fs, prober)
        finally:
            prober.close()


def _steps(
    scale: Scale, count: int, cluster: _Journalled, fs: memfs.FileSystem, prober: _Prober
) -> Iterator[Row]:
    def pause(what: str) -> Row:
        """How long the other client waited at most."""
        waits = prober.waits()
        return Row(
            f"longest wait of another client: {what}", "ms", waits.here,
            f"aim; an idle node {waits.idle:.0f}", PAUSE_MS, 1, lower_is_better=True,
        )  # fmt: skip

    def timed(action: Callable[[], object]) -> float:
        with Stopwatch() as watch:
            action()
        return watch.seconds

    first = min(count, scale.pick(FEW, 1000))
    fs.mkdir("/large")
    _fill(fs, range(first))
    prober.waits()
    seconds = timed(lambda: _fill(fs, range(first, count)))
    yield Row(
        f"fill with {count:,} files, batches",
        "files/s",
        (count - first) / seconds,
        "aim",
        16_500,
        1,
    )
    yield pause("filling")
    times = _stat_us(fs, scale.rounds, few=_sample(first), many=_sample(count))
    yield Row(
        "stat of a random file", "µs", times["many"], f"of {first:,} files", times["few"], 1.3, True
    )
    prober.waits()
    listed = len(fs.listdir("/large"))
    assert listed == count // 10, listed
    yield pause(f"listing {listed:,} names")
    fs.rename("/large", "/renamed")
    yield pause("renaming that directory")
    seconds = timed(lambda: fs.rmtree("/renamed"))
    yield Row(f"remove that directory, {listed:,} files", "s", seconds, "aim", 1, 1, True)
    yield pause("removing it")
    time.sleep(scale.pick(5, 0))  # what was removed is given back in steps
    yield pause("giving back what it held")
    left = count - listed
    cluster.nodes[0].stop()
    seconds = timed(lambda: cluster.restart(0).wait_ready(time.monotonic() + READY_SECONDS))
    yield Row(f"restart from the journal, {left:,} files", "files/s", left / seconds, "aim", 3e5, 1)
    fs.stat(PROBE)
    prober.waits()
    seconds = timed(lambda: _join(cluster, fs))
    yield Row(f"a new backup catches up with {left:,} files", "s", seconds, "aim", 60, 1, True)
    yield pause("meanwhile")
    _hand_over(cluster, fs)
    prober.waits()
    cluster.nodes[1].kill()
    fs.stat(PROBE)
    took = prober.waits().here / 1e3
    peer = "lease and a second"
    yield Row("failover: longest wait", "s", took, peer, LEASE_SECONDS + 1, 1, True)


def _path(number: int) -> str:
    """A tenth lies in one directory, the others a thousand together."""
    if number % 10 == 0:
        return f"/large/{number:09}"
    return f"/d{number // PER_DIRECTORY:06}/{number:09}"


def _sample(of: int) -> list[str]:
    return [_path(number) for number in random.Random(1).choices(range(of), k=2000)]


def _fill(fs: memfs.FileSystem, numbers: range) -> None:
    for start in range(numbers.start, numbers.stop, PER_DIRECTORY):
        fs.mkdir(f"/d{start // PER_DIRECTORY:06}")
        few = range(start, min(numbers.stop, start + PER_DIRECTORY))
        fs.write_many({_path(number): b"" for number in few})


def _stat_us(fs: memfs.FileSystem, rounds: int, **samples: list[str]) -> dict[str, float]:
    """Microseconds of a stat, the medians, of samples of paths in turn: taken before and after
    many files were made, they would show what the machine does meanwhile."""

    def median(paths: list[str]) -> float:
        took = []
        for path in paths:
            started = time.perf_counter()
            fs.exists(path)
            took.append(time.perf_counter() - started)
        return statistics.median(took) * 1e6

    contenders = {name: functools.partial(median, paths) for name, paths in samples.items()}
    return alternate(contenders, rounds)


def _join(cluster: _Journalled, fs: memfs.FileSystem) -> None:
    """Start another node; returns when it is in sync."""
    cluster.start_node().wait_ready(time.monotonic() + READY_SECONDS)
    _wait_in_sync(fs)


def _hand_over(cluster: _Journalled, fs: memfs.FileSystem) -> None:
    """Make the second node the primary: the first one keeps the coordinator."""
    words = module_command("memfs.cli", "cluster", "hand-over", f"--url={cluster.url}")
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=READY_SECONDS)
    _wait_in_sync(fs)


def _wait_in_sync(fs: memfs.FileSystem) -> None:
    end = time.monotonic() + READY_SECONDS
    while len(fs.cluster_status().view.in_sync) < 2:
        assert time.monotonic() < end, "the new node does not come in sync"
        time.sleep(0.1)
