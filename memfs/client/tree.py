"""Walking trees and matching patterns, over ``scandir`` alone.

Owns the order and the meaning of ``walk`` and ``glob``. Must not know requests: it is given a
function that lists a directory.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import AsyncIterator, Awaitable, Callable

from memfs import paths
from memfs.client.stat import DirEntry
from memfs.errors import MemfsError, NotDirectoryError, PathNotFoundError

ListDirectory = Callable[[str], Awaitable[list[DirEntry]]]
Walked = tuple[str, list[str], list[str]]
_MAGIC = re.compile(r"[*?\[]")


async def walk(
    scan: ListDirectory,
    top: str,
    topdown: bool = True,
    onerror: Callable[[OSError], object] | None = None,
) -> AsyncIterator[Walked]:
    """As ``os.walk``: (directory, its directories, its other entries); links are not followed.

    Top down, the list of directories may be changed to steer the walk.
    """
    try:
        entries = await scan(top)
    except MemfsError as error:
        if onerror is not None:
            onerror(error)
        return
    directories = [entry.name for entry in entries if entry.is_dir()]
    others = [entry.name for entry in entries if not entry.is_dir()]
    if topdown:
        yield top, directories, others
    for name in directories:
        async for found in walk(scan, paths.join(top, name), topdown, onerror):
            yield found
    if not topdown:
        yield top, directories, others


async def glob(
    scan: ListDirectory, exists: Callable[[str], Awaitable[bool]], pattern: str
) -> AsyncIterator[str]:
    """Paths that match ``pattern``, in order of directories.

    ``*``, ``?`` and ``[...]`` match within a name and no leading dot; ``**`` as a whole component
    matches any number of directories, none included; as the last one everything below.
    """
    parts = [part for part in pattern.split("/") if part]
    async for path in _match(scan, exists, "/", parts):
        yield path


async def _match(
    scan: ListDirectory, exists: Callable[[str], Awaitable[bool]], base: str, parts: list[str]
) -> AsyncIterator[str]:
    if not parts:
        yield base
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        async for path in _match_any_depth(scan, exists, base, rest):
            yield path
    elif _MAGIC.search(part) is None:
        path = paths.join(base, part)
        if rest and any(_MAGIC.search(each) for each in rest):
            async for found in _match(scan, exists, path, rest):
                yield found
        elif await exists(paths.join(path, "/".join(rest)) if rest else path):
            yield paths.join(path, "/".join(rest)) if rest else path
    else:
        for entry in await _entries(scan, base):
            if _name_matches(entry.name, part) and (not rest or not entry.is_file()):
                async for path in _match(scan, exists, entry.path, rest):
                    yield path


async def _match_any_depth(
    scan: ListDirectory,
    exists: Callable[[str], Awaitable[bool]],
    base: str,
    rest: list[str],
    top: bool = True,
) -> AsyncIterator[str]:
    """``**``: ``rest`` below ``base`` and below every directory under it."""
    while rest and rest[0] == "**":
        rest = rest[1:]
    if rest:
        async for path in _match(scan, exists, base, rest):
            yield path
    elif top:
        yield base
    for entry in await _entries(scan, base):
        if entry.name.startswith("."):
            continue
        if not rest:
            yield entry.path
        if entry.is_dir():
            async for path in _match_any_depth(scan, exists, entry.path, rest, False):
                yield path


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
