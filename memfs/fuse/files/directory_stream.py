"""An open directory: its entries by position, fetched a page at a time.

A position, as ``telldir`` shows it, is the number of entries that this descriptor returned before
it. Names are ordered, so that a name made or removed meanwhile neither hides nor repeats others.
Must not know the kernel's protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from memfs.client.inodes import InodeOperations
from memfs.fuse.known import KnownTree
from memfs.types import Attributes

Listed: TypeAlias = tuple[bytes, Attributes]
"""A name and what it means."""
GIVEN_AT_ONCE: Final = 4096
"""Entries; more do not fit the answer to one request of a program."""


class DirectoryStream:
    """Entries of one directory for one descriptor."""

    def __init__(
        self,
        cluster: InodeOperations,
        known: KnownTree,
        trusted: Callable[[], float],
        inode: int,
    ) -> None:
        """``known`` caches what is listed; while it is ``trusted`` its entries are valid."""
        self.inode = inode
        self._cluster = cluster
        self._known = known
        self._trusted = trusted
        self._names: list[bytes] = []
        """Names of all entries returned so far, in order."""
        self._page: Sequence[Attributes] = ()
        """What the names from :attr:`_page_start` on mean."""
        self._page_start = 0
        self._more = True
        self._loading = asyncio.Lock()

    def known(self, position: int) -> Iterable[Listed] | None:
        """Entries from a position on, when they are here: empty at the end, else None."""
        start = position - self._page_start
        if 0 <= start < len(self._page):
            names = self._names[position : position + GIVEN_AT_ONCE]
            return zip(names, self._page[start : start + GIVEN_AT_ONCE], strict=True)
        if position >= len(self._names) and not self._more:
            return ()
        return None

    async def entries(self, position: int) -> Iterable[Listed]:
        """Some entries from a position on, none at the end."""
        async with self._loading:
            if position == 0:
                self._rewind()
            found = self.known(position)
            while found is None:
                await self._load(position)
                found = self.known(position)
        return found

    def _rewind(self) -> None:
        self._names = []
        self._page = ()
        self._page_start = 0
        self._more = True
        listing = self._known.listing(self.inode)
        if listing is not None and self._trusted():
            self._more = False
            self._names, self._page = listing

    async def _load(self, position: int) -> None:
        """The page that begins at a position; for a position not reached yet, the next page."""
        start = min(position, len(self._names))
        after = self._names[start - 1] if start else b""
        with self._known.reading() as reading:
            entries, self._more = await self._cluster.list(self.inode, after)
            self._known.learn_page(reading, self.inode, after, entries, self._more)
        self._page, self._page_start = [found for _, found in entries], start
        del self._names[start:]
        self._names += [name for name, _ in entries]
