"""Many seeds on all cores: ``python -m tests.support.campaign --seeds 10000``.

Owns the processes that play seeds, the progress bar and the summary. A failing seed is printed with
the one command that plays it again and writes its story down. Exits with 1 when any seed failed.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from memfs.testing.workloads import WORKLOADS
from tests.support.faults.episode import HungError, Result, play
from tests.support.faults.plan import Plan, choose
from tests.support.faults.schedule import DISK_FAULTS, FAULTS, WATCHER_FAULTS

HUNG_SECONDS = 20
"""Processor time after which a seed counts as hung: the slowest takes a few seconds."""
SEEDS_PER_WORKER = 200
"""A worker is replaced after so many: whatever a run leaves behind goes with it."""
FAILURES_SHOWN = 20


def plan_of(seed: int) -> Plan:
    """What a seed chooses."""
    kinds = tuple(FAULTS), tuple(WORKLOADS), tuple(DISK_FAULTS), tuple(WATCHER_FAULTS)
    return choose(seed, *kinds)


def play_seed(seed: int) -> Result:
    """Play one seed; one that never ends fails."""
    signal.signal(signal.SIGPROF, _hung)
    signal.setitimer(signal.ITIMER_PROF, HUNG_SECONDS, HUNG_SECONDS / 10)
    gc.disable()  # a run is short: what it leaves behind is collected once
    try:
        return play(plan_of(seed))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        gc.enable()
        gc.collect()


def _hung(_signal: int, _frame: FrameType | None) -> None:
    raise HungError(f"the seed took more than {HUNG_SECONDS} s of processor time")


def replay_command(seed: int) -> str:
    """What plays a seed again."""
    return f"python -m tests.support.campaign --seed {seed} --story story-{seed}.txt"


class Summary:
    """Totals over seeds."""

    def __init__(self) -> None:
        self.seeds = 0
        self.failed: list[Result] = []
        self.faults: Counter[str] = Counter()
        self.seeds_with: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.checks: Counter[str] = Counter()
        self.stopped = 0
        self.virtual_seconds = 0.0
        self.cpu_seconds = 0.0
        self.most_steps = 0
        self.recoveries: list[float] = []

    def add(self, result: Result) -> None:
        """Count one seed."""
        self.seeds += 1
        self.faults += result.faults
        self.seeds_with.update(result.faults.keys())
        self.calls += result.calls
        self.checks += result.checks
        self.stopped += result.stopped
        self.virtual_seconds += result.virtual_seconds
        self.cpu_seconds += result.cpu_seconds
        self.most_steps = max(self.most_steps, result.steps)
        if not result.stopped:
            self.recoveries.append(result.recovery_seconds)
        if result.failures:
            self.failed.append(result)

    def show(self, console: Console) -> None:
        """Print tables of it all."""
        faults = Table("fault", "struck", "in seeds", title="Faults")
        for kind, count in sorted(self.faults.items()):
            faults.add_row(kind, f"{count:,}", f"{self.seeds_with[kind]:,}")
        checks = Table("invariant", "checks", title="Omniscient checks")
        for invariant, count in sorted(self.checks.items()):
            checks.add_row(invariant, f"{count:,}")
        console.print(faults)
        console.print(checks)
        calls = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(self.calls.items()))
        console.print(f"calls judged: {sum(self.calls.values()):,} ({calls})")
        console.print(f"service back after healing: {self._recovery()}")
        console.print(
            f"{self.seeds:,} seeds, {self.virtual_seconds / 3600:.1f} virtual hours, "
            f"{self.cpu_seconds:.0f} s of CPU, {self.most_steps:,} steps at most; "
            f"{self.stopped} seeds stopped for lack of any in-sync member; "
            f"{len(self.failed)} seeds with violations"
        )

    def _recovery(self) -> str:
        ordered = sorted(self.recoveries)
        if not ordered:
            return "never"
        points = {"p50": 0.5, "p99": 0.99, "max": 1.0}
        at = {name: ordered[int(share * (len(ordered) - 1))] for name, share in points.items()}
        return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in at.items())


def results(seeds: Iterable[int], jobs: int) -> Iterator[Result]:
    """Results of seeds, as they come."""
    if jobs == 1:
        yield from map(play_seed, seeds)
        return
    context = multiprocessing.get_context("spawn")
    # What the modules made is not looked through for garbage after each seed.
    with context.Pool(jobs, gc.freeze, maxtasksperchild=SEEDS_PER_WORKER) as pool:
        yield from pool.imap_unordered(play_seed, seeds)


def run_campaign(seeds: range, jobs: int, console: Console) -> Summary:
    """Play seeds with a progress bar; failures are shown as they come."""
    summary = Summary()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("seeds", total=len(seeds))
        for result in results(seeds, jobs):
            summary.add(result)
            failed = len(summary.failed)
            progress.update(bar, advance=1, description=f"seeds ({failed} failed)")
            if result.failures and failed <= FAILURES_SHOWN:
                show_failure(result, console)
    return summary


def show_failure(result: Result, console: Console) -> None:
    """What is wrong, and how to see it again."""
    console.print(f"seed {result.seed}: {result.failures[0][:1500]}", markup=False)
    for text in result.failures[1:4]:
        console.print(f"  also: {text.splitlines()[0][:300]}", markup=False)
    console.print(f"  {replay_command(result.seed)}", markup=False)


def play_one(seed: int, story: str, words: Sequence[str], console: Console) -> int:
    """Play one seed and write its story to the file ``story``."""
    plan = plan_of(seed)
    console.print(f"seed {seed}: {plan}", markup=False)
    result = play(plan, tell=words)
    if result.keys and not words:
        result = play(plan, tell=result.keys)
    Path(story).write_text(f"{plan}\n\n{result.story}\n\n" + "\n\n".join(result.failures) + "\n")
    if result.failures:
        show_failure(result, console)
    console.print(
        f"trace {result.digest}, {result.virtual_seconds:.1f} virtual seconds, "
        f"{result.steps:,} steps, {result.cpu_seconds:.2f} s of CPU; story in {story}",
        markup=False,
    )
    return 1 if result.failures else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.campaign", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=int, help="play this one only, and tell its story")
    parser.add_argument("--story", default="story.txt", help="file for the story of --seed")
    parser.add_argument(
        "--about", nargs="*", default=[], help="words (paths, hosts) that the story is about"
    )
    given = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    if given.seed is not None:
        return play_one(given.seed, given.story, given.about, console)
    began = time.monotonic()
    summary = run_campaign(range(given.first, given.first + given.seeds), given.jobs, console)
    summary.show(console)
    console.print(f"{time.monotonic() - began:.0f} s on {given.jobs} processes")
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
