"""Plays seeds with each mutant until one notices, and prints which seed, and by which check.

A mutant that survives them all means that the tests are blind there; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import time
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from tests.support.campaign import plan_of, play_seed
from tests.support.faults.episode import Result
from tests.support.mutants import MUTANTS

SEEDS = 500
"""Within which a mutant must be caught."""
CHOICE = 10
"""They are the most promising of so many times as many."""


class Verdict(NamedTuple):
    """How a mutant fared."""

    mutant: str
    seed: int | None
    """The seed that caught it, None: it survived."""
    tried: int
    check: str
    """What noticed."""
    seconds: float


def _play(job: tuple[str, int]) -> Result:
    name, seed = job
    with MUTANTS[name].patch():
        return play_seed(seed)


def hunt(name: str, first: int, count: int, jobs: int) -> Verdict:
    """Play up to ``count`` seeds with a mutant until one fails, the promising ones first."""
    began = time.monotonic()
    context = multiprocessing.get_context("spawn")
    seeds = _promising(name, range(first, first + CHOICE * count))[:count]
    with context.Pool(jobs, gc.freeze) as pool:
        played = pool.imap(_play, ((name, seed) for seed in seeds))
        for tried, result in enumerate(played, 1):
            if result.failures:
                check = result.failures[0].split(" at ")[0].splitlines()[0][:70]
                return Verdict(name, result.seed, tried, check, time.monotonic() - began)
    return Verdict(name, None, len(seeds), "", time.monotonic() - began)


def _promising(name: str, seeds: range) -> list[int]:
    wanted = MUTANTS[name].shown_by
    return sorted(seeds, key=lambda seed: -len(wanted.intersection(_choices(seed))))


def _choices(seed: int) -> tuple[str, ...]:
    plan = plan_of(seed)
    copies = f"copies={plan.settings['replication']}"
    return (*plan.faults, *plan.workloads, *plan.settings, copies)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="at most, for each mutant")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--only", nargs="*", default=[], help="names of mutants")
    given = parser.parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True)
    verdicts = []
    for name in given.only or MUTANTS:
        verdict = hunt(name, given.first, given.seeds, given.jobs)
        verdicts.append(verdict)
        found = f"caught by seed {verdict.seed}, the {verdict.tried}. played"
        fate = found if verdict.seed is not None else f"SURVIVED {verdict.tried} seeds"
        console.print(f"{name}: {fate}, {verdict.check}, {verdict.seconds:.0f} s", markup=False)
    console.print(_table(verdicts))
    return 0 if all(verdict.seed is not None for verdict in verdicts) else 1


def _table(verdicts: Sequence[Verdict]) -> Table:
    table = Table("mutant", "guard", "what it breaks", "caught at seed", "by")
    for verdict in verdicts:
        found = MUTANTS[verdict.mutant]
        seed = "SURVIVED" if verdict.seed is None else str(verdict.seed)
        table.add_row(verdict.mutant, found.guard, found.breaks, seed, verdict.check)
    return table
