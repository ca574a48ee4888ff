"""A mount's cache of the tree: attributes by inode, and inodes by name. Owns which replies may be
cached: what was invalidated while a request was under way is not cached from its reply. Invariant:
as long as the watch is trusted, everything cached is what the cluster would answer. Must not know
the kernel's protocol or how notices of changes arrive.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from memfs.types import Attributes, DirectoryEntry

INODES: Final = 120_000
"""Cached inodes: 72 MiB, which holds a directory of 100,000 names; fewer than the primary remembers
for a client."""
DROPPED_SHARE: Final = 16
"""One in so many is dropped at once: to find the oldest of a dictionary takes as long as there are
others that were dropped before it."""
ABSENT: Final = 0
"""Inode number of a name that is known not to exist."""
_UNKNOWN: Final = -1
"""Inode number of a name that this mount has changed or is changing: the cluster has to be
asked."""


class _Directory:
    """Inodes by name of one directory."""

    __slots__ = ("complete", "names", "reached")

    def __init__(self) -> None:
        self.names: dict[bytes, int] = {}
        self.complete = False
        """Whether a name that is not cached certainly does not exist."""
        self.reached: bytes | None = None
        """All names up to this one are cached; None: no such name."""


class PendingRead:
    """A lookup or listing whose reply has not come yet."""

    __slots__ = ("forgotten", "good")

    def __init__(self) -> None:
        self.good = True
        """Whether the cache was not cleared since the request was sent."""
        self.forgotten: set[int] = set()

    def holds(self, inode: int) -> bool:
        """Whether an inode was not invalidated since the request was sent."""
        return self.good and inode not in self.forgotten


class KnownTree:
    """The cached inodes and directories of one mount."""

    def __init__(self) -> None:
        self._attributes: dict[int, Attributes] = {}
        self._directories: dict[int, _Directory] = {}
        self._aged: set[int] = set()
        """Directories whose cached times only are stale: this mount has changed names in them."""
        self._readings: set[PendingRead] = set()

    def __len__(self) -> int:
        return len(self._attributes)

    # --- looking ----------------------------------------------------------------------------

    def attributes(self, inode: int) -> Attributes | None:
        """Cached attributes of an inode, None: the cluster has to be asked."""
        return None if inode in self._aged else self._attributes.get(inode)

    def is_aged(self, inode: int) -> bool:
        """Whether the times of a directory, as :meth:`name` tells them, may be old."""
        return inode in self._aged

    def name(self, parent: int, name: bytes) -> Attributes | int | None:
        """Cached attributes of a name, ABSENT, or None: the cluster has to be asked."""
        directory = self._directories.get(parent)
        if directory is None:
            return None
        inode = directory.names.get(name, ABSENT if directory.complete else _UNKNOWN)
        if inode == _UNKNOWN:
            return None
        return self._attributes.get(inode) if inode else ABSENT

    def is_complete(self, parent: int) -> bool:
        """Whether all names of a directory are cached, except those that this mount has changed."""
        directory = self._directories.get(parent)
        return directory is not None and directory.complete

    def listing(self, parent: int) -> tuple[list[bytes], list[Attributes]] | None:
        """All names of a directory, ordered, and what they mean; None: the cluster has to be asked.
        An object for each entry would take as long as all the rest."""
        directory = self._directories.get(parent)
        if directory is None or not directory.complete:
            return None
        inodes, attributes = directory.names, self._attributes
        try:
            names = sorted(filter(inodes.__getitem__, inodes))  # without those that are ABSENT
            return names, [attributes[inodes[name]] for name in names]
        except KeyError:
            return None

    # --- learning ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def reading(self) -> Iterator[PendingRead]:
        """Encloses a request; its reply is cached inside, unless it was invalidated meanwhile."""
        reading = PendingRead()
        self._readings.add(reading)
        try:
            yield reading
        finally:
            self._readings.discard(reading)

    def learn(self, reading: PendingRead, found: Attributes) -> bool:
        """Cache an inode's attributes; False when they may be stale already."""
        if not reading.holds(found.inode):
            return False
        self._attributes.pop(found.inode, None)
        self._aged.discard(found.inode)
        self._attributes[found.inode] = found
        if len(self._attributes) > INODES:
            for inode in list(islice(self._attributes, max(1, INODES // DROPPED_SHARE))):
                self._drop(inode)
        return True

    def learn_name(
        self, reading: PendingRead, parent: int, name: bytes, found: Attributes | None
    ) -> bool:
        """Cache a name (None: it does not exist); False when it may be stale already."""
        if not reading.holds(parent):
            return False
        if found is not None and not self.learn(reading, found):
            return False
        self._directory(parent).names[name] = ABSENT if found is None else found.inode
        return True

    def learn_page(
        self,
        reading: PendingRead,
        parent: int,
        after: bytes,
        entries: Sequence[DirectoryEntry],
        more: bool,
    ) -> None:
        """Cache a page of a directory: its entries after a name, and whether there are more."""
        if not reading.holds(parent):
            return
        directory = self._directory(parent)
        names = directory.names
        for name, found in entries:
            if not found.links or not self.learn(reading, found):  # not to be looked at, or old
                names[name] = _UNKNOWN
            else:
                names[name] = found.inode
        if self._directories.get(parent) is not directory:
            return  # too many inodes were learnt, and it was among the first ones
        if not after or after == directory.reached:
            directory.reached = entries[-1].name if entries else after
            directory.complete |= not more

    def _directory(self, parent: int) -> _Directory:
        found = self._directories.get(parent)
        if found is None or len(found.names) > INODES:
            if len(self._directories) >= INODES:
                del self._directories[next(iter(self._directories))]
            found = self._directories[parent] = _Directory()
        return found

    # --- forgetting -------------------------------------------------------------------------

    def forget(self, inodes: Iterable[int], by: PendingRead | None = None) -> None:
        """Invalidate inodes: their attributes, and the names in them. ``by``: the command of this
        mount that has changed them, whose reply is current.
        """
        inodes = tuple(inodes)
        for reading in self._readings:
            if reading is not by:
                reading.forgotten.update(inodes)
        for inode in inodes:
            self._drop(inode)

    def forget_name(self, parent: int, name: bytes, by: PendingRead | None = None) -> None:
        """This mount is changing one name: the other names of the directory stay cached."""
        for reading in self._readings:
            if reading is not by:
                reading.forgotten.add(parent)
        if parent in self._attributes:
            self._aged.add(parent)
        directory = self._directories.get(parent)
        if directory is not None:
            directory.names[name] = _UNKNOWN

    def forget_all(self) -> list[int]:
        """Clear the cache; returns the inodes that it held."""
        for reading in self._readings:
            reading.good = False
        inodes = list(self._attributes)
        self._attributes.clear()
        self._aged.clear()
        self._directories.clear()
        return inodes

    def _drop(self, inode: int) -> None:
        self._attributes.pop(inode, None)
        self._aged.discard(inode)
        self._directories.pop(inode, None)
