"""Rounds: clients at work, faults one after the other, then quiet and judgement.

Owns the order of things. Invariants: the next fault begins only when the cluster is whole again,
so that what is lost at a time stays within R-1 copies; every worker and every process is ended
however a run ends.
"""

from __future__ import annotations

import contextlib
import math
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memfs.errors import MemfsError
from memfs.testing.workloads.marked_contents import content, token_of
from tests.support.etcd import EtcdCluster
from tests.support.hosts import Hosts
from tests.support.nemesis.clients import Worker, longest, now, wait_served
from tests.support.nemesis.cluster import FaultyCluster, HostedEtcd, NotHealthyError
from tests.support.nemesis.faults import FAULTS, HEALTH_SECONDS, Fault, Need
from tests.support.nemesis.report import Injected, Report
from tests.support.nemesis.schedule import Schedule
from tests.support.nemesis.worker import Order

CREWS = (
    ("WholeFileRegister", "RenameDance", "DirectorySet", "LeaseSteal"),
    ("AppendLog", "Transfer", "LargeFiles", "DeleteCreate", "FillAndFree", "HeldOpen"),
)
"""The workloads of each worker process."""
SIZES: dict[str, Any] = {
    "file_bytes": 300_000,
    "large_bytes": 1_500_000,
    "fill_bytes": 12_000_000,
    "pause_seconds": 0.12,
    "timeout_seconds": 15.0,
    "cancel_chance": 0.01,
    "verify_seconds": 60.0,
}
ARCHIVE_FILES = 12
SLOW_HEALING_SECONDS = 15.0
"""Waiting longer than this for copies is worth a word: what was missing?"""
_PREFIX = "memfs-nemesis-"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """One run."""

    seed: int
    minutes: float = 60.0
    faults_per_round: int = 5
    network: str = "auto"
    """``auto``, ``namespaces`` or ``loopback``."""
    nodes: int = 5
    replication: int = 3
    journal: bool = False
    only: tuple[str, ...] = ()
    """Kinds of faults; empty: all that are possible."""
    fixed: tuple[str, ...] = ()
    """These faults in this order in one round, instead of a schedule."""
    keep: bool = False
    """Leave logs behind even when nothing is wrong."""


