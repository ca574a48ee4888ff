"""``file:``, a directory of the nodes' own machine, or of a network file system mounted on all.

Blocking calls run in threads. Versions are made of inode number, size and time of change; a write
in place within one tick of the clock does not change them: best effort. Symbolic links are
followed. Broken links, and special files, are not listed but counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import stat as modes
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from memfs.errors import (
    MemfsError,
    ObjectChangedError,
    PathExistsError,
    StoreConflictError,
    StoreUnsupportedError,
)
from memfs.stores.errors import leads_nowhere, of_os_error
from memfs.stores.interface import Capabilities, ObjectInfo, Page
from memfs.stores.key_names import PARTS, is_key, joined
from memfs.stores.levels import Levels
from memfs.stores.sending import Sending, checked
from memfs.stores.staged import StagedStore
from memfs.types import Buffer

T = TypeVar("T")
THREADS: Final = 16
"""Concurrent reads of a disk or a network file system."""
_CAPABILITIES = Capabilities(
    conditional_put=False, rename=True, real_directories=True, modes=False, exact_tags=False
)


class LocalStore(StagedStore):
    """The directory ``root``, which must exist when it is asked for something."""

    def __init__(self, root: str, dice: random.Random) -> None:
        super().__init__(dice)
        self._root = root
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="file-store")
        self._levels = Levels()

    @property
    def capabilities(self) -> Capabilities:
        return _CAPABILITIES

    async def stat(self, key: str) -> ObjectInfo | None:
        return await self._run(lambda: self._stat(key), key)

    async def list(self, directory: str, after: str | None = None, limit: int = 1000) -> Page:
        async def names() -> list[str]:
            return await self._run(lambda: os.listdir(self._path(directory)), directory)  # noqa: PTH208

        def look(some: list[str]) -> list[ObjectInfo | None]:
            return [self._stat(joined(directory, name)) for name in some]

        some, invalid, following = await self._levels.some(directory, after, limit, names)
        found = await self._run(lambda: look(some), directory)
        entries = tuple(info for info in found if info is not None)
        return Page(entries, invalid + len(some) - len(entries), following)

    async def read(self, key: str, offset: int, size: int, tag: bytes = b"") -> Buffer:
        return await self._run(lambda: self._read(key, offset, size, tag), key)

    async def delete(self, key: str, tag: bytes | None = None) -> None:
        def work() -> None:
            if tag is not None and (found := self._stat(key)) is not None and found.tag != tag:
                raise StoreConflictError(f"{key}: another version of the file is in the store")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(key))  # noqa: PTH108 - no symbolic link is followed

        await self._run(work, key)

    async def make_directory(self, key: str) -> None:
        await self._run(lambda: Path(self._path(key)).mkdir(parents=True, exist_ok=True), key)

    async def remove_directory(self, key: str) -> None:
        def work() -> None:
            with contextlib.suppress(FileNotFoundError):
                Path(self._path(key)).rmdir()

        await self._run(work, key)

    async def rename(self, source: str, target: str) -> None:
        def work() -> None:
            Path(self._path(target)).parent.mkdir(parents=True, exist_ok=True)
            Path(self._path(source)).replace(self._path(target))

        await self._run(work, source)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def sweep(self, older_than_seconds: float) -> int:
        def work() -> int:
            oldest, swept = time.time() - older_than_seconds, 0
            with contextlib.suppress(FileNotFoundError):
                for entry in os.scandir(self._path(PARTS)):
                    if entry.stat().st_mtime < oldest:
                        Path(entry.path).unlink(missing_ok=True)
                        swept += 1
            return swept

        return await self._run(work, PARTS)

    # --- in threads ----------------------------------------------------------------------------

    def _stat(self, key: str) -> ObjectInfo | None:
        try:
            found = os.stat(self._path(key))  # noqa: PTH116 - called for each entry of a page
        except OSError as error:
            if leads_nowhere(error):
                return None
            raise
        if modes.S_ISDIR(found.st_mode):
            return ObjectInfo(key, 0, found.st_mtime_ns, b"", True)
        if not modes.S_ISREG(found.st_mode):
            return None
        return ObjectInfo(key, found.st_size, found.st_mtime_ns, _tag(found))

    def _read(self, key: str, offset: int, size: int, tag: bytes) -> Buffer:
        descriptor = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC)
        try:
            before = _tag(os.fstat(descriptor))
            if tag and before != tag:
                raise ObjectChangedError(f"{key}: the file was changed in the store")
            data = bytearray(size)
            got = 0
            while got < size:
                count = os.preadv(descriptor, [memoryview(data)[got:]], offset + got)
                if not count:
                    break
                got += count
            if _tag(os.fstat(descriptor)) != before:
                raise ObjectChangedError(f"{key}: the file is being changed in the store")
            return checked(memoryview(data)[:got], size, key)
        finally:
            os.close(descriptor)

    async def _write(self, part: str, chunks: Sending) -> None:
        path = Path(self._path(part))

        def begin() -> int:
            if not Path(self._root).is_dir():  # unmounted, say: nothing is made in its place
                raise FileNotFoundError(self._root)
            while True:
                path.parent.mkdir(exist_ok=True)
                with contextlib.suppress(FileNotFoundError):  # another put found it empty
                    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

        descriptor = await self._run(begin, part)
        try:
            async for chunk in chunks:
                await self._run(lambda chunk=chunk: _write_all(descriptor, chunk), part)  # type: ignore[misc]
            await self._run(lambda: os.fsync(descriptor), part)
        finally:
            os.close(descriptor)

    async def _let_go(self, part: str) -> None:
        def work() -> None:
            with contextlib.suppress(OSError):  # others write, or there is none
                Path(self._path(PARTS)).rmdir()

        await super()._let_go(part)
        with contextlib.suppress(MemfsError):
            await self._run(work, PARTS)

    async def _publish(self, part: str, key: str, *, fresh: bool) -> None:
        source, target = Path(self._path(part)), Path(self._path(key))

        def work() -> None:
            target.parent.mkdir(parents=True, exist_ok=True)
            if fresh:
                try:
                    target.hardlink_to(source)
                except FileExistsError:
                    raise PathExistsError(f"{key}: there is one already") from None
                source.unlink()  # at once: it changes the time that the tag is made of
            else:
                source.replace(target)
            _sync_directory(target.parent)

        await self._run(work, key)

    def _path(self, key: str) -> str:
        if not is_key(key):
            raise StoreUnsupportedError(f"{key!r} is no name of a file")
        return f"{self._root}/{key}" if key else self._root

    async def _run(self, work: Callable[[], T], key: str) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, work)
        except OSError as error:
            raise of_os_error(error, key or "the mount's directory") from None


def _tag(found: os.stat_result) -> bytes:
    return b"%x-%x-%x-%x" % (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _write_all(descriptor: int, chunk: Buffer) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
