"""The cluster as the target of a copy: what becomes of what lies there already.

Owns the rules, which are those of cp(1): a file keeps its inode's owner, mode and further names and
takes new content, a symlink is written through, what is not a directory never takes a
directory's place, nor the other way round. Must not know where the bytes come from. Invariant: a
file appears under its final name only when all of it is there (NoPartialVisible).
"""

from __future__ import annotations

import contextlib
import posixpath
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from memfs import concurrency
from memfs.client.contents import ContentOperations
from memfs.client.handles.versions import CopySink
from memfs.client.stat import Stat
from memfs.client.transfer.copying import ATTRIBUTES, Item, Reader, pump
from memfs.errors import (
    InvalidArgumentError,
    IsDirectoryError,
    NotDirectoryError,
    PathExistsError,
    PathNotFoundError,
    SymlinkLoopError,
    UnsupportedError,
)
from memfs.limits import SYMLINK_FOLLOWS
from memfs.types import Buffer

Fill = Callable[[CopySink], Awaitable[int]]
"""Writes a file's data; returns its length."""
_OWNER_WRITES = 0o200
DANGLING = "not writing through a dangling symbolic link"


class RemotePlace(NamedTuple):
    """Where a file's content goes."""

    path: str
    """The target, or what its symbolic links lead to."""
    found: Stat | None
    """The file that is there."""


async def find_place(fs: ContentOperations, target: str) -> RemotePlace:
    """Follow ``target`` as cp does. Raises IsDirectoryError, and for a link that leads nowhere."""
    path = target
    for _ in range(SYMLINK_FOLLOWS):
        try:
            found = await fs.stat(path, follow_symlinks=False)
        except PathNotFoundError:
            if path != target:
                raise InvalidArgumentError(DANGLING, path=target) from None
            return RemotePlace(path, None)
        if found.is_dir():
            raise IsDirectoryError("it is a directory", path=target)
        if not found.is_symlink():
            return RemotePlace(path, found)
        path = posixpath.join(posixpath.dirname(path), await fs.readlink(path))
    raise SymlinkLoopError("too many symbolic links", path=target)


