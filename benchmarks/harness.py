"""What all benchmarks share: alternating rounds, medians, and the table.

Owns how a number is obtained and judged; knows nothing of memfs. Its invariant: the numbers of one
row come from the same run, the contenders taking turns (A B A B ...), so that a busy machine hurts
all of them alike; the first round warms up and is not counted.
"""

from __future__ import annotations

import gc
import operator
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table


class SkippedError(Exception):
    """A benchmark cannot run here, and that says nothing about what it measures: why."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much work to do."""

    smoke: bool = False
    """Tiny sizes: shows that the benchmark runs, its numbers mean nothing."""
    rounds: int = 5

    def pick(self, full: int, smoke: int) -> int:
        """Return the size for this run."""
        return smoke if self.smoke else full


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: ours against theirs."""

    name: str
    unit: str
    ours: float
    peer: str
    """What ours is compared with: another system, a limit of the machine, or a fixed number."""
    theirs: float
    target: float
    """What ``ours / theirs`` must reach; with ``lower_is_better``, must not exceed."""
    lower_is_better: bool = False

    @property
    def ratio(self) -> float:
        """Return ours over theirs."""
        return self.ours / self.theirs

    @property
    def reached(self) -> bool:
        """Tell whether the target is met."""
        compare = operator.le if self.lower_is_better else operator.ge
        return bool(compare(self.ratio, self.target))

    def as_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return fields | {"ratio": self.ratio, "reached": self.reached}


def alternate(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Let the contenders take turns and return each one's median.

    A contender does one round of its work and returns its figure, usually a rate. Python's garbage
    collector runs between the rounds, not in them.
    """
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, contender in contenders.items():
            gc.collect()
            figure = contender()
            if number or rounds == 0:
                figures[name].append(figure)
    return {name: statistics.median(values) for name, values in figures.items()}


class Stopwatch:
    """Measures the body of a ``with``; ``seconds`` holds the result."""

    __slots__ = ("_started", "seconds")

    def __enter__(self) -> Stopwatch:
        """Start."""
        self.seconds = 0.0
        self._started = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self._started


def readable(value: float) -> str:
    """Format a number with three or four significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def show(rows: Iterable[Row], console: Console, title: str) -> None:
    """Print the table."""
    table = Table(title=title, title_justify="left")
    for column in ("benchmark", "unit"):
        table.add_column(column, overflow="fold")
    table.add_column("ours", justify="right")
    table.add_column("compared with", overflow="fold")
    for column in ("theirs", "ratio", "target"):
        table.add_column(column, justify="right")
    table.add_column("ok?")
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)


def _cells(row: Row) -> list[str]:
    sign = "≤" if row.lower_is_better else "≥"
    verdict = "[green]yes[/green]" if row.reached else "[red]no[/red]"
    numbers = [readable(row.theirs), f"{row.ratio:.2f}", f"{sign} {row.target:g}", verdict]
    return [row.name, row.unit, readable(row.ours), row.peer, *numbers]
