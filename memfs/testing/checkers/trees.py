"""Whether a tree is still a tree after renames, with the right counts."""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from memfs.testing.checkers.violation import Guarantee, Violation


class TreeEntry(NamedTuple):
    """One name of a tree."""

    path: str
    inode: int
    directory: bool
    links: int


def check_tree(
    key: str, entries: Sequence[TreeEntry], names: Iterable[str], links: bool = True
) -> list[Violation]:
    """Violations in all entries below a directory whose tree is to hold ``names`` once each.

    ``links``: no file has a name outside, so that link counts can be compared.
    """
    found = _names(key, entries, names) + _shape(key, entries)
    return found + (_links(key, entries) if links else [])


def _names(key: str, entries: Sequence[TreeEntry], names: Iterable[str]) -> list[Violation]:
    places: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        places[posixpath.split(entry.path)[1]].append(entry.path)
    found = []
    for name in names:
        where = places.pop(name, [])
        if not where:
            found.append(Violation(Guarantee.LOST, key, f"{name!r} is nowhere"))
        elif len(where) > 1:
            found.append(Violation(Guarantee.DUPLICATE, key, f"{name!r} is at {', '.join(where)}"))
    for name, where in places.items():
        found.append(Violation(Guarantee.PHANTOM, key, f"nobody made {name!r} at {where[0]}"))
    return found


def _shape(key: str, entries: Sequence[TreeEntry]) -> list[Violation]:
    """A directory has one name, and its parent is in the tree."""
    found = []
    directories: dict[int, str] = {}
    for entry in entries:
        if not entry.directory:
            continue
        other = directories.setdefault(entry.inode, entry.path)
        if other != entry.path:
            text = f"the directory {entry.path} is also {other}"
            found.append(Violation(Guarantee.BROKEN, key, text))
    return found


def _links(key: str, entries: Sequence[TreeEntry]) -> list[Violation]:
    """A file has as many links as names, a directory two and one for each subdirectory."""
    names = Counter(entry.inode for entry in entries if not entry.directory)
    below = Counter(posixpath.split(entry.path)[0] for entry in entries if entry.directory)
    found = []
    for entry in entries:
        expected = 2 + below[entry.path] if entry.directory else names[entry.inode]
        if entry.links != expected:
            text = f"{entry.path} has {entry.links} links, not {expected}"
            found.append(Violation(Guarantee.BROKEN, key, text))
    return found
