"""What came of a run: numbers, and a table that fits a document. Pure."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

KINDS = ("lost", "stale", "duplicate", "phantom", "torn", "order", "broken", "unreadable")


class Injected(NamedTuple):
    """One fault that was done."""

    name: str
    at: float
    """Seconds since the beginning of the run."""
    lasted: float
    """Until everything was undone."""
    gap: float
    """Longest time without an acknowledgement, seconds; 0: shorter than a third of a second."""
    healthy: float
    """Seconds from then until the cluster was whole again; infinite: it was not in time."""


@dataclass
class Report:
    """Everything that a run has found so far."""

    seed: int
    where: str
    """Namespaces or loopback, and why."""
    seconds: float = 0.0
    faults: list[Injected] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    """Calls by outcome."""
    violations: list[tuple[str, str, str]] = field(default_factory=list)
    """Kind, key, story."""
    undecided: int = 0
    """Histories that the bounded search gave up on."""
    problems: list[str] = field(default_factory=list)
    """What went wrong without being a violation of a history."""
    fsck: list[str] = field(default_factory=list)
    """One verdict a round; empty text: clean."""

    @property
    def failed(self) -> bool:
        """Whether anything was violated."""
        return bool(self.violations or self.problems or any(self.fsck))

    def to_json(self) -> str:
        """One line, for :meth:`from_json`."""
        facts = {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps(facts | {"faults": [each._asdict() for each in self.faults]})

    @staticmethod
    def from_json(line: str) -> Report:
        """What :meth:`to_json` wrote."""
        facts = json.loads(line)
        facts["faults"] = [Injected(**each) for each in facts["faults"]]
        facts["outcomes"] = Counter(facts["outcomes"])
        facts["violations"] = [tuple(each) for each in facts["violations"]]
        return Report(**facts)

    def lines(self) -> list[str]:
        """The report as Markdown."""
        return [*self._summary(), "", *self._table(), *self._failures()]

    def _summary(self) -> list[str]:
        found = Counter(kind for kind, _, _ in self.violations)
        gaps = [each.gap for each in self.faults]
        clean = sum(not verdict for verdict in self.fsck)
        return [
            f"seed {self.seed}, {self.seconds / 60:.1f} minutes, {self.where}",
            "",
            "| what | number |",
            "|---|---|",
            f"| faults | {len(self.faults)} |",
            f"| operations acknowledged | {self.outcomes['ok']:,} |",
            f"| refused, certainly not done | {self.outcomes['fail']:,} |",
            f"| outcome unknown | {self.outcomes['unknown']:,} |",
            *(f"| {kind} | {found[kind]} |" for kind in KINDS),
            f"| histories undecided by search | {self.undecided} |",
            f"| longest pause of a fault: p50, p99, max | {_spread(gaps)} |",
            f"| fsck | {clean} of {len(self.fsck)} rounds clean |",
            f"| other problems | {len(self.problems)} |",
        ]

    def _table(self) -> list[str]:
        by_kind: dict[str, list[Injected]] = defaultdict(list)
        for each in self.faults:
            by_kind[each.name].append(each)
        rows = [
            "| fault | times | pause p50, p99, max | whole again after p50, p99, max |",
            "|---|---|---|---|",
        ]
        for name in sorted(by_kind):
            found = by_kind[name]
            pause = _spread([each.gap for each in found])
            after = _spread([each.healthy for each in found])
            rows.append(f"| {name} | {len(found)} | {pause} | {after} |")
        return rows

    def _failures(self) -> list[str]:
        lines = []
        for kind, key, text in self.violations:
            lines += ["", f"VIOLATION {kind}: {key}", text]
        lines += [f"\nPROBLEM {text}" for text in self.problems]
        lines += [f"\nFSCK {text}" for text in self.fsck if text]
        return lines


def merged(reports: Sequence[Report]) -> Report:
    """Several runs as one."""
    where = sorted({each.where for each in reports})
    total = Report(reports[0].seed, f"{len(reports)} runs: {', '.join(where)}")
    for each in reports:
        total.seconds += each.seconds
        total.faults += each.faults
        total.outcomes.update(each.outcomes)
        total.violations += each.violations
        total.undecided += each.undecided
        total.problems += each.problems
        total.fsck += each.fsck
    return total


def _spread(seconds: Sequence[float]) -> str:
    """p50, p99 and the maximum."""
    if not seconds:
        return "none"
    chosen = (percentile(seconds, 50), percentile(seconds, 99), max(seconds))
    return ", ".join(map(_shown, chosen))


def _shown(seconds: float) -> str:
    if math.isinf(seconds):
        return "never"
    return f"{seconds:.1f} s" if seconds else "< 0.3 s"


def percentile(values: Iterable[float], share: float) -> float:
    """The value that ``share`` per cent of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)]
