"""Forced rare paths: tiny bounds, and commands that arrive twice."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

from memfs.client.session.primary_requests import PrimaryRequests
from memfs.errors import MemfsError
from memfs.limits import KIB
from memfs.testing.patches import find, replaced
from tests.support.faults.plan import Plan

CHEAP: Mapping[str, float] = {
    "memfs.node.blocks.holdings.BLOCK_BYTES_DEFAULT": 64 * KIB,
    "memfs.node.healing.excess_replicas.PAUSE_SECONDS": 0.25,
    "memfs.node.healing.copies.POLL_SECONDS": 0.25,
    "memfs.node.healing.scan.POLL_SECONDS": 0.25,
    "memfs.node.server.LAG_INTERVAL_SECONDS": 5.0,
}
"""What only costs time here: warm buffers of a large block each, polls of idle loops."""

CLEANED: Mapping[str, float] = {
    "memfs.node.blocks.segments.SEGMENT_BYTES_LEAST": 16 * KIB,
    "memfs.node.blocks.segments.SEGMENT_BYTES_MOST": 16 * KIB,
    "memfs.node.blocks.cleaner.DEAD_SEGMENTS": 0,
    "memfs.node.blocks.cleaner.DEAD_SHARE": 1 / 1000,
}
"""Small blocks lie in tiny segments, and are moved whenever a few bytes between them are dead."""

GRANTED: Mapping[str, float] = {
    "memfs.client.session.held.capabilities.KEPT": 3,
    "memfs.client.session.held.capabilities.SHOWN": 2,
    "memfs.node.block_service.guard.SHOWN": 2,
    "memfs.security.capabilities.GRANTS": 4,
}
"""Capabilities cover little, and are forgotten at once, in a seed of three."""

QUERIES_FROM = 1 << 62
"""Request ids from here up belong to requests that change nothing."""


@contextlib.contextmanager
def forced(plan: Plan) -> Iterator[None]:
    """Everything rare that a plan asks for, for the length of a run."""
    granted = GRANTED if random.Random(f"grants {plan.seed}").random() < 1 / 3 else {}
    with contextlib.ExitStack() as stack:
        for name, value in {**CHEAP, **CLEANED, **granted, **plan.bounds}.items():
            stack.enter_context(replaced(*find(name), value))
        if plan.repeat_chance:
            stack.enter_context(_repeated(plan))
        yield


@contextlib.contextmanager
def _repeated(plan: Plan) -> Iterator[None]:
    """A client sends an answered command once more, as if the answer had been lost."""
    dice = random.Random(f"repeat {plan.seed}")
    persist = PrimaryRequests._persist

    async def twice(self: PrimaryRequests, request: Any, number: int, *rest: Any) -> Any:
        answer = await persist(self, request, number, *rest)
        if number < QUERIES_FROM and dice.random() < plan.repeat_chance:
            with contextlib.suppress(MemfsError):
                again = await persist(self, request, number, *rest)
                same = _told(again.record) == _told(answer.record)
                assert same, "ExactlyOnce: a repeated command differs"
        return answer

    with replaced(PrimaryRequests, "_persist", twice):
        yield


def _told(record: Any) -> Any:
    """What the log says in a reply: a capability beside it may be a newer one."""
    return record._replace(capability=b"") if "capability" in record._fields else record
