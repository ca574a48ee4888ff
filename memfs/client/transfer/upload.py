"""From the local disk into the cluster.

Owns the reading of local trees and files, in threads; what becomes of them is the
:class:`~memfs.client.transfer.cluster_target.ClusterTarget`'s part.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from memfs.client.contents import ContentOperations
from memfs.client.handles.versions import CopySink, move
from memfs.client.stat import nearest_time_ns
from memfs.client.transfer.cluster_target import ClusterTarget, write_stream
from memfs.client.transfer.copying import LEADS_BACK, SPECIAL, Ancestors, Failure, Follow, Item
from memfs.machine import current_umask
from memfs.paths import join
from memfs.types import KIND_OF_TYPE, FileKind

SHRUNK = "it became shorter while it was read"
LISTED_AT_ONCE = 32
"""Directories that one visit to a thread lists: most are small and the visit costs more."""


class Upload(ClusterTarget):
    """From the local disk into the cluster."""

    def __init__(
        self,
        fs: ContentOperations,
        preserve: bool,
        replication: int | None,
        recover: bool = False,
        xattrs: bool = False,
    ) -> None:
        kept_bits = 0o7777 if preserve else new_bits()
        super().__init__(fs, preserve, replication, kept_bits, recover, xattrs)

    async def xattrs_of(self, item: Item) -> Mapping[str, bytes]:
        """Extended attributes of the source, without those that belong to its file system."""
        return await asyncio.to_thread(xattrs_of_file, item.source)

    async def batch(self, items: Sequence[Item]) -> list[OSError | None]:
        """Copy small files; an outcome for each."""
        contents = await asyncio.to_thread(_read_all, [item.source for item in items])
        return await self.store(items, contents)

    async def stream(self, item: Item, advance: Callable[[int], None]) -> None:
        """Copy one file of any size, or the output of a pipe or device."""
        descriptor = await asyncio.to_thread(os.open, item.source, os.O_RDONLY | os.O_CLOEXEC)

        async def fill(sink: CopySink) -> int:
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode):
                return await _pour_file(descriptor, found.st_size, sink, advance)
            return await write_stream(
                lambda buffer: asyncio.to_thread(_read_full, descriptor, buffer), sink, advance
            )

        try:
            await self.receive(item, fill)
        finally:
            os.close(descriptor)


async def _pour_file(
    descriptor: int, size: int, sink: CopySink, advance: Callable[[int], None]
) -> int:
    """Copy the data of a local file that had ``size`` bytes; its holes stay holes."""

    async def read(offset: int, into: memoryview) -> None:
        if await asyncio.to_thread(_read_full, descriptor, into, offset) < len(into):
            raise OSError(errno.EIO, SHRUNK)

    reached = 0

    async def write(offset: int, data: memoryview) -> None:
        nonlocal reached
        await sink.write(offset, data)
        reached = offset + len(data)

    await move(_local_extents(descriptor, size), size, read, write, advance)
    if os.fstat(descriptor).st_size < size:
        raise OSError(errno.EIO, SHRUNK)
    if reached != size:
        await sink.truncate(size)
    return size


async def _local_extents(descriptor: int, size: int) -> AsyncIterator[tuple[int, int]]:
    """The ranges of a local file that hold data, as far as its file system can tell."""
    end = 0
    while end < size:
        try:
            start = await asyncio.to_thread(os.lseek, descriptor, end, os.SEEK_DATA)
            end = await asyncio.to_thread(os.lseek, descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            start, end = end, size
        if start < size:
            yield start, min(end, size)


def new_bits() -> int:
    """What new files have of the mode of their source when it is not to be kept."""
    return 0o777 & ~current_umask()


def _read_all(names: Sequence[str]) -> list[bytes | OSError]:
    """Contents of small local files, or why not."""
    contents: list[bytes | OSError] = []
    for name in names:
        try:
            contents.append(_read_small(name))
        except OSError as error:
            contents.append(error)
    return contents


def _read_small(name: str) -> bytes:
    with Path(name).open("rb", buffering=0) as file:
        before = os.fstat(file.fileno()).st_size
        content: bytes = file.readall()
        if len(content) < before and os.fstat(file.fileno()).st_size < before:
            raise OSError(errno.EIO, SHRUNK)
        return content


def _read_full(descriptor: int, buffer: memoryview, offset: int | None = None) -> int:
    """Fill ``buffer``, from ``offset`` or from where the descriptor is; less only at the end."""
    filled = 0
    while filled < len(buffer):
        rest = [buffer[filled:]]
        if offset is None:
            count = os.readv(descriptor, rest)
        else:
            count = os.preadv(descriptor, rest, offset + filled)
        if count == 0:
            break
        filled += count
    return filled


def xattrs_of_file(name: str) -> dict[str, bytes]:
    """``user.`` and ``trusted.`` attributes of a local file; none where there are none."""
    try:
        names = [each for each in os.listxattr(name) if each.startswith(("user.", "trusted."))]
        return {each: os.getxattr(name, each) for each in names}
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA, errno.EACCES, errno.EPERM):
            return {}
        raise


async def local_tree(top: str, target: str, follow: Follow) -> AsyncIterator[Item | Failure]:
    """What is to put: the tree at ``top``, a directory before what it holds."""
    first, identity = await asyncio.to_thread(_local_top, top, target, follow.follows(True))
    yield first
    pending = [(first, Ancestors(identity))]
    while pending:
        few = [pending.pop() for _ in range(min(len(pending), LISTED_AT_ONCE))]
        parents = [each for each, _ in few]
        listings = await asyncio.to_thread(_local_lists, parents, follow.follows(False))
        for (_, trail), listed in zip(few, listings, strict=True):
            for each, identity in listed:
                if follow is Follow.ALWAYS and trail.holds(identity):
                    yield Failure(each[0], OSError(errno.ELOOP, LEADS_BACK))
                    continue
                yield each
                if isinstance(each, Item) and each.kind == FileKind.DIRECTORY:
                    pending.append((each, Ancestors(identity, trail)))


_Identity = tuple[int, int]
"""Device and inode."""
_Listed = list[tuple[Item | Failure, _Identity]]


def _local_top(top: str, target: str, follow: bool) -> tuple[Item | Failure, _Identity]:
    found = Path(top).stat(follow_symlinks=follow)
    item = _local_item(top, target, found, named=True, followed=follow)
    return item, (found.st_dev, found.st_ino)


def _local_lists(parents: Sequence[Item | Failure], follow: bool) -> list[_Listed]:
    """The entries of several local directories; what is no directory has none."""
    return [
        _local_list(parent, follow)
        if isinstance(parent, Item) and parent.kind == FileKind.DIRECTORY
        else []
        for parent in parents
    ]


def _local_list(parent: Item, follow: bool) -> _Listed:
    """The entries of a local directory, ordered by name."""
    listed: _Listed = []
    try:
        with os.scandir(parent.source) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                try:
                    found = entry.stat(follow_symlinks=follow)
                    there = join(parent.target, entry.name)
                    item = _local_item(entry.path, there, found, followed=follow)
                    listed.append((item, (found.st_dev, found.st_ino)))
                except OSError as error:
                    listed.append((Failure(entry.path, error), (0, 0)))
    except OSError as error:
        listed.append((Failure(parent.source, error), (0, 0)))
    return listed


def _local_item(
    source: str, target: str, found: os.stat_result, *, named: bool = False, followed: bool
) -> Item | Failure:
    kind = KIND_OF_TYPE.get(stat.S_IFMT(found.st_mode))
    if kind is None or kind.special:
        return Failure(source, OSError(errno.EINVAL, SPECIAL, source))
    link = str(Path(source).readlink()) if kind == FileKind.SYMLINK else ""
    try:
        (target + link).encode()
    except UnicodeEncodeError:
        return Failure(source, OSError(errno.EILSEQ, "the name is not UTF-8", source))
    several = kind == FileKind.FILE and (found.st_nlink > 1 or followed)
    return Item(
        source,
        target,
        kind,
        found.st_size if kind == FileKind.FILE else 0,
        stat.S_IMODE(found.st_mode),
        nearest_time_ns(found.st_mtime_ns),  # as it will be there: what is compared is equal then
        link,
        named,
        found.st_atime_ns,
        identity=(found.st_dev, found.st_ino) if several else None,
    )
