"""From the cluster onto the local disk, in threads.

What becomes of the files that are there is :mod:`memfs.client.transfer.disk_target`'s part.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from memfs import concurrency
from memfs.client.contents import ContentOperations
from memfs.client.transfer.copying import ATTRIBUTES, Item, part_of
from memfs.client.transfer.disk_target import completed
from memfs.machine import current_umask
from memfs.types import Buffer


class Download:
    """From the cluster onto the local disk."""

    def __init__(self, fs: ContentOperations, preserve: bool, xattrs: bool = False) -> None:
        """``xattrs``: what is preserved of a file are also its extended attributes."""
        self._fs = fs
        self._preserve = preserve
        self._xattrs = preserve and xattrs
        self._made: set[str] = set()
        """Directories that this copy made."""

    async def directory(self, item: Item) -> None:
        """Make a directory; one that exists is merged into."""
        if await asyncio.to_thread(_make_directory, item):
            self._made.add(item.target)

    async def finish(self, item: Item) -> None:
        """Final mode and times of a directory."""
        if self._preserve:
            await asyncio.to_thread(self._set_attributes, item, await self._xattrs_of(item))
        elif item.target in self._made and item.mode & 0o700 != 0o700:
            await asyncio.to_thread(Path(item.target).chmod, item.mode & 0o777 & ~current_umask())

    async def _xattrs_of(self, item: Item) -> Mapping[str, bytes]:
        return await self._fs.getxattrs(item.source) if self._xattrs else {}

    def _set_attributes(self, item: Item, xattrs: Mapping[str, bytes]) -> None:
        """Final attributes of what lies at the target; extended ones as far as possible."""
        if not self._preserve:
            return
        if xattrs:
            Path(item.target).chmod(item.mode | 0o200)
        for name, value in xattrs.items():
            with contextlib.suppress(OSError):
                os.setxattr(item.target, name, value)
        Path(item.target).chmod(item.mode)
        os.utime(item.target, ns=(item.accessed_ns, item.modified_ns))

    async def symlink(self, item: Item) -> None:
        def make() -> None:
            part = Path(part_of(item.target))
            part.symlink_to(item.link)
            if self._preserve:
                times = (item.accessed_ns, item.modified_ns)
                os.utime(part, ns=times, follow_symlinks=False)
            _publish(part, item.target)

        await asyncio.to_thread(make)

    async def link(self, first: str, item: Item) -> None:
        """Make another name of the file ``first`` in place of anything but a directory."""
        await asyncio.to_thread(_link, first, item.target)

    async def batch(self, items: Sequence[Item]) -> list[OSError | None]:
        contents = await self._fs.read_many([item.source for item in items], return_errors=True)
        xattrs = await concurrency.outcomes(map(self._xattrs_of, items), ATTRIBUTES, OSError)

        def store() -> list[OSError | None]:
            return [self._store(*each) for each in zip(items, contents, xattrs, strict=True)]

        return await asyncio.to_thread(store)

    def _store(
        self, item: Item, content: Buffer | OSError, xattrs: Mapping[str, bytes] | OSError
    ) -> OSError | None:
        if isinstance(content, OSError):
            return content
        if isinstance(xattrs, OSError):
            return xattrs
        try:
            with completed(item) as (descriptor, _):
                _write_full(descriptor, memoryview(content))
            self._set_attributes(item, xattrs)
        except OSError as error:
            return error
        return None

    async def stream(self, item: Item, advance: Callable[[int], None]) -> None:
        """Copy one file of any size, as it is at one moment; its holes stay holes."""
        with completed(item) as (descriptor, _):
            await self._fs.copy_into(item.source, _DiskFile(descriptor), advance)
        self._set_attributes(item, await self._xattrs_of(item))


class _DiskFile:
    """A new local file, written in threads."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    async def write(self, offset: int, data: memoryview) -> None:
        """Put ``data`` at ``offset``."""
        await concurrency.in_thread(_write_full, self.descriptor, data, offset)

    async def truncate(self, size: int) -> None:
        """Set the length."""
        await concurrency.in_thread(os.ftruncate, self.descriptor, size)


def _write_full(descriptor: int, data: memoryview, offset: int = 0) -> None:
    at = 0
    while at < len(data):
        at += os.pwrite(descriptor, data[at:], offset + at)


def _link(first: str, target: str) -> None:
    known = os.stat(first)  # noqa: PTH116 - through what the copy may have been written through
    with contextlib.suppress(FileNotFoundError):
        old = os.lstat(target)
        if (old.st_dev, old.st_ino) == (known.st_dev, known.st_ino):
            return
    part = part_of(target)
    os.link(first, part, follow_symlinks=True)
    _publish(Path(part), target)


def _publish(part: Path, target: str) -> None:
    try:
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _make_directory(item: Item) -> bool:
    """Whether there was none before. Raises NotADirectoryError."""
    try:
        Path(item.target).mkdir(item.mode | 0o700)
    except FileExistsError:
        found = Path(item.target).stat(follow_symlinks=item.named)
        if not stat.S_ISDIR(found.st_mode):
            text = "cannot overwrite non-directory with directory"
            raise NotADirectoryError(errno.ENOTDIR, text, item.target) from None
        return False
    return True
