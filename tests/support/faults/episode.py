"""One seed from beginning to end: form, work under faults, heal, wait, verify.

Owns the order of these phases and what a run reports. Invariant: :func:`play` with one plan always
gives the same digest.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from memfs.errors import MemfsError
from memfs.testing.checkers.violation import Violation
from memfs.testing.history import History
from memfs.testing.simulation.clients import SimulatedClient
from memfs.testing.simulation.cluster import SimulatedCluster
from memfs.testing.simulation.trace import Trace
from memfs.testing.simulation.virtual import (
    DeadlockError,
    StepLimitError,
    VirtualLoop,
    current_process,
    run,
)
from memfs.testing.workloads import WORKLOADS, Sizes, Workload
from tests.support.faults.plan import MOUNTS, Plan
from tests.support.faults.rare import forced
from tests.support.faults.scene import Scene
from tests.support.faults.schedule import Schedule
from tests.support.faults.verify import Audit
from tests.support.invariants import Observer
from tests.support.mounted import WatchingMounts

CALLS_WANTED = 180
"""Calls of all clients together: what a run costs."""
FORM_SECONDS = 60.0
INSPECTION_SECONDS = 4.0
WEIGHING_SECONDS = 0.25
SETTLE_SECONDS = 120.0
STEPS = 3_000_000
"""Of an episode; the campaign says how many the longest one took."""
ALWAYS_TOLD = ("FAULT", "BREACH", "coordinator view", "crash", "restart")
"""Words whose lines belong to every story."""


class HungError(KeyboardInterrupt):
    """A run does not come to its end; the one kind of exception that every loop lets through."""


@dataclass
class Result:
    """What a seed came to."""

    seed: int
    failures: list[str] = field(default_factory=list)
    """Broken promises and invariants, or what kept the run from its end."""
    keys: list[str] = field(default_factory=list)
    """What the failures are about: words to look for in the story."""
    faults: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    """Clients' calls by outcome."""
    checks: Counter[str] = field(default_factory=Counter)
    stopped: bool = False
    """Ended without any in-sync member, as LastServing asks."""
    recovery_seconds: float = 0.0
    virtual_seconds: float = 0.0
    steps: int = 0
    """Callbacks of the event loop."""
    cpu_seconds: float = 0.0
    digest: str = ""
    story: str = ""


def play(plan: Plan, *, tell: Sequence[str] | None = None) -> Result:
    """Run a plan. ``tell``: words; lines of the story that mention one are kept, all if empty."""
    result = Result(plan.seed)
    began = time.process_time()
    episode = _Episode(plan, result, tell)
    logging.disable(logging.NOTSET if tell is not None else logging.CRITICAL)
    try:
        with forced(plan), warnings.catch_warnings():
            # A coroutine that a killed process was about to start is never awaited.
            warnings.simplefilter("ignore", RuntimeWarning)
            run(episode.main(), step_limit=STEPS)
    except (DeadlockError, StepLimitError, HungError) as error:
        result.failures.append(f"{type(error).__name__}: {error}")
    except Exception as error:
        told = "".join(traceback.format_exception(error))
        result.failures.append(f"crashed: {type(error).__name__}: {error}\n{told}")
    finally:
        logging.disable(logging.NOTSET)
    result.cpu_seconds = time.process_time() - began
    return result


