"""Simulated mounts: they answer from their caches, and whoever believes too much is noticed."""

from __future__ import annotations

import asyncio
from collections import Counter

from memfs.fuse.mount import MountSession
from memfs.testing.history import History
from memfs.testing.patches import followed
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.virtual import run
from memfs.testing.workloads import Sizes
from tests.support.mounted import WatchingMounts
from tests.support.mutants import MUTANTS

SIZES = Sizes(writers=2, readers=2, keys=2)
SECONDS = 3.0


def watched(seed=1):
    """Kinds of violations on a healthy cluster, and how looks were answered."""
    answered = Counter()

    def noted(result, _mount, *_where):
        answered["without asking" if result is not None else "asked"] += 1

    async def main():
        loop = asyncio.get_running_loop()
        cluster = SimulatedCluster(seed)
        await cluster.start(nodes=2)
        history = History(loop.time)

        async def connect():
            return cluster.client()

        work = WatchingMounts(
            connect, seed=seed, history=history, clock=loop.time, top="/work", sizes=SIZES
        )
        await work.prepare()
        await work.run(loop.time() + SECONDS)
        violations = await work.verify()
        await work.close()
        assert all(call.ok for call in history.calls if call.name == "read")
        answered["written"] = sum(
            call.ok for call in history.calls if call.name == "write" and "written" in call.key
        )
        return {violation.kind.value for violation in violations}

    with followed(MountSession, "recall", noted), followed(MountSession, "recall_name", noted):
        return run(main()), answered


def test_what_is_known_is_answered_and_never_old():
    kinds, answered = watched()
    assert kinds == set()
    assert answered["without asking"] > answered["asked"] > 0
    assert answered["written"] > 10


def test_who_is_not_told_is_noticed():
    with MUTANTS["forgets-who-watches"].patch():
        kinds, _ = watched()
    assert "stale" in kinds


def test_names_that_are_not_withdrawn_are_noticed():
    with MUTANTS["names-are-not-withdrawn"].patch():
        kinds, _ = watched()
    assert "stale" in kinds


def test_a_close_that_returns_too_early_is_noticed():
    with MUTANTS["closes-unpublished"].patch():
        kinds, _ = watched(4)
    assert "stale" in kinds