class ClusterTarget(ABC):
    """Directories, links and files of a copy, made in the cluster."""

    def __init__(
        self,
        fs: ContentOperations,
        preserve: bool,
        replication: int | None,
        kept_bits: int,
        recover: bool = False,
        xattrs: bool = False,
    ) -> None:
        """``kept_bits``: what new entries have of the mode of their source.

        ``recover``: replace also what somebody else writes. ``xattrs``: what is preserved of a
        file are also its extended attributes.
        """
        self._fs = fs
        self._preserve = preserve
        self._xattrs = xattrs
        self._replication = replication
        self._kept_bits = kept_bits
        self._recover = recover
        self._made: set[str] = set()
        """Directories that this copy made: nothing lies in them."""

    def mode(self, item: Item) -> int:
        """Permissions of what is created for ``item``."""
        return item.mode & self._kept_bits

    async def directory(self, item: Item) -> None:
        """Make a directory; one that exists is merged into."""
        mode = self.mode(item) | 0o700
        try:
            await self._fs.mkdir(item.target, mode)
        except PathExistsError:
            found = await self._fs.stat(item.target, follow_symlinks=item.named)
            if not found.is_dir():
                text = "cannot overwrite non-directory with directory"
                raise NotDirectoryError(text, path=item.target) from None
        else:
            self._made.add(item.target)

    async def finish(self, item: Item) -> None:
        """Final mode and times of a directory."""
        if self._preserve:
            await self.keep(item)
        elif item.target in self._made and self.mode(item) & 0o700 != 0o700:
            await self._fs.chmod(item.target, self.mode(item))

    async def keep(self, item: Item) -> None:
        """Give a copy what ``preserve`` keeps; the owner only where that is allowed."""
        if self._xattrs:
            await self._keep_xattrs(item)
        if item.owner:
            with contextlib.suppress(PermissionError):
                await self._fs.chown(item.target, item.owner, item.group)
        await self._fs.chmod(item.target, item.mode)
        if item.acl:
            acl = await self._fs.get_acl(item.source)
            await self._fs.set_acl(item.target, acl.entries)
        await self._fs.utime(item.target, ns=(item.accessed_ns, item.modified_ns))

    async def _keep_xattrs(self, item: Item) -> None:
        """As far as possible, as cp -a does: what the cluster does not take is left out."""
        found = await self.xattrs_of(item)
        if found and not self.mode(item) & _OWNER_WRITES:
            await self._fs.chmod(item.target, self.mode(item) | _OWNER_WRITES)
        for name, value in found.items():
            with contextlib.suppress(PermissionError, UnsupportedError):
                await self._fs.setxattr(item.target, name, value)

    @abstractmethod
    async def xattrs_of(self, item: Item) -> Mapping[str, bytes]:
        """Those of the source."""

    async def symlink(self, item: Item) -> None:
        """Make a symlink in place of anything but a directory."""
        await self._fs.symlink(item.link, item.target, replace=True)
        if not self._preserve:
            return
        if item.owner:
            with contextlib.suppress(PermissionError):
                await self._fs.chown(item.target, item.owner, item.group, follow_symlinks=False)
        times = (item.accessed_ns, item.modified_ns)
        await self._fs.utime(item.target, ns=times, follow_symlinks=False)

    async def link(self, first: str, item: Item) -> None:
        """Make another name of the file ``first`` in place of anything but a directory."""
        place = await find_place(self._fs, first)
        await self._fs.link(place.path, item.target, replace=True)

    async def store(
        self, items: Sequence[Item], contents: Sequence[Buffer | OSError]
    ) -> list[OSError | None]:
        """Store small files, each atomically; an outcome for each."""
        outcomes: list[OSError | None] = [
            content if isinstance(content, OSError) else None for content in contents
        ]
        await self._check_places(items, outcomes)
        good = [at for at, outcome in enumerate(outcomes) if outcome is None]
        if not good:
            return outcomes
        pairs = [
            (items[at].target, content)
            for at in good
            if not isinstance(content := contents[at], OSError)
        ]
        results = await self._fs.write_many(
            pairs,
            permissions=self.mode(items[0]),
            replication=self._replication,
            recover=self._recover,
            return_errors=True,
        )
        for at, result in zip(good, results, strict=True):
            outcomes[at] = result if isinstance(result, OSError) else None
        if self._preserve:
            stored = [at for at in good if outcomes[at] is None]
            work = [self.keep(items[at]) for at in stored]
            kept = await concurrency.outcomes(work, ATTRIBUTES, OSError)
            for at, outcome in zip(stored, kept, strict=True):
                outcomes[at] = outcome
        return outcomes

    async def _check_places(self, items: Sequence[Item], outcomes: list[OSError | None]) -> None:
        """Note what must not be written to; one request, unless this copy made the directories."""
        doubtful = [
            at
            for at, item in enumerate(items)
            if outcomes[at] is None and item.target.rpartition("/")[0] not in self._made
        ]
        if not doubtful:
            return
        targets = [items[at].target for at in doubtful]
        for at, found in zip(
            doubtful, await self._fs.stat_many(targets, follow_symlinks=False), strict=True
        ):
            try:
                if found is not None and found.is_symlink():
                    found = (await find_place(self._fs, items[at].target)).found
                check_not_same(items[at].inode, found)
            except OSError as error:
                outcomes[at] = error

    async def receive(self, item: Item, fill: Fill) -> None:
        """Store one file of any size."""
        await put_file(
            self._fs,
            item.target,
            fill,
            permissions=self.mode(item),
            replication=self._replication,
            source=item.inode,
            recover=self._recover,
        )
        if self._preserve:
            await self.keep(item)


def check_not_same(source: int, found: Stat | None) -> None:
    """Raises InvalidArgumentError when a file of the cluster would be copied onto itself."""
    if found is not None and source and found.st_ino == source:
        raise InvalidArgumentError("source and target are the same file")


async def put_stream(
    fs: ContentOperations,
    target: str,
    read: Reader,
    *,
    permissions: int = 0o644,
    replication: int | None = None,
    recover: bool = False,
) -> int:
    """As :func:`put_file`, of what ``read`` gives."""

    async def fill(sink: CopySink) -> int:
        return await write_stream(read, sink)

    return await put_file(
        fs, target, fill, permissions=permissions, replication=replication, recover=recover
    )


async def write_stream(
    read: Reader, sink: CopySink, advance: Callable[[int], None] = lambda count: None
) -> int:
    """Write what ``read`` gives, which fills a buffer, less at the end; returns the bytes."""
    position = 0

    async def write(data: memoryview) -> None:
        nonlocal position
        await sink.write(position, data)
        position += len(data)
        advance(len(data))

    return await pump(read, write)


async def put_file(
    fs: ContentOperations,
    target: str,
    fill: Fill,
    *,
    permissions: int = 0o644,
    replication: int | None = None,
    source: int = 0,
    recover: bool = False,
) -> int:
    """Store what ``fill`` writes as the file ``target``; returns its length.

    The file appears under its name when it is complete, and until then nothing is there or what was
    there: that keeps what it has but its content, a symbolic link is followed. ``source``: the
    inode that is read, if it is one of this cluster.
    """
    place = await find_place(fs, target)
    check_not_same(source, place.found)
    async with fs.replacing(
        place.path, permissions=permissions, replication=replication, recover=recover
    ) as draft:
        return await fill(draft)
