"""Moves that are no renames: to another file system, or across the mount of an external store.

Such a move is made of a look, a copy and a removal. What was written in between must not be lost:
each file is removed only if it is the one that was seen before the copy began and nobody was
allowed to write to it since, and directories only when nothing is left in them. What fails, or is
stopped, leaves both.
"""

from __future__ import annotations

from typing import NamedTuple

from memfs.client.filesystem import AsyncFileSystem
from memfs.client.transfer.copy_calls import copy
from memfs.client.transfer.copying import Follow
from memfs.concurrency import run_all
from memfs.errors import (
    CrossMountError,
    InvalidArgumentError,
    IsDirectoryError,
    LeaseHeldError,
    NotDirectoryError,
    PathExistsError,
    StaleHandleError,
)
from memfs.types import Attributes, FileKind

_PARALLEL = 32
"""Names that are removed at the same time."""


class SeenName(NamedTuple):
    """A name that is to move, and what it led to."""

    path: str
    found: Attributes

    @property
    def is_directory(self) -> bool:
        return self.found.kind == FileKind.DIRECTORY


async def move(fs: AsyncFileSystem, source: str, target: str, *, overwrite: bool = True) -> bool:
    """Rename, or copy with metadata and remove where a store's mount is on the way, as mv(1) does.

    Returns whether it was a rename. ``overwrite``: a file, or an empty directory, that has the name
    ``target`` is replaced; else it is an error. Raises what rename, copy and removal raise.
    """
    try:
        await fs.rename(source, target, overwrite=overwrite)
    except CrossMountError:
        seen = await look(fs, source)
        await _make_way(fs, seen[0], target, overwrite=overwrite)
        await copy(fs, source, target, preserve=True, xattrs=True, follow_symlinks=Follow.NEVER)
        await remove(fs, seen)
        return False
    return True


async def _make_way(fs: AsyncFileSystem, top: SeenName, target: str, *, overwrite: bool) -> None:
    """What rename(2) would say of the target; an empty directory there goes."""
    parts = target.strip("/").split("/")
    above = await fs.stat_many(["/" + "/".join(parts[:end]) for end in range(len(parts))])
    if top.is_directory and any(each and each.st_ino == top.found.inode for each in above):
        raise InvalidArgumentError("a directory cannot be moved into itself", path=target)
    (old,) = await fs.stat_many([target], follow_symlinks=False)
    if old is None:
        return
    if not overwrite:
        raise PathExistsError("it exists", path=target)
    if top.is_directory and not old.is_dir():
        raise NotDirectoryError("a directory cannot replace it", path=target)
    if old.is_dir():
        if not top.is_directory:
            raise IsDirectoryError("only a directory can replace it", path=target)
        await fs.rmdir(target)


async def look(fs: AsyncFileSystem, top: str) -> list[SeenName]:
    """All that lies at ``top`` and below it, directories before what is in them.

    Raises LeaseHeldError when somebody writes to a file of it: what they write could be lost.
    """
    found = [SeenName(top, (await fs.lstat(top)).attributes)]
    for each in found:  # it grows meanwhile: trees are deeper than Python's stack
        if each.found.leased:
            raise LeaseHeldError("it is being written and cannot be moved away", path=each.path)
        if each.is_directory:
            entries = await fs.scandir(each.path)
            found += [SeenName(entry.path, entry.listed.attributes) for entry in entries]
    return found


async def remove(fs: AsyncFileSystem, seen: list[SeenName]) -> None:
    """Remove what :func:`look` saw, now that it is copied, and nothing else.

    Raises StaleHandleError for what was changed, OSError for a directory that something was put
    into; these stay.
    """

    async def remove_file(each: SeenName) -> None:
        try:
            await fs.remove_unchanged(each.path, each.found)
        except StaleHandleError:
            text = "it was changed while it was moved, and stays; what was copied stays too"
            raise StaleHandleError(text, path=each.path) from None

    await run_all((remove_file(each) for each in seen if not each.is_directory), _PARALLEL)
    for each in reversed(seen):
        if each.is_directory:
            await fs.rmdir(each.path)
