"""One process of clients: told what to do by a line of JSON, it answers in lines of JSON.

Owns its clients' event loop and their history, which never leaves it: only counts, gaps and
violations do. Lines in: the order, then ``stop``. Lines out: ``{"event": ...}``, ``ready``,
``gap`` (seconds in which nothing was acknowledged), ``acknowledged``, ``done``. Times are those of
CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, NamedTuple

from memfs.client.connect import connect
from memfs.client.filesystem import AsyncFileSystem
from memfs.testing.history import Call, History
from memfs.testing.workloads import WORKLOADS, Sizes, Workload
from memfs.testing.workloads.contents import DeleteCreate

REPORT_SECONDS = 0.5
GAP_SECONDS = 0.3
"""Silences shorter than this are the clients' own pauses."""
_LOOKS = frozenset(("read", "list", "total"))


class Order(NamedTuple):
    """What a worker does."""

    url: str
    seed: int
    top: str
    workloads: list[str]
    sizes: dict[str, Any]
    options: dict[str, Any]
    """Of every client: fields of ClientConfig."""


class Silence:
    """Watches when changes are acknowledged."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.changes = 0

    def heard(self, call: Call) -> None:
        """A call was acknowledged."""
        if call.name not in _LOOKS:
            now = time.monotonic()
            if now - self.last > GAP_SECONDS:
                tell("gap", begin=self.last, end=now)
            self.last = now
            self.changes += 1


def tell(event: str, **facts: Any) -> None:
    """One line to the parent."""
    print(json.dumps({"event": event, **facts}), flush=True)


async def work(order: Order) -> None:
    """Everything a worker does."""
    history = History(time.monotonic)

    async def client() -> AsyncFileSystem:
        return await connect(order.url, **order.options)

    sizes = Sizes(**order.sizes)
    workloads = [
        WORKLOADS[name](
            client,
            seed=order.seed,
            history=history,
            clock=time.monotonic,
            top=f"{order.top}/{name}",
            sizes=sizes,
        )
        for name in order.workloads
    ]
    for each in workloads:
        await each.prepare()
    silence = Silence()
    history.on_acknowledged = silence.heard
    tell("ready")
    await _until_stopped(workloads, history, silence)
    await _judge(workloads, history)


async def _until_stopped(workloads: list[Workload], history: History, silence: Silence) -> None:
    loop = asyncio.get_running_loop()
    order = loop.run_in_executor(None, sys.stdin.readline)
    jobs = [asyncio.create_task(each.run(float("inf"))) for each in workloads]
    while not order.done():
        await asyncio.wait([order, *jobs], timeout=REPORT_SECONDS)
        tell("acknowledged", count=history.acknowledged, changes=silence.changes)
        for job in jobs:
            if job.done():
                job.result()
    for each in workloads:
        each.stop()
    await asyncio.gather(*jobs)


async def _judge(workloads: list[Workload], history: History) -> None:
    history.on_acknowledged = lambda call: None
    counts = dict(history.counts())
    violations = []
    for each in workloads:
        for found in await each.verify():
            violations.append([found.kind.value, found.key, str(found)])
        await each.close()
    undecided = sum(each.undecided for each in workloads if isinstance(each, DeleteCreate))
    tell("done", counts=counts, violations=violations, undecided=undecided)


def main() -> None:
    """Read the order, carry it out."""
    order = Order(**json.loads(sys.stdin.readline()))
    asyncio.run(work(order))


if __name__ == "__main__":
    main()
