"""Copies made again after a node was killed: small blocks, then large ones.

Four nodes, two copies; a node that does not keep the namespace is killed. The status is asked all
the time, from the moment in which it tells of the first block with too few copies to the one in
which all have theirs again. Nodes, the client and the questions share the processors. The first row
of each pair is the rate, the second how long it takes until the status tells of the loss: the
coordinator notices at once that the process ended, or after ``member_timeout_seconds``. Both have
no bound of bandwidth. The last row has the default one: what is left of the rate of a client that
reads small files one after the other while small blocks are copied.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.sharedctypes import Synchronized
from typing import NamedTuple

import memfs
from benchmarks.harness import Row, Scale
from memfs.cli.cluster_client import connected
from memfs.client.admin import AdminClient
from memfs.client.connect import client_config
from memfs.limits import KIB, MIB
from memfs.testing.processes import Processes

NODES = 4
COPIES = 2
PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.01
FLAGS = ("--log-level=warning",)
UNBOUND = "--healing-bandwidth=0"
READING_SECONDS = 2.0


class EqualFiles(NamedTuple):
    """Equal files."""

    files: int
    size: int


class SeenHealing(NamedTuple):
    """What was seen of one node's loss."""

    noticed: float
    """Seconds from the end of the process to the first status with blocks short of copies."""
    seconds: float
    """From there until none is."""
    blocks: int
    """Copies that were missing: all that the node had."""
    read: int = 0
    """Files that were read meanwhile."""


class ReadRates(NamedTuple):
    """Files a second that a client read."""

    before: float
    during: float


def run(scale: Scale) -> Iterator[Row]:
    """Kill a node under small blocks, and one under large ones."""
    loads = (
        ("blocks of 8 kB", EqualFiles(scale.pick(40_000, 200), 8000), "blocks/s", 30_000.0, 1),
        ("blocks of 4 MiB", EqualFiles(scale.pick(500, 4), 4 * MIB), "MB/s", float(KIB * MIB), 1e6),
    )
    for name, load, unit, goal, divisor in loads:
        seen = [killed(load) for _ in range(max(1, scale.rounds - 2))]
        amount = 1 if unit == "blocks/s" else load.size
        rate = statistics.median(amount * each.blocks / each.seconds for each in seen)
        yield Row(f"healing of {name}", unit, rate / divisor, "a fixed rate", goal / divisor, 1)
        noticed = statistics.median(each.noticed for each in seen)
        yield Row(
            f"until the loss of {name} is told",
            "s",
            noticed,
            "a fixed time",
            2,
            1,
            lower_is_better=True,
        )
    load = EqualFiles(scale.pick(20_000, 200), 8000)
    rates = [read_meanwhile(load) for _ in range(max(1, scale.rounds - 2))]
    yield Row(
        "reads of 8 kB while such blocks heal, default bandwidth",
        "files/s",
        statistics.median(rate.during for rate in rates),
        "before",
        statistics.median(rate.before for rate in rates),
        0.8,
    )


def killed(load: EqualFiles) -> SeenHealing:
    """Fill a new cluster, kill its last node, and watch."""
    flags = (*FLAGS, UNBOUND)
    with Processes(NODES, replication=COPIES, memory="3GiB", flags=flags) as cluster:
        with memfs.connect(cluster.url) as fs:
            fill(fs, load)
        return asyncio.run(watch(cluster, COPIES * load.files))


def read_meanwhile(load: EqualFiles) -> ReadRates:
    """The same with the default bandwidth, while another process reads file after file."""
    context = multiprocessing.get_context("spawn")
    count = context.Value("Q", 0)
    with Processes(NODES, replication=COPIES, memory="3GiB", flags=FLAGS) as cluster:
        with memfs.connect(cluster.url) as fs:
            paths = fill(fs, load)
        reader = context.Process(target=read_on, args=(cluster.url, paths, count), daemon=True)
        reader.start()
        while count.value < len(paths) // 100:
            time.sleep(POLL_SECONDS)
        before = count.value
        time.sleep(READING_SECONDS)
        before = count.value - before
        seen = asyncio.run(watch(cluster, COPIES * load.files, lambda: count.value))
        reader.kill()
        reader.join()
    return ReadRates(before / READING_SECONDS, seen.read / seen.seconds)


def read_on(url: str, paths: Sequence[str], count: Synchronized[int]) -> None:
    """Read one file after the other, for ever; ``count`` them."""
    with memfs.connect(url) as fs:
        for path in itertools.cycle(paths):
            fs.read_bytes(path)
            count.value += 1


def fill(fs: memfs.FileSystem, load: EqualFiles) -> list[str]:
    """Store the files; their paths."""
    paths: list[str] = []
    if load.size >= MIB:
        for number in range(load.files):
            paths.append(f"/{number}")
            fs.write_bytes(paths[-1], os.urandom(64) * (load.size // 64))
        return paths
    together = 1000
    for start in range(0, load.files, together):
        count = min(together, load.files - start)
        fs.mkdir(f"/{start}")
        some = [f"/{start}/{number}" for number in range(count)]
        fs.write_many({path: os.urandom(load.size) for path in some})
        paths += some
    return paths


async def watch(
    cluster: Processes, copies: int, read: Callable[[], int] = lambda: 0
) -> SeenHealing:
    """Kill the last node of ``cluster``, whose nodes hold so many ``copies``; what its status tells
    until all is whole. ``read``: files read so far."""
    victim = cluster.nodes[-1]
    async with connected(client_config(cluster.url)) as (_, session):
        admin = AdminClient(session)
        held = await held_blocks(admin, copies)
        victim.kill()
        killed_at = time.monotonic()
        began, before = 0.0, 0
        while True:
            healing = (await admin.status()).healing
            now = time.monotonic()
            assert now - killed_at < PATIENCE_SECONDS, healing
            if healing.blocks:
                began, before = began or now, before or read()
                assert sum(healing.endangered), "they are told by copies left"
            elif began and healing.complete:
                blocks = held[victim.name]
                return SeenHealing(began - killed_at, now - began, blocks, read() - before)
            await asyncio.sleep(POLL_SECONDS)


async def held_blocks(admin: AdminClient, copies: int) -> dict[str, int]:
    """How many blocks each node holds, once their heartbeats have told of all."""
    while True:
        held = {node.member.name: node.usage.blocks for node in (await admin.status()).nodes}
        if sum(held.values()) >= copies:
            return held
        await asyncio.sleep(POLL_SECONDS)
