"""What a mutant is, and the table of all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from memfs.testing.patches import find, replaced

Patch = Callable[[], contextlib.AbstractContextManager[None]]


class Mutant(NamedTuple):
    """One guard, and how to do without it."""

    name: str
    guard: str
    """The invariant, as design and code name it."""
    breaks: str
    """What the patched code does."""
    patch: Patch
    shown_by: frozenset[str] = frozenset()
    """Faults and workloads that help to notice: seeds with most of them are played first."""


MUTANTS: dict[str, Mutant] = {}
"""Every mutant by its name."""


def mutant(
    guard: str, breaks: str, *, shown_by: str = ""
) -> Callable[[Callable[[], Iterator[None]]], Patch]:
    """Register a generator that patches, yields once, and restores."""

    def register(function: Callable[[], Iterator[None]]) -> Patch:
        patch = contextlib.contextmanager(function)
        name = function.__name__.replace("_", "-")
        MUTANTS[name] = Mutant(name, guard, breaks, patch, frozenset(shown_by.split()))
        return patch

    return register


def nothing(*_arguments: Any, **_options: Any) -> None:
    """What a guard that is gone does."""


def without(
    guard: str,
    breaks: str,
    name: str,
    dotted: str,
    instead: Any = nothing,
    *,
    shown_by: str = "",
) -> None:
    """Register the mutant in which a function is replaced by one that guards nothing."""

    @contextlib.contextmanager
    def patch() -> Iterator[None]:
        with replaced(*find(dotted), instead):
            yield

    MUTANTS[name] = Mutant(name, guard, breaks, patch, frozenset(shown_by.split()))
