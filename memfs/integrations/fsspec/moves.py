"""Where each file goes when several are moved at once. Pure.

Invariant: what this module returns can be carried out in its order without losing a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import TypeAlias

from fsspec.utils import other_paths

from memfs.errors import InvalidArgumentError, PathExistsError

Move: TypeAlias = tuple[str, str]
"""From where, and to where."""


def paired(sources: Sequence[str], targets: Sequence[str]) -> list[Move]:
    """Each to its partner. Raises ValueError unless there are equally many."""
    return _checked(zip(sources, targets, strict=True))


def gathered(sources: Sequence[str], directory: str, *, listed: bool) -> list[Move]:
    """All below ``directory``, where fsspec's ``copy`` would put them.

    What was ``listed`` gets there by its last name; what a pattern named keeps its place below the
    directory that all of them share. What is in a directory that moves goes with it.
    """
    given = set(sources)
    targets = other_paths(sources, directory, exists=len(sources) == 1, flatten=listed)
    moves = zip(sources, targets, strict=True)
    return _checked(each for each in moves if not given & _above(each[0]))


def _checked(moves: Iterable[Move]) -> list[Move]:
    """Raise before anything is moved what would lose a file, or stop halfway."""
    checked = list(moves)
    taken: set[str] = set()
    for source, target in reversed(checked):
        if source in _above(target):
            raise InvalidArgumentError(f"{source} cannot move below itself")
        if target in taken:
            raise PathExistsError(f"{target} is the target, or a source, of another move, too")
        taken |= {source, target}
    return checked


def _above(path: str) -> set[str]:
    """All directories above."""
    return set(map(str, PurePosixPath(path).parents))
