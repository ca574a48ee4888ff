"""Walking trees and matching patterns, over ``scandir`` alone.

Owns the order and the meaning of ``walk`` and ``glob``. Must not know requests: it is given a
function that lists a directory. Nothing recurses: trees are deeper than Python's stack.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from memfs import paths
from memfs.client.stat import DirEntry
from memfs.errors import MemfsError, NotDirectoryError, PathNotFoundError

ListDirectory = Callable[[str], Awaitable[list[DirEntry]]]
LookBehind = Callable[[list[str]], Awaitable[set[str]]]
"""Which of some symlinks lead to directories."""
Walked = tuple[str, list[str], list[str]]
_MAGIC = re.compile(r"[*?\[]")


async def walk(
    scan: ListDirectory,
    directories_behind: LookBehind,
    top: str,
    topdown: bool = True,
    onerror: Callable[[OSError], object] | None = None,
    followlinks: bool = False,
) -> AsyncIterator[Walked]:
    """As ``os.walk``: (directory, its directories, its other entries).

    A symlink that leads to a directory is among the directories, and is entered only with
    ``followlinks``. Top down, the list of directories may be changed to steer the walk.
    """
    waiting: list[tuple[str, Walked | None]] = [(top, None)]
    while waiting:
        path, listed = waiting.pop()
        if listed is not None:
            yield listed
            continue
        try:
            entries = await scan(path)
        except MemfsError as error:
            if onerror is not None:
                onerror(error)
            continue
        links = [entry.path for entry in entries if entry.is_symlink()]
        behind = await directories_behind(links) if links else set()
        directories = [each.name for each in entries if each.is_dir() or each.path in behind]
        others = [each.name for each in entries if not each.is_dir() and each.path not in behind]
        if topdown:
            yield path, directories, others
        else:
            waiting.append((path, (path, directories, others)))
        below = (paths.join(path, name) for name in reversed(directories))
        waiting += [(each, None) for each in below if followlinks or each not in behind]


async def glob(
    scan: ListDirectory, exists: Callable[[str], Awaitable[bool]], pattern: str
) -> AsyncIterator[str]:
    """Paths that match ``pattern``, in order of directories.

    ``*``, ``?`` and ``[...]`` match within a name and no leading dot; ``**`` as a whole component
    matches any number of directories, none included; as the last one everything below.
    """
    parts = [part for part in pattern.split("/") if part]
    waiting = [_Step("/", parts)] if pattern else []  # an empty one matches nothing
    while waiting:
        step = waiting.pop()
        if not step.parts:
            yield step.path
        else:
            waiting += reversed(await _next_steps(scan, exists, step))


class _Step(NamedTuple):
    """Part of a search: what is left of the pattern below a path."""

    path: str
    parts: list[str]
    inner: bool = False
    """The first part is a ``**`` that already matched a directory."""


async def _next_steps(
    scan: ListDirectory, exists: Callable[[str], Awaitable[bool]], step: _Step
) -> list[_Step]:
    """What is to do after one part of the pattern, in order."""
    base, (part, *rest), inner = step
    if part == "**":
        return await _any_depth(scan, base, rest, inner)
    if _MAGIC.search(part) is not None:
        return [
            _Step(entry.path, rest)
            for entry in await _entries(scan, base)
            if _name_matches(entry.name, part) and (not rest or not entry.is_file())
        ]
    path = paths.join(base, part)
    if any(_MAGIC.search(each) for each in rest):
        return [_Step(path, rest)]
    path = paths.join(path, "/".join(rest)) if rest else path
    return [_Step(path, [])] if await exists(path) else []


async def _any_depth(scan: ListDirectory, base: str, rest: list[str], inner: bool) -> list[_Step]:
    """``**``: ``rest`` below ``base`` and below every directory under it."""
    while rest and rest[0] == "**":
        rest = rest[1:]
    steps = [_Step(base, rest)] if rest or not inner else []
    for entry in await _entries(scan, base):
        if entry.name.startswith("."):
            continue
        if not rest:
            steps.append(_Step(entry.path, []))
        if entry.is_dir():
            steps.append(_Step(entry.path, ["**", *rest], inner=True))
    return steps


async def _entries(scan: ListDirectory, path: str) -> list[DirEntry]:
    """What a directory holds; nothing when it is none or vanished meanwhile."""
    try:
        return await scan(path)
    except (PathNotFoundError, NotDirectoryError, PermissionError):
        return []


def _name_matches(name: str, pattern: str) -> bool:
    if name.startswith(".") and not pattern.startswith("."):
        return False
    return fnmatch.fnmatchcase(name, pattern)
