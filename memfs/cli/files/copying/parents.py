"""``--parents`` of ``put``, ``get`` and ``cp``: a source's directories below a target."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from memfs.client.transfer.cluster_source import cluster_tree
from memfs.client.transfer.copying import Direction, Failure, Follow, Item
from memfs.client.transfer.download import Download
from memfs.client.transfer.duplicate import Duplicate
from memfs.client.transfer.upload import Upload, local_tree, new_bits

if TYPE_CHECKING:
    from memfs.cli.files.copying.copy_flags import CopyFlags
    from memfs.client.filesystem import AsyncFileSystem

Tree = Callable[[str, str, Follow], AsyncIterator[Item | Failure]]
"""Lists the directories of a source below a target, the top first."""


class Parents:
    """Makes the directories that a source lies in again, below a target."""

    def __init__(self, direction: Direction, tree: Tree, target: str, local: bool) -> None:
        """``local``: the target is a directory of this machine."""
        self.local = local
        self._direction = direction
        self._tree = tree
        self._target = target.rstrip("/")

    @classmethod
    def of_put(cls, fs: AsyncFileSystem, target: str, options: CopyFlags) -> Parents:
        """From this machine into the cluster."""
        upload = Upload(fs, options.preserve, None, xattrs=options.xattrs)
        return cls(upload, local_tree, target, False)

    @classmethod
    def of_get(cls, fs: AsyncFileSystem, target: str, options: CopyFlags) -> Parents:
        """From the cluster to this machine."""
        download = Download(fs, options.preserve, options.xattrs)
        return cls(download, lambda *given: cluster_tree(fs, *given), target, True)

    @classmethod
    def of_cp(cls, fs: AsyncFileSystem, target: str, options: CopyFlags) -> Parents:
        """Inside the cluster."""
        kept = 0o7777 if options.preserve else new_bits()
        duplicate = Duplicate(fs, options.preserve, None, kept, xattrs=options.xattrs)
        return cls(duplicate, lambda *given: cluster_tree(fs, *given), target, False)

    def place_of(self, source: str) -> str:
        """The target of ``source``."""
        there = f"{self._target}/{source.strip('/')}"
        return there if self.local else posixpath.normpath(there)

    async def make(self, source: str) -> list[Item]:
        """Make the missing directories above the target of ``source``; returns them, the top
        first."""
        made: list[Item] = []
        names = source.rstrip("/").split("/")
        for count in range(1, len(names)):
            above = "/".join(names[:count])
            if not above:
                continue
            listing = self._tree(above, self.place_of(above), Follow.NAMED)
            item = await anext(listing)
            if isinstance(item, Failure):
                raise item.error
            await self._direction.directory(item)
            made.append(item)
        return made

    async def finish(self, made: list[Item]) -> None:
        """Give them their final modes and times, after what was copied into them."""
        for item in reversed(made):
            await self._direction.finish(item)
