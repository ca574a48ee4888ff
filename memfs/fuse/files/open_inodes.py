"""All files that are open through a mount, by inode.

Owns their number of descriptors, and which files are published to make room for what is kept. No
request needs this state: a worker that takes over from a killed one begins without open files,
writes again what that had not published, and opens the others as they are used.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from typing import Final

from memfs.client.inodes import InodeOperations
from memfs.errors import LeaseHeldError, MemfsError, RetryableError
from memfs.fuse.files.open_inode import RETRY_SECONDS_MAX, Observed, OpenInode
from memfs.fuse.kept import KeptWrites

log = logging.getLogger(__name__)

CACHED: Final = 65_536
WRITTEN_AT_ONCE: Final = 16
"""Files that are written again at a time."""


def writes(flags: int) -> bool:
    """Whether ``open`` flags ask for a descriptor that may write."""
    return flags & os.O_ACCMODE != os.O_RDONLY


class OpenInodes:
    """Open files of one mount."""

    def __init__(
        self,
        cluster: InodeOperations,
        patience: float | None,
        observed: Observed,
        changed: Callable[[int], None],
        kept: KeptWrites,
    ) -> None:
        """``patience``, ``observed``, ``changed``, ``kept``: as of :class:`OpenInode`."""
        self._kept = kept
        self._relieving: asyncio.Task[None] | None = None
        kept.pressed = self._relieve
        self._cluster = cluster
        self._observed = observed
        self._changed = changed
        self._patience = patience
        self._files: dict[int, OpenInode] = {}
        self._cached: dict[int, int] = {}
        """The version (``Attributes.change``) of the bytes that the kernel caches, the latest
        last."""

    def __len__(self) -> int:
        return len(self._files)

    def get(self, inode: int) -> OpenInode | None:
        """The file if it is open."""
        return self._files.get(inode)

    def use(self, inode: int) -> OpenInode:
        """The file's entry, made if there is none."""
        found = self._files.get(inode)
        if found is None:
            found = self._files[inode] = OpenInode(
                self._cluster,
                inode,
                self._patience,
                self._observed,
                self._changed,
                self._kept,
            )
        return found

    def opened(self, file: OpenInode, flags: int) -> None:
        """Count a new descriptor."""
        file.opens += 1
        file.writers += writes(flags)

    async def look(self, file: OpenInode, flags: int) -> bool:
        """Refresh an open file's attributes; returns whether the kernel's cached bytes are still
        valid."""
        if flags & os.O_ACCMODE == os.O_WRONLY or file.leased:
            return False
        change = await file.refresh()
        kept = self._cached.pop(file.inode, None) == change
        self._cached[file.inode] = change
        if len(self._cached) > CACHED:
            del self._cached[next(iter(self._cached))]
        return kept

    async def outlast_names(self) -> None:
        """As :meth:`OpenInode.outlast_name`, of all files."""
        for file in list(self._files.values()):
            await file.outlast_name()

    def released(self, inode: int, flags: int) -> OpenInode | None:
        """Count a closed descriptor; with the last one the file is closed. Returns the file when
        closing has to be awaited, by :meth:`put_down`.
        """
        file = self._files.get(inode)
        if file is None:
            return None
        file.opens -= 1
        file.writers -= writes(flags)
        if file.writers <= 0:
            file.not_written()
        if file.opens > 0:
            return None
        if not file.close_now():
            return file
        del self._files[inode]
        return None

    async def give_up(self, inode: int, flags: int) -> None:
        """As :meth:`released`, to its end: the descriptor that was counted is none."""
        file = self.released(inode, flags)
        if file is not None:
            await self.put_down(file)

    async def put_down(self, file: OpenInode) -> None:
        """Close the file unless it was opened again; an error is only logged."""
        if file.opens > 0:
            return
        try:
            await file.close()
        except MemfsError as error:
            log.error("what was written is lost", extra={"file": str(file)}, exc_info=error)
        if file.opens <= 0 and not file.leased and self._files.get(file.inode) is file:
            del self._files[file.inode]

    # --- what is kept for another worker --------------------------------------------------------

    async def write_again(self, seconds: float) -> None:
        """Write and publish what a former worker has kept. Waits for other writers for so long.

        Raises RetryableError: the worker after this one may try again.
        """
        places = asyncio.Semaphore(WRITTEN_AT_ONCE)
        until = asyncio.get_running_loop().time() + seconds

        async def write(inode: int) -> None:
            async with places:
                await self._write_again(self.use(inode), until)

        writing = [write(inode) for inode in self._kept.left]
        for outcome in await asyncio.gather(*writing, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _write_again(self, file: OpenInode, until: float) -> None:
        while True:
            try:
                await file.write_again()
                break
            except LeaseHeldError as error:
                if asyncio.get_running_loop().time() > until:
                    self._lose(file, error)
                    break
                await asyncio.sleep(RETRY_SECONDS_MAX)
            except RetryableError:
                raise
            except MemfsError as error:
                self._lose(file, error)
                break
        await self.put_down(file)

    def _lose(self, file: OpenInode, error: MemfsError) -> None:
        log.error("what was written is lost: %s: %s", file, error)
        file.lose(error)

    def _relieve(self) -> None:
        if self._relieving is None or self._relieving.done():
            self._relieving = asyncio.create_task(self._make_room())

    async def _make_room(self) -> None:
        """Publish files until less is kept: what costs them no time, and all of it when room is
        short. Whoever writes or closes next hears what fails."""
        for inode in self._kept.oldest():
            file = self._files.get(inode)
            if not self._kept.much:
                return
            if file is not None:
                with contextlib.suppress(MemfsError):
                    await (file.settle() if self._kept.short else file.publish_settled())

    async def close(self) -> None:
        """Close all files, even those with open descriptors."""
        files = list(self._files.values())
        self._files.clear()
        for file in files:
            file.opens = 0
        outcomes = await asyncio.gather(*(file.close() for file in files), return_exceptions=True)
        for file, outcome in zip(files, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                log.error("what was written is lost: %s: %s", file, outcome)
