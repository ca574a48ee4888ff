"""The disk: small durable files, and files written in batches that are synced explicitly.

Owns the interface and its implementation over the local file system. Knows nothing of what the
files mean. Blocking work reaches the disk through :meth:`Disk.run` only, away from the event loop;
a simulation passes another disk and decides when such work happens and what a power cut leaves.
Invariant: what was not synced may be lost, in whole or in part; what was synced stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol, TypeVar

from memfs.types import Buffer

T = TypeVar("T")

WORKERS: Final = 4
"""Threads of one disk: the log's sync, the blocks' sync, a snapshot, a compaction."""
_VECTORS: Final = 1024  # IOV_MAX of Linux


class DiskFile(Protocol):
    """An open file. Every method may block and raises OSError."""

    def write(self, buffers: Sequence[Buffer], at: int) -> None:
        """Put bytes at a position, all of them; nothing is durable before :meth:`sync`."""

    def sync(self) -> None:
        """Make what was written durable (fdatasync). After a failure nothing is known of it."""

    def read(self, at: int, length: int) -> bytes:
        """Bytes from a position; fewer at the end of the file."""

    def read_into(self, buffers: Sequence[memoryview], at: int) -> int:
        """Fill buffers from a position; returns the bytes read."""

    def truncate(self, length: int) -> None:
        """Cut the file off."""

    def size(self) -> int:
        """Its length in bytes."""

    def close(self) -> None:
        """Let go of it."""


class DiskLock(Protocol):
    """An exclusive lock, gone with the process that holds it."""

    def release(self) -> None:
        """Let others have it."""


class Disk(Protocol):
    """Files of this machine. All methods but :meth:`run` may block and raise OSError."""

    def read(self, path: str) -> bytes | None:
        """The whole file, None when there is none."""

    def append(self, path: str, data: bytes) -> None:
        """Add to the end of the file, creating it; durable at return."""

    def replace(self, path: str, data: bytes) -> None:
        """Put ``data`` in the place of the file, atomically; durable at return."""

    def open(self, path: str, *, create: bool = False) -> DiskFile:
        """Open a file for reading and writing. Raises FileNotFoundError unless ``create``."""

    def names(self, directory: str) -> list[str]:
        """What a directory holds, sorted; nothing when it does not exist."""

    def make_directory(self, path: str) -> None:
        """Make a directory and its parents; one that exists is no error."""

    def remove(self, path: str) -> None:
        """Forget a file, if it exists; durable after :meth:`sync_directory`."""

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, replacing what has it; durable at return."""

    def sync_directory(self, path: str) -> None:
        """Make names in a directory durable."""

    def lock(self, path: str) -> DiskLock | None:
        """Lock a file, creating it; None when another process holds it."""

    def reserve(self, path: str, length: int) -> None:
        """Make a file that occupies ``length`` bytes. Raises OSError when there is no room."""

    async def run(self, work: Callable[[], T]) -> T:
        """Do blocking work away from the event loop."""


class FileDisk:
    """Files of the local file system."""

    def __init__(self) -> None:
        self._workers: ThreadPoolExecutor | None = None

    def read(self, path: str) -> bytes | None:
        try:
            return Path(path).read_bytes()
        except FileNotFoundError:
            return None

    def append(self, path: str, data: bytes) -> None:
        created = not Path(path).exists()
        self._write(path, data, os.O_APPEND)
        if created:
            self.sync_directory(str(Path(path).parent))

    def replace(self, path: str, data: bytes) -> None:
        fresh = path + ".new"
        self._write(fresh, data, os.O_TRUNC)
        self.rename(fresh, path)

    def open(self, path: str, *, create: bool = False) -> DiskFile:
        return SystemFile(path, create)

    def names(self, directory: str) -> list[str]:
        try:
            return sorted(entry.name for entry in Path(directory).iterdir())
        except FileNotFoundError:
            return []

    def make_directory(self, path: str) -> None:
        Path(path).mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)

    def rename(self, old: str, new: str) -> None:
        Path(old).replace(new)
        self.sync_directory(str(Path(new).parent))

    def sync_directory(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: str) -> DiskLock | None:
        return ProcessLock.acquire(path)

    def reserve(self, path: str, length: int) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, length)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
            raise
        finally:
            os.close(descriptor)

    async def run(self, work: Callable[[], T]) -> T:
        if self._workers is None:
            self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="disk")
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)

    @staticmethod
    def _write(path: str, data: bytes, flag: int) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            os.fsync(descriptor)


class SystemFile:
    """A :class:`DiskFile` over a descriptor; reads and writes name their positions."""

    def __init__(self, path: str, create: bool) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        self._descriptor = os.open(path, flags, 0o600)
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            self.close()
            raise OSError(f"{path} is no regular file")

    def __del__(self) -> None:
        self.close()

    def write(self, buffers: Sequence[Buffer], at: int) -> None:
        rest = [buffer for buffer in buffers if len(buffer)]
        while rest:
            count = os.pwritev(self._descriptor, rest[:_VECTORS], at)
            at += count
            rest = _behind(rest, count)

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def read(self, at: int, length: int) -> bytes:
        data = os.pread(self._descriptor, length, at)
        while len(data) < length:
            more = os.pread(self._descriptor, length - len(data), at + len(data))
            if not more:
                break
            data += more
        return data

    def read_into(self, buffers: Sequence[memoryview], at: int) -> int:
        rest: list[Buffer] = [buffer for buffer in buffers if len(buffer)]
        start = at
        while rest:
            count = os.preadv(self._descriptor, rest[:_VECTORS], at)
            if count == 0:
                break
            at += count
            rest = _behind(rest, count)
        return at - start

    def truncate(self, length: int) -> None:
        os.ftruncate(self._descriptor, length)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        descriptor, self._descriptor = getattr(self, "_descriptor", -1), -1
        if descriptor >= 0:
            os.close(descriptor)


class ProcessLock:
    """An flock on a file: the kernel releases it with the process."""

    def __init__(self, descriptor: int) -> None:
        """Made by :meth:`take`."""
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, path: str) -> ProcessLock | None:
        """Lock the file, None when another process has it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    def release(self) -> None:
        """Let others have it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _behind(buffers: Sequence[Buffer], count: int) -> list[Buffer]:
    """Scattered buffers without their first ``count`` bytes."""
    for number, buffer in enumerate(buffers):
        if count < len(buffer):
            return [memoryview(buffer)[count:], *buffers[number + 1 :]]
        count -= len(buffer)
    return []
