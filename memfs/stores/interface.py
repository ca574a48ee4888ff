"""The interface of every external store: keys, versions and bytes.

Owns the records and the abstract :class:`Store`. Must not know mounts, inodes or any library.
Invariants: a tag names exactly one content of a key; :meth:`Store.read` returns bytes of the
requested tag and of the requested length; an unfinished :meth:`Store.put` is never visible.

Keys are relative to the mount's prefix, have no ``/`` at either end, and are UTF-8. The empty key
is the mount's own directory. All calls raise the errors of :mod:`memfs.stores.errors`: the store
retries what may be retried, with growing waits, until its own time budget or the caller's
``asyncio.timeout`` ends, whichever comes first.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from memfs.types import Buffer


class Absent(enum.Enum):
    """The type of :data:`ABSENT`."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
"""Passed to :meth:`Store.put` as ``expected`` when the key must have no object."""

Expected: TypeAlias = bytes | Absent | None
"""A tag, :data:`ABSENT`, or None to replace whatever exists."""


class ObjectInfo(NamedTuple):
    """One object, or one directory of a level.

    ``key`` is relative to the mount's prefix; ``size`` bytes; ``modified_ns`` since the epoch, 0
    when the store does not tell; ``tag`` is the version: an ETag or version id, or, where the store
    has none, made of size and time (best effort, see :attr:`Capabilities.exact_tags`). A directory
    has size 0 and an empty tag.
    """

    key: str
    size: int
    modified_ns: int
    tag: bytes
    is_directory: bool = False


class Page(NamedTuple):
    """A piece of one level; see :attr:`Capabilities.ordered` for the order of pages.

    ``entries`` are objects and sub-directories; one name may be both, a key and the prefix of
    others: two entries then. ``unreachable`` counts keys that cannot be names: empty or dot
    segments, more than 255 bytes, NUL, not UTF-8. ``after`` continues the listing, None: it ends.
    """

    entries: tuple[ObjectInfo, ...]
    unreachable: int = 0
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The capabilities of a kind of store; other calls are refused."""

    conditional_put: bool
    """``expected`` of put and ``tag`` of delete are decided by the store in one step; elsewhere
    they are compared just before, which leaves a short time for others."""
    rename: bool
    """A file or a whole directory moves in one step."""
    real_directories: bool
    """Directories exist by themselves, also empty ones; else they are prefixes and markers."""
    modes: bool
    """Permission bits are the store's own."""
    writable: bool = True
    exact_tags: bool = True
    """A tag changes with every change of the content; else it is made of size and time."""
    ordered: bool = True
    """No page has a name that comes before one of an earlier page, in the order of names or of
    keys, in which a directory counts as ``name/``."""


class Store(abc.ABC):
    """One external store, opened below one prefix. Used by one event loop."""

    @property
    @abc.abstractmethod
    def capabilities(self) -> Capabilities:
        """Its capabilities, fixed when it is made."""

    @abc.abstractmethod
    async def stat(self, key: str) -> ObjectInfo | None:
        """The object or directory under ``key``, the object when both exist, None when neither
        does."""

    @abc.abstractmethod
    async def list(self, directory: str, after: str | None = None, limit: int = 1000) -> Page:
        """At most ``limit`` entries of one level; ``after`` is that of the page before.

        A directory that does not exist has no entries where directories are prefixes, and raises
        ObjectMissingError where they are real. A page may be empty and not the last one.
        """

    @abc.abstractmethod
    async def read(self, key: str, offset: int, size: int, tag: bytes = b"") -> Buffer:
        """Exactly ``size`` bytes from ``offset``, of the version ``tag`` (b"": whichever is there).

        Raises ObjectChangedError when there is another version or the range is not in it,
        ObjectMissingError when there is none.
        """

    async def read_into(
        self,
        key: str,
        offset: int,
        into: memoryview,
        tag: bytes,
        arrived: Callable[[int], None],
    ) -> None:
        """As :meth:`read`, of one version and as many bytes as ``into`` has, which get there in
        order: ``arrived`` is told each time how many more are there. Nothing is written there
        after this has ended."""
        into[:] = await self.read(key, offset, len(into), tag)
        arrived(len(into))

    @abc.abstractmethod
    async def put(
        self, key: str, chunks: AsyncIterator[Buffer], size: int, expected: Expected = None
    ) -> ObjectInfo:
        """Replace the object by ``size`` bytes, as a whole or not at all.

        ``chunks`` is read once, in pieces of any length; an exception in it, a cancellation or a
        wrong sum of lengths (ValueError) leaves what was there. Raises StoreConflictError unless
        what is there is ``expected``; when a reply was lost, an object that has become what was
        sent counts as done.
        """

    @abc.abstractmethod
    async def delete(self, key: str, tag: bytes | None = None) -> None:
        """Remove an object; one that is not there is no error. ``tag``: only this version.

        Raises StoreConflictError when there is another one.
        """

    @abc.abstractmethod
    async def make_directory(self, key: str) -> None:
        """Make a directory; one that exists is no error. A marker where they are prefixes."""

    @abc.abstractmethod
    async def remove_directory(self, key: str) -> None:
        """Remove an empty directory; one that is not there is no error.

        Raises DirectoryNotEmptyError when something is below it.
        """

    @abc.abstractmethod
    async def rename(self, source: str, target: str) -> None:
        """Move a file or directory in one step, replacing a file.

        Raises StoreUnsupportedError unless :attr:`Capabilities.rename`.
        """

    async def close(self) -> None:  # noqa: B027 - a store may have nothing to let go of
        """Close connections and threads; the store is not used any more."""

    async def probe(self) -> None:
        """Make one cheap request: is the store reachable, are the credentials valid?

        Raises StoreUnreachableError, StoreDeniedError or StoreMissingError (no such bucket).
        """
        await self.list("", None, 1)

    async def sweep(self, older_than_seconds: float) -> int:
        """Remove what unfinished puts of this age left behind; returns how many there were."""
        return 0
