"""What one seed chooses, as data: a small random part of all that could go wrong ("swarm").

Pure. Most seeds leave out most kinds of faults, since faults hide one another: a cluster whose
links flap all the time never gets far enough to lose anything.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from memfs.config import NodeConfig
from memfs.limits import KIB, MIB
from memfs.testing.simulation.network_conditions import Conditions

JOURNALED_SHARE = 1 / 7
DEAFENED_SHARE = 1 / 4
MOUNTED_SHARE = 1 / 4
DEAF_CLIENTS_SHARE = 1 / 2
"""Of runs with mounts."""
MOUNTS = "WatchingMounts"
"""The workload in which clients believe what they have read."""


@dataclass(frozen=True)
class Plan:
    """One run."""

    seed: int
    nodes: int
    clients: int
    seconds: float
    """Virtual time under faults."""
    pause_seconds: float
    """Mean time between two strikes."""
    faults: tuple[str, ...]
    """Kinds that may strike."""
    workloads: tuple[str, ...]
    conditions: Conditions
    settings: dict[str, Any]
    """Fields of every node's NodeConfig."""
    disk_seconds: float
    """How long work waits for a disk, at most: before it is done, and again behind it."""
    lease_seconds: float
    """The unit of a fault's length."""
    bounds: dict[str, float]
    """Constants, by their dotted names, that this run makes smaller."""
    repeat_chance: float
    """Chance that a client sends an answered command once more."""
    deafened: bool = False
    """At the end, when all is well, the primary hears the other nodes no more."""

    def __str__(self) -> str:
        return (
            f"{self.nodes} nodes, {self.clients} clients, {self.settings['replication']} copies, "
            f"lease {self.lease_seconds:g} s, {self._journal}"
            f"faults {' '.join(self.faults) or 'none'}, "
            f"workloads {' '.join(self.workloads)}"
        )

    @property
    def _journal(self) -> str:
        return f"journal, ack {self.settings['ack']}, " if "journal" in self.settings else ""


def choose(
    seed: int,
    kinds: Sequence[str],
    workloads: Sequence[str],
    disk_kinds: Sequence[str] = (),
    watcher_kinds: Sequence[str] = (),
    *,
    seconds: float = 20.0,
) -> Plan:
    """The plan of a seed.

    ``kinds``, ``workloads``, ``disk_kinds`` and ``watcher_kinds``: all there are.
    """
    dice = random.Random(f"plan {seed}")
    journal = _journal(dice)
    nodes = dice.choices((3, 4, 5, 6, 7), (40, 20, 25, 8, 7))[0]
    lease_seconds = dice.choice((1.0, 2.0, 3.0))
    plan = Plan(
        seed=seed,
        nodes=nodes,
        clients=dice.randint(2, 4),
        seconds=seconds * dice.uniform(0.6, 1.4),
        pause_seconds=dice.choice((0.5, 1.0, 2.0, 4.0)),
        faults=(
            *_some(dice, kinds, dice.choice((1, 2, 2, 3, 3, 4, 5, 6))),
            *(_some(dice, disk_kinds, dice.choice((1, 2, 2, 3))) if journal else ()),
        ),
        workloads=_some(dice, workloads, dice.choice((1, 2, 2, 3))),
        conditions=_conditions(dice),
        settings=_settings(dice, lease_seconds) | journal,
        disk_seconds=dice.choice((0.002, 0.002, 0.02, 0.1)),
        lease_seconds=lease_seconds,
        bounds=_bounds(dice, RARE),
        repeat_chance=dice.choice((0.0, 0.0, 0.2)),
        deafened=dice.random() < DEAFENED_SHARE,
    )
    if dice.random() < MOUNTED_SHARE:
        more = tuple(kind for kind in watcher_kinds if dice.random() < DEAF_CLIENTS_SHARE)
        plan = replace(plan, workloads=(*plan.workloads, MOUNTS), faults=(*plan.faults, *more))
    return replace(plan, bounds=plan.bounds | _bounds(dice, RARE_TOO))


