"""What a path that moves to another file system leaves behind here: all that was not copied.

Such a move is made of a look, a copy and a removal. What was written in between must not be lost:
each file is removed only if it is the one that was seen before the copy began and nobody was
allowed to write to it since, and directories only when nothing is left in them.
"""

from __future__ import annotations

from typing import NamedTuple

from memfs.client.filesystem import AsyncFileSystem
from memfs.concurrency import run_all
from memfs.errors import LeaseHeldError, StaleHandleError
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