class _Episode:
    def __init__(self, plan: Plan, result: Result, tell: Sequence[str] | None) -> None:
        self._plan = plan
        self._result = result
        self._tell = tell

    async def main(self) -> None:
        """All phases."""
        plan = self._plan
        cluster = self._cluster = SimulatedCluster(
            plan.seed,
            conditions=plan.conditions,
            disk_seconds=plan.disk_seconds,
            **plan.settings,
        )
        if self._tell is not None:
            cluster.fabric.trace = Trace(kept=None)
        scene = self._scene = Scene(cluster, plan)
        observer = self._observer = Observer(scene)
        observer.telling = self._tell is not None
        self._history = History(asyncio.get_running_loop().time)
        handler = _Teller(cluster)
        logging.getLogger("memfs").addHandler(handler)
        try:
            with observer.watching():
                await self._phases()
        finally:
            logging.getLogger("memfs").removeHandler(handler)
            self._report()

    async def _phases(self) -> None:
        plan, cluster, loop = self._plan, self._cluster, asyncio.get_running_loop()
        async with asyncio.timeout(FORM_SECONDS):
            await cluster.start(plan.nodes)
        works = [self._workload(name) for name in plan.workloads]
        mounted = [work for work in works if isinstance(work, WatchingMounts)]
        self._observer.beliefs.mounts = lambda: [
            kernel for work in mounted for kernel in work.kernels()
        ]
        for work in works:
            await work.prepare()
        schedule = Schedule(self._scene)
        until = loop.time() + plan.seconds
        working = [asyncio.ensure_future(work.run(until)) for work in works]
        inspecting = asyncio.ensure_future(self._inspect())
        try:
            await schedule.run(until)
            await schedule.heal()
            await self._verify(works, working)
        finally:
            for task in (*working, inspecting):
                task.cancel()
            await asyncio.gather(*working, inspecting, return_exceptions=True)

    async def _verify(
        self,
        works: list[Workload],
        working: Sequence[asyncio.Future[None]],
    ) -> None:
        audit = Audit(self._scene, self._observer)
        served = await audit.served(self._scene.operator)
        self._result.stopped = audit.stopped
        self._result.recovery_seconds = audit.recovery_seconds
        if not served:
            return
        await asyncio.gather(*working)
        for work in works:
            for violation in await work.verify():
                self._violated(violation)
        audit.check_leases()
        for work in works:
            await work.close()
        with contextlib.suppress(MemfsError):  # what a client reserves stays until it says goodbye
            await self._scene.operator.close()
        await audit.settled(SETTLE_SECONDS)
        audit.check()
        if self._plan.deafened:
            await audit.goes_on_without_a_deaf_primary(self._cluster.client())

    async def _inspect(self) -> None:
        while True:
            for _ in range(round(INSPECTION_SECONDS / WEIGHING_SECONDS)):
                await asyncio.sleep(WEIGHING_SECONDS)
                self._observer.weigh()
            self._observer.inspect()

    def _workload(self, name: str) -> Workload:
        plan = self._plan
        dice = random.Random(f"sizes {plan.seed} {name}")
        writers, readers = dice.choice(((2, 1), (2, 2), (3, 1)))
        calls = CALLS_WANTED / len(plan.workloads) / (writers + readers)
        sizes = Sizes(
            writers=writers,
            readers=readers,
            keys=dice.randint(1, 3),
            file_bytes=9_000,
            large_bytes=40_000,
            fill_bytes=1_500_000,
            pause_seconds=plan.seconds / calls,
            timeout_seconds=dice.choice((2.0, 5.0, 10.0)),
        )

        async def connect() -> SimulatedClient:
            return self._cluster.client(timeout_seconds=sizes.timeout_seconds)

        kind = WatchingMounts if name == MOUNTS else WORKLOADS[name]
        return kind(
            connect,  # type: ignore[arg-type]  # it has the methods of a FileSystem
            seed=plan.seed,
            history=self._history,
            clock=asyncio.get_running_loop().time,
            top=f"/{name}",
            sizes=sizes,
        )

    def _violated(self, violation: Violation) -> None:
        self._result.failures.append(str(violation))
        self._result.keys.append(violation.key)

    def _report(self) -> None:
        result, trace, loop = self._result, self._cluster.fabric.trace, asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        result.failures[:0] = map(str, self._observer.breaches)
        result.faults = self._scene.struck
        result.calls = self._history.counts()
        result.checks = self._observer.checks
        result.virtual_seconds, result.steps = loop.time(), loop.steps
        result.digest = trace.digest()
        if self._tell is not None:
            result.story = trace.story([*self._tell, *ALWAYS_TOLD] if self._tell else "")
            for key in result.keys:
                result.story += f"\n\nHistory of {key}:\n{self._history.story(key, 200)}"


class _Teller(logging.Handler):
    """Puts what the nodes log into the story."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        super().__init__()
        self._cluster = cluster

    def emit(self, record: logging.LogRecord) -> None:
        process = current_process()
        details = " ".join(
            f"{key}={value}" for key, value in getattr(record, "memfs_fields", {}).items()
        )
        self._cluster.fabric.trace.tell(
            asyncio.get_running_loop().time(),
            process.name if process else "-",
            record.getMessage(),
            details,
        )