def _some(dice: random.Random, names: Sequence[str], count: int) -> tuple[str, ...]:
    return tuple(sorted(dice.sample(list(names), min(count, len(names)))))


def _conditions(dice: random.Random) -> Conditions:
    """Mostly a good network of one building; sometimes far, shredding, narrow or losing."""
    return dice.choices(
        (
            Conditions(split_chance=0.02),
            Conditions(split_chance=0.02, delay_min=0.002, delay_max=0.03),
            Conditions(split_chance=0.6, window_bytes=16 * KIB),
            Conditions(split_chance=0.02, bytes_per_second=2e6),
            Conditions(split_chance=0.05, reset_chance=0.002),
            Conditions(split_chance=0.05, loss_chance=0.01),
        ),
        (50, 10, 10, 10, 10, 10),
    )[0]


def _settings(dice: random.Random, lease: float) -> dict[str, Any]:
    settings = {
        "replication": dice.choices((1, 2, 3), (6, 70, 24))[0],
        "block_size": 4 * KIB,
        "group_blocks": dice.choice((1, 4, 16)),
        "memory": dice.choices((64 * MIB, 1 * MIB), (85, 15))[0],
        "lease_seconds": lease,
        "heartbeat_seconds": dice.choice((0.3, 0.5, 1.0)),
        "member_timeout_seconds": max(2.0, dice.choice((1.0, 1.5)) * lease),
        "session_timeout_seconds": dice.choice((3.0, 10.0, 60.0)),
        "orphan_sweep_seconds": dice.choice((1.0, 3.0, 10.0)),
        "removal_seconds": dice.choice((10.0, 30.0)),
        "scrub_seconds": 5.0,
    }
    return {name: settings[name] for name in settings if name in NodeConfig.__dataclass_fields__}


def _journal(dice: random.Random) -> dict[str, Any]:
    """One cluster in seven keeps a journal; most of those acknowledge what is on the disks."""
    if dice.random() >= JOURNALED_SHARE:
        return {}
    ack = dice.choices(("journal", "ram"), (75, 25))[0]
    return {
        "journal": "/journal",
        "journal_blocks": ack == "journal" or dice.random() < 0.5,
        "journal_segment_size": 64 * KIB,
        "ack": ack,
    }


RARE: Mapping[str, float] = {
    "memfs.limits.LOG_ENTRIES_KEPT": 4,
    "memfs.limits.VERSIONS_PER_DISCARD": 2,
    "memfs.limits.INODES_PER_RECLAIM": 2,
    "memfs.limits.BLOCKS_PER_BATCH": 2,
    "memfs.limits.FILES_PER_BATCH": 2,
    "memfs.node.namespace.tables.volume.FREED_AT_ONCE": 1,
    "memfs.client.session.request_ids.WINDOW": 1,
    "memfs.client.session.reservations.RESERVE": 2,
    "memfs.client.writing.writer.PUBLISH_BLOCKS": 2,
    "memfs.client.writing.range_copy.COPIED_FROM_BYTES": 1,
    "memfs.client.reading.block_map.PAGE": 2,
    "memfs.client.session.primary_requests.ATTEMPT_SECONDS": 0.4,
    "memfs.client.session.member_requests.MEMBER_SECONDS": 0.4,
    "memfs.client.handles.handle.PUBLISH_SECONDS": 0.1,
}
"""Forced rare paths: bounds and, for each, a value so small that a short run reaches it."""


RARE_TOO: Mapping[str, float] = {"memfs.limits.LOG_BYTES_CONFIRMED": 0}
"""Chosen last: what a seed chooses beside them is the same without them."""


def _bounds(dice: random.Random, rare: Mapping[str, float]) -> dict[str, float]:
    """Each is small in one seed of six."""
    return {name: value for name, value in rare.items() if dice.random() < 1 / 6}