class Nemesis:
    """One run on one cluster."""

    def __init__(self, plan: Plan, say: Say) -> None:
        """Args: ``say`` gets a line at a time about what happens."""
        self.plan = plan
        self.say = say
        self.obstacle = Hosts.obstacle() if plan.network == "auto" else ""
        self.namespaces = plan.network == "namespaces" or (
            plan.network == "auto" and not self.obstacle
        )
        where = "network namespaces" if self.namespaces else "loopback"
        self.report = Report(plan.seed, f"{where} ({self.obstacle})" if self.obstacle else where)
        self.workers: list[Worker] = []
        self.directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._began = now()
        self._clusters = 0

    @property
    def acknowledged(self) -> int:
        """Operations acknowledged so far."""
        return self.report.outcomes["ok"] + sum(each.acknowledged for each in self.workers)

    def run(self) -> Report:
        """Do all of it."""
        self._began = now()
        try:
            if self.plan.fixed:
                faults = [FAULTS[name] for name in self.plan.fixed]
                with self._cluster() as cluster:
                    self._round(cluster, 1, iter(faults), random.Random(self.plan.seed))
            else:
                self._rounds(self._began + self.plan.minutes * 60)
        finally:
            self.report.seconds = now() - self._began
        if not self.report.failed and not self.plan.keep:
            shutil.rmtree(self.directory, ignore_errors=True)
        return self.report

    def _rounds(self, end: float) -> None:
        """Until the time is over; a cluster that does not come back is replaced by another."""
        schedule = Schedule(self.plan.seed, self._offered(), self.plan.only)
        number = 0
        while now() < end:
            with self._cluster() as cluster, contextlib.suppress(NotHealthyError):
                while now() < end:
                    number += 1
                    faults = (schedule.next() for _ in range(self.plan.faults_per_round))
                    self._round(cluster, number, faults, schedule.random)

    def _offered(self) -> set[Need]:
        journal = {Need.JOURNAL} if self.plan.journal else set()
        return journal | ({Need.HOSTS, Need.DISKS} if self.namespaces else {Need.PROXIES})

    @contextlib.contextmanager
    def _cluster(self) -> Iterator[FaultyCluster]:
        self._clusters += 1
        (self.directory / f"cluster-{self._clusters}").mkdir()
        with contextlib.ExitStack() as stack:
            hosts = stack.enter_context(Hosts()) if self.namespaces else None
            etcd = HostedEtcd(hosts) if hosts is not None else EtcdCluster()
            stack.enter_context(etcd)
            plan = self.plan
            stack.callback(self._end_workers)
            cluster = FaultyCluster(
                plan.nodes,
                replication=plan.replication,
                hosts=hosts,
                etcd=etcd,
                journal=plan.journal,
                directory=self.directory / f"cluster-{self._clusters}",
            )
            stack.enter_context(cluster)
            self._fill_archive(cluster)
            yield cluster

    # --- one round ---------------------------------------------------------------------------

    def _round(
        self, cluster: FaultyCluster, number: int, faults: Iterator[Fault], dice: random.Random
    ) -> None:
        self.say(f"round {number}: clients begin")
        self._start_workers(cluster, number)
        for each in faults:
            self._inject(cluster, each, dice)
        for worker in self.workers:
            worker.stop()
        for worker in self.workers:
            self._judge(worker)
        self._end_workers()
        self._look(cluster)
        self._clear(cluster, number)

    def _start_workers(self, cluster: FaultyCluster, number: int) -> None:
        options = {"local_descriptors": False, "timeout_seconds": 15.0}
        for index, names in enumerate(CREWS):
            order = Order(
                cluster.url,
                seed=self.plan.seed * 1000 + number,
                top=f"/round-{number}/crew-{index}",
                workloads=list(names),
                sizes=SIZES,
                options=options,
            )
            self.workers.append(Worker(order, self.directory / f"worker-{number}-{index}.log"))
        for worker in self.workers:
            worker.wait_ready()

    def _inject(self, cluster: FaultyCluster, each: Fault, dice: random.Random) -> None:
        """One fault, undone, and the cluster whole again."""
        time.sleep(dice.uniform(0.5, 2))
        begin = now()
        self.say(f"{each.name}")
        try:
            each.act(cluster, dice)
        except (MemfsError, NotHealthyError, RuntimeError) as error:
            self._problem(f"{each.name}: {type(error).__name__}: {error}")
        cluster.heal()
        undone = now()
        healthy = math.inf
        try:
            cluster.wait_healthy(HEALTH_SECONDS)
            if cluster.wait_copied(HEALTH_SECONDS) > SLOW_HEALING_SECONDS:
                self.say(f"  copies came late: {cluster.missed[-1000:]}")
            healthy = now() - undone
        except NotHealthyError as error:
            self._problem(f"after {each.name} the cluster is not whole again {error}")
            for node in cluster.nodes:
                node.abort()  # the logs then tell what each was doing
            raise
        finally:
            if healthy < math.inf and not wait_served(self.workers, HEALTH_SECONDS):
                self._problem(f"after {each.name} clients are not served")
            gap = longest(self.workers, begin, now())
            done = Injected(each.name, begin - self._began, undone - begin, gap, healthy)
            self.report.faults.append(done)
            self.say(
                f"  lasted {done.lasted:.1f} s, longest pause {gap:.1f} s, "
                f"whole again after {healthy:.1f} s, {self.acknowledged:,} acknowledged"
            )

    def _judge(self, worker: Worker) -> None:
        try:
            found = worker.judgement()
        except RuntimeError as error:
            self._problem(str(error))
            return
        self.report.outcomes.update(found.counts)
        self.report.violations += found.violations
        self.report.undecided += found.undecided
        for kind, key, text in found.violations:
            self.say(f"VIOLATION {kind} {key} at {self._time()}\n{text}")

    def _end_workers(self) -> None:
        for worker in self.workers:
            worker.close()
        self.workers.clear()

    # --- what outlives rounds ----------------------------------------------------------------

    def _fill_archive(self, cluster: FaultyCluster) -> None:
        """Files that are written once and read after every round."""
        cluster.fs.makedirs("/archive")
        for number in range(ARCHIVE_FILES):
            token = f"archive-{number}"
            cluster.fs.write_bytes(f"/archive/{number}", content(token, 10 + number * 150_000))

    def _look(self, cluster: FaultyCluster) -> None:
        """The archive, and fsck."""
        for number in range(ARCHIVE_FILES):
            path = f"/archive/{number}"
            found: object
            try:
                found = token_of(cluster.fs.read_bytes(path))
            except MemfsError as error:
                found = f"{type(error).__name__}: {error}"
            if found != f"archive-{number}":
                self.report.violations.append(("lost", path, f"the archive holds {found}"))
                self.say(f"VIOLATION lost {path}: {found}")
        clean, text = cluster.fsck()
        self.report.fsck.append("" if clean else text)
        self.say(f"fsck: {text.splitlines()[-1] if text else 'says nothing'}")

    def _clear(self, cluster: FaultyCluster, number: int) -> None:
        try:
            cluster.fs.rmtree(f"/round-{number}")
        except MemfsError as error:
            self._problem(f"removing the round's files: {error}")

    def _problem(self, text: str) -> None:
        self.report.problems.append(f"at {self._time()}: {text}")
        self.say(f"PROBLEM {text}")

    def _time(self) -> str:
        return f"{now() - self._began:.1f} s"
