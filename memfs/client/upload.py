"""From the local disk into the cluster.

Owns the reading of local trees and files, in threads. Invariant: a file appears in the cluster
under its final name only when all of it is there (NoPartialVisible).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memfs.client import modes
from memfs.client.copying import BUFFER_BYTES, Failure, Item, Reader, part_of, pump
from memfs.errors import IsDirectoryError, PathNotFoundError
from memfs.machine import current_umask
from memfs.paths import join
from memfs.types import FileKind

if TYPE_CHECKING:
    from memfs.client.filesystem import FileSystem

LISTED_AT_ONCE = 32
"""Directories that one visit to a thread lists: most are small and the visit costs more."""


class Upload:
    """From the local disk into the cluster."""

    def __init__(self, fs: FileSystem, preserve: bool, replication: int | None) -> None:
        self._fs = fs
        self._preserve = preserve
        self._replication = replication
        self._kept_bits = 0o7777 if preserve else 0o777 & ~current_umask()

    def _mode(self, item: Item) -> int:
        return item.mode & self._kept_bits

    async def directory(self, item: Item) -> None:
        await self._fs.makedirs(item.target, self._mode(item) | 0o700, exist_ok=True)

    async def finish(self, item: Item) -> None:
        if self._preserve:
            await self._fs.chmod(item.target, item.mode)
            await self._fs.utime(item.target, ns=(item.modified_ns, item.modified_ns))
        elif self._mode(item) & 0o700 != 0o700:
            await self._fs.chmod(item.target, self._mode(item))

    async def symlink(self, item: Item) -> None:
        with contextlib.suppress(PathNotFoundError):
            await self._fs.remove(item.target)
        await self._fs.symlink(item.link, item.target)

    async def batch(self, items: Sequence[Item]) -> list[OSError | None]:
        contents = await asyncio.to_thread(_read_all, [item.source for item in items])
        outcomes: list[OSError | None] = [
            content if isinstance(content, OSError) else None for content in contents
        ]
        good = [(at, each) for at, each in enumerate(contents) if isinstance(each, bytes)]
        if not good:
            return outcomes
        results = await self._fs.write_many(
            [(items[at].target, content) for at, content in good],
            permissions=self._mode(items[0]),
            replication=self._replication,
            return_errors=True,
        )
        for (at, _), result in zip(good, results, strict=True):
            outcomes[at] = result if isinstance(result, OSError) else None
        if self._preserve:
            await self._set_times([items[at] for at, _ in good if outcomes[at] is None])
        return outcomes

    async def _set_times(self, items: Sequence[Item]) -> None:
        """Modes as well: a file that is replaced hands its own on."""
        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(self.finish(item))

    async def stream(self, item: Item, advance: Callable[[int], None]) -> None:
        descriptor = await asyncio.to_thread(os.open, item.source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            await put_stream(
                self._fs,
                item.target,
                lambda buffer: asyncio.to_thread(_read_full, descriptor, buffer),
                size=item.size,
                permissions=self._mode(item),
                replication=self._replication,
                advance=advance,
            )
        finally:
            os.close(descriptor)
        if self._preserve:
            await self.finish(item)


async def put_stream(
    fs: FileSystem,
    target: str,
    read: Reader,
    *,
    size: int = BUFFER_BYTES,
    permissions: int = 0o644,
    replication: int | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> int:
    """Store what ``read`` gives (it fills a buffer, less at the end) as the file ``target``.

    The file appears under its name when it is complete. Returns its length.
    """
    part = part_of(target)
    handle = await fs.open_handle(
        part, modes.parse("xb"), permissions=permissions, replication=replication
    )
    try:
        position = 0

        async def write(data: memoryview) -> None:
            nonlocal position
            position = await handle.write(position, data)

        try:
            total = await pump(read, write, size, advance)
        finally:
            await handle.close()
        if await fs.isdir(target):
            raise IsDirectoryError("it is a directory", path=target)
        await fs.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            await asyncio.shield(fs.remove(part))
        raise
    return total


def _read_all(names: Sequence[str]) -> list[bytes | OSError]:
    """Contents of small local files, or why not."""
    contents: list[bytes | OSError] = []
    for name in names:
        try:
            contents.append(Path(name).read_bytes())
        except OSError as error:
            contents.append(error)
    return contents


def _read_full(descriptor: int, buffer: memoryview) -> int:
    """Fill ``buffer``; fewer bytes only at the end of the file."""
    filled = 0
    while filled < len(buffer):
        count = os.readv(descriptor, [buffer[filled:]])
        if count == 0:
            break
        filled += count
    return filled


async def local_tree(top: str, target: str, follow: bool) -> AsyncIterator[Item | Failure]:
    """What is to put: the tree at ``top``, a directory before what it holds."""
    found = await asyncio.to_thread(os.stat if follow else os.lstat, top)
    first = _local_item(top, target, found)
    yield first
    pending = [first]
    while pending:
        few = [pending.pop() for _ in range(min(len(pending), LISTED_AT_ONCE))]
        parents = [each for each in few if isinstance(each, Item)]
        for each in await asyncio.to_thread(_local_lists, parents, follow):
            yield each
            if isinstance(each, Item) and each.kind == FileKind.DIRECTORY:
                pending.append(each)


def _local_lists(parents: Sequence[Item], follow: bool) -> list[Item | Failure]:
    """The entries of several local directories; what is no directory has none."""
    directories = (each for each in parents if each.kind == FileKind.DIRECTORY)
    return [each for parent in directories for each in _local_list(parent, follow)]


def _local_list(parent: Item, follow: bool) -> list[Item | Failure]:
    """The entries of a local directory, ordered by name."""
    listed: list[Item | Failure] = []
    try:
        with os.scandir(parent.source) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                try:
                    found = entry.stat(follow_symlinks=follow)
                    there = join(parent.target, entry.name)
                    listed.append(_local_item(entry.path, there, found))
                except OSError as error:
                    listed.append(Failure(entry.path, error))
    except OSError as error:
        listed.append(Failure(parent.source, error))
    return listed


def _local_item(source: str, target: str, found: os.stat_result) -> Item | Failure:
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISDIR(found.st_mode):
        return Item(source, target, FileKind.DIRECTORY, 0, mode, found.st_mtime_ns)
    if stat.S_ISLNK(found.st_mode):
        link = str(Path(source).readlink())
        return Item(source, target, FileKind.SYMLINK, 0, mode, found.st_mtime_ns, link)
    if stat.S_ISREG(found.st_mode):
        return Item(source, target, FileKind.FILE, found.st_size, mode, found.st_mtime_ns)
    return Failure(source, OSError(errno.EINVAL, "not a file, directory or symbolic link", source))
