"""A node is restarted again and again under a gateway: nothing is kept of what it was before."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections import Counter
from typing import NamedTuple

from gateway_served import Served

from memfs.node.blocks import BlockStore
from memfs.node.log.entries import Entry
from memfs.node.log.recent import RecentLog
from memfs.security.capabilities import Capability
from memfs.transport.connection import Connection
from tests.support.held import grown, held_by
from tests.support.patience import PATIENCE_SECONDS

RESTARTS = 16
BEFORE = 6
USERS = 6
NODE = 2


class Counts(NamedTuple):
    """What there is at one moment."""

    held: dict[str, Counter[str]]
    descriptors: int
    """Of the process, in which all run."""


def use(served: Served, data: bytes) -> None:
    """Every user writes and reads through the gateway, and so does a client beside it."""
    for number in range(USERS):
        path, user = f"/restarts/{number}", f"user-{number}"
        written = served.put(path, "CREATE", data, user=user, data="true", overwrite="true")
        assert written.status == 201, written.body
        assert served.get(path, "OPEN", user=user).body == data
        assert served.run(served.fs.read_bytes(path)) == data


def counted(served: Served) -> Counts:
    async def count() -> Counts:
        await asyncio.sleep(0.5)
        gc.collect()
        nodes = served.cluster.nodes
        roots = {"gateway": served.gateway, "client": served.fs, "1": nodes[0], "2": nodes[1]}
        aged = (
            RecentLog,
            Entry,
            BlockStore,
            Capability,
        )  # with bounds of their own
        held = {name: held_by(root, *aged) for name, root in roots.items()}
        return Counts(held, len(os.listdir("/proc/self/fd")))

    result: Counts = served.run(count())
    return result


def kept(first: Counts, last: Counts) -> dict[str, object]:
    """What there is more of than it was."""
    more = {name: grown(before, last.held[name]) for name, before in first.held.items()}
    found: dict[str, object] = {name: each for name, each in more.items() if each}
    if last.descriptors > first.descriptors + 30:
        found["descriptors"] = (first.descriptors, last.descriptors)
    return found


def test_nothing_of_former_incarnations_is_kept() -> None:
    served = Served(block_size=65_536, group_blocks=32)
    try:
        data = os.urandom(1_200_000)  # a memfd on each node, lent to whoever reads it here
        served.mkdir("/restarts")
        served.run(served.fs.chmod("/restarts", 0o777))
        use(served, data)
        for number in range(1, RESTARTS + 1):
            served.run(served.cluster.restart(NODE, crash=number % 4 == 0))
            use(served, data)
            if number == BEFORE:
                first = counted(served)
        deadline = time.monotonic() + PATIENCE_SECONDS
        last = counted(served)
        while kept(first, last):  # copies may be under way
            assert time.monotonic() < deadline, kept(first, last)
            last = counted(served)
        connections = last.held["gateway"][f"{Connection.__module__}.Connection"]
        assert connections <= (USERS + 1) * 2 * len(served.cluster.nodes)
    finally:
        served.close()
