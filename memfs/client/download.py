"""From the cluster onto the local disk.

Owns the writing of local files, in threads. Invariant: a file appears on the disk under its final
name only when all of it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memfs.client import modes
from memfs.client.copying import STOPPING, Failure, Item, part_of, pump
from memfs.client.stat import DirEntry
from memfs.paths import join
from memfs.types import Buffer, FileKind

if TYPE_CHECKING:
    from memfs.client.filesystem import FileSystem

LISTED_AT_ONCE = 16


class Download:
    """From the cluster onto the local disk."""

    def __init__(self, fs: FileSystem, preserve: bool) -> None:
        self._fs = fs
        self._preserve = preserve

    async def directory(self, item: Item) -> None:
        def make() -> None:
            try:
                Path(item.target).mkdir(item.mode | 0o700)
            except FileExistsError:
                if not Path(item.target).is_dir():
                    raise

        await asyncio.to_thread(make)

    async def finish(self, item: Item) -> None:
        if self._preserve:
            await asyncio.to_thread(self._settle, item.target, item)

    def _settle(self, name: str, item: Item) -> None:
        """Final mode and time of what lies under ``name``."""
        if self._preserve:
            Path(name).chmod(item.mode)
            os.utime(name, ns=(item.modified_ns, item.modified_ns))

    async def symlink(self, item: Item) -> None:
        def make() -> None:
            part = part_of(item.target)
            Path(part).symlink_to(item.link)
            Path(part).replace(item.target)

        await asyncio.to_thread(make)

    async def batch(self, items: Sequence[Item]) -> list[OSError | None]:
        contents = await self._fs.read_many([item.source for item in items], return_errors=True)

        def store() -> list[OSError | None]:
            return [self._store(*pair) for pair in zip(items, contents, strict=True)]

        return await asyncio.to_thread(store)

    def _store(self, item: Item, content: Buffer | OSError) -> OSError | None:
        if isinstance(content, OSError):
            return content
        try:
            with _completed(item) as (descriptor, part):
                _write_full(descriptor, memoryview(content))
                self._settle(part, item)
        except OSError as error:
            return error
        return None

    async def stream(self, item: Item, advance: Callable[[int], None]) -> None:
        handle = await self._fs.open_handle(item.source, modes.parse("rb"))
        position = 0

        async def read(buffer: memoryview) -> int:
            nonlocal position
            got = await handle.read_into(position, buffer)
            position += got
            return got

        try:
            with _completed(item) as (descriptor, part):

                async def write(data: memoryview) -> None:
                    await asyncio.to_thread(_write_full, descriptor, data)

                await pump(read, write, item.size, advance)
                self._settle(part, item)
        finally:
            await handle.close()


@contextlib.contextmanager
def _completed(item: Item) -> Iterator[tuple[int, str]]:
    """A descriptor and name of a new local file, which takes its name at a good end only."""
    if Path(item.target).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), item.target)
    part = part_of(item.target)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(part, flags, item.mode & 0o777)
    try:
        try:
            yield descriptor, part
        finally:
            os.close(descriptor)
        Path(part).replace(item.target)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _write_full(descriptor: int, data: memoryview) -> None:
    at = 0
    while at < len(data):
        at += os.write(descriptor, data[at:])


async def cluster_tree(
    fs: FileSystem, top: str, local: str, follow: bool
) -> AsyncIterator[Item | Failure]:
    """What is to get: the tree at ``top``, a directory before what it holds.

    Several directories are asked for at once, but only the first page of each.
    """
    first = await _cluster_item(fs, top, local, await fs.lstat(top), True)
    yield first
    pending = [first] if isinstance(first, Item) and first.kind == FileKind.DIRECTORY else []
    while pending:
        parents = [pending.pop() for _ in range(min(len(pending), LISTED_AT_ONCE))]
        listings = [fs.scandir_pages(parent.source) for parent in parents]
        pages = await asyncio.gather(*map(_next_page, listings))
        for parent, listing, page in zip(parents, listings, pages, strict=True):
            async for item in _items(fs, parent, listing, page, follow):
                yield item
                if isinstance(item, Item) and item.kind == FileKind.DIRECTORY:
                    pending.append(item)


Page = list[DirEntry] | OSError | None
"""Entries, or why there are none, or the end."""


async def _next_page(listing: AsyncIterator[list[DirEntry]]) -> Page:
    try:
        return await anext(listing, None)
    except OSError as error:
        return error


async def _items(
    fs: FileSystem, parent: Item, listing: AsyncIterator[list[DirEntry]], page: Page, follow: bool
) -> AsyncIterator[Item | Failure]:
    """The entries of one directory, its first page given."""
    while page is not None:
        if isinstance(page, STOPPING):
            raise page
        if isinstance(page, OSError):
            yield Failure(parent.source, page)
            return
        for entry in page:
            there = join(parent.target, entry.name)
            yield await _cluster_item(fs, entry.path, there, entry.stat(), follow)
        page = await _next_page(listing)


async def _cluster_item(
    fs: FileSystem, source: str, target: str, found: Any, follow: bool
) -> Item | Failure:
    """An item from attributes; a symlink costs a request more."""
    try:
        if found.is_symlink() and follow:
            found = await fs.stat(source)
        link = await fs.readlink(source) if found.is_symlink() else ""
    except STOPPING:
        raise
    except OSError as error:
        return Failure(source, error)
    attributes = found.attributes
    return Item(
        source,
        target,
        FileKind(attributes.kind),
        attributes.size,
        attributes.mode,
        attributes.modified_ns,
        link,
    )
