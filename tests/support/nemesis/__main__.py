"""``python -m tests.support.nemesis``: a run of some minutes, its report, its exit status."""

from __future__ import annotations

import argparse
import logging
import random
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tests.support.nemesis.report import Report, merged
from tests.support.nemesis.run import Nemesis, Plan


def main() -> int:
    """0: nothing was violated."""
    plan, results, summarise = _arguments()
    if summarise:
        reports = [Report.from_json(line) for line in results.read_text().splitlines()]
        print("\n".join(merged(reports).lines()))
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    logging.basicConfig(level=logging.ERROR)
    console = Console(soft_wrap=True)
    began = time.monotonic()
    if not console.is_terminal:
        nemesis = Nemesis(plan, lambda line: print(f"{_clock(began)} {line}", flush=True))
        report = _run(nemesis)
    else:
        with Live(console=console, refresh_per_second=2, transient=True) as live:

            def say(line: str) -> None:
                live.console.print(f"{_clock(began)} {line}", markup=False, highlight=False)
                live.update(_progress(nemesis, plan, began))

            nemesis = Nemesis(plan, say)
            live.get_renderable = lambda: _progress(nemesis, plan, began)  # type: ignore[method-assign]
            report = _run(nemesis)
    print("\n".join(["", *report.lines()]))
    if results != Path():
        with results.open("a") as file:
            file.write(report.to_json() + "\n")
    if report.failed:
        print(f"\nlogs: {nemesis.directory}")
    return 1 if report.failed else 0


def _run(nemesis: Nemesis) -> Report:
    try:
        return nemesis.run()
    except KeyboardInterrupt:
        print("interrupted: the report covers the rounds that were finished", file=sys.stderr)
        nemesis.report.problems.append("interrupted")
        return nemesis.report


def _arguments() -> tuple[Plan, Path, bool]:
    """The plan; where results are kept; whether to show those instead of running."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.nemesis", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="default: a random one, printed")
    parser.add_argument("--network", choices=("auto", "namespaces", "loopback"), default="auto")
    parser.add_argument("--faults", default="", help="only these kinds: a,b,c")
    parser.add_argument("--faults-per-round", type=int, default=5)
    parser.add_argument("--journal", action="store_true", help="nodes keep a journal")
    parser.add_argument("--keep", action="store_true", help="keep the logs in any case")
    parser.add_argument("--results", type=Path, default=Path(), help="append the report, as JSON")
    parser.add_argument("--summarise", action="store_true", help="show what --results holds")
    given = parser.parse_args()
    plan = Plan(
        seed=random.SystemRandom().randrange(1 << 31) if given.seed is None else given.seed,
        minutes=given.minutes,
        faults_per_round=given.faults_per_round,
        network=given.network,
        journal=given.journal,
        only=tuple(filter(None, given.faults.split(","))),
        keep=given.keep,
    )
    return plan, given.results, given.summarise


def _progress(nemesis: Nemesis, plan: Plan, began: float) -> Text:
    report = nemesis.report
    return Text(
        f"{(time.monotonic() - began) / 60:.1f} of {plan.minutes:.0f} min   "
        f"{len(report.faults)} faults   {nemesis.acknowledged:,} acknowledged   "
        f"{len(report.violations)} violations   {len(report.problems)} problems",
        style="bold red" if report.failed else "bold",
    )


def _clock(began: float) -> str:
    return f"{time.monotonic() - began:7.1f}"


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
