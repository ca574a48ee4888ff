"""What a checker reports: a broken promise, with the calls that prove it."""

from __future__ import annotations

import enum
from typing import NamedTuple

from memfs.testing.history import Call, story


class Guarantee(enum.Enum):
    """Which promise."""

    LOST = "lost"
    """Acknowledged, and gone."""
    STALE = "stale"
    """A reader was told what had been replaced."""
    DUPLICATE = "duplicate"
    """Done twice."""
    PHANTOM = "phantom"
    """Seen, though nobody did it, or though its author was told that it was not done."""
    TORN = "torn"
    """Bytes that no single write produced."""
    ORDER = "order"
    """No order of the calls explains the answers."""
    BROKEN = "broken"
    """The tree, a link count or a total is wrong."""
    UNREADABLE = "unreadable"
    """It could not be read even after all faults had been healed."""


class Violation(NamedTuple):
    """One broken promise."""

    kind: Guarantee
    key: str
    text: str
    calls: tuple[Call, ...] = ()

    def __str__(self) -> str:
        lines = f"{self.kind.value}: {self.key}: {self.text}"
        return f"{lines}\n{story(self.calls)}" if self.calls else lines


class Torn(NamedTuple):
    """The result of a read whose bytes do not belong together."""

    text: str
