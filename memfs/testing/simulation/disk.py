"""The disk of a simulated host: it survives crashes, and what was synced survives power cuts. Owns
files, their names, what of both is durable, and the faults: no space, failing writes and syncs, a
power cut that loses or tears what was not synced. Everything comes from one generator. Knows
nothing of what files mean. Invariant: synced bytes and names are never lost.
"""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from memfs.testing.simulation.virtual import Process, current_process
from memfs.transport.disk import DiskFile, DiskLock
from memfs.types import Buffer

T = TypeVar("T")

SECTOR: Final = 512
"""The unit that a disk writes completely or not at all."""
DELAY_SECONDS: Final = 0.002


class _FileBytes:
    """The bytes of one file: as read now, as on the medium, and the writes in between."""

    def __init__(self, data: bytes = b"") -> None:
        self.now = bytearray(data)
        self.durable = bytearray(data)
        self.pending: list[tuple[int, bytes | None]] = []
        """Position and bytes of each write since the last sync; None: cut off there."""

    def put(self, at: int, data: bytes) -> None:
        _place(self.now, at, data)
        self.pending.append((at, data))

    def cut(self, length: int) -> None:
        _cut(self.now, length)
        self.pending.append((length, None))

    def sync(self) -> None:
        for at, data in self.pending:
            if data is None:
                _cut(self.durable, at)
            else:
                _place(self.durable, at, data)
        self.pending.clear()

    def fail_sync(self, dice: random.Random) -> None:
        """A failed sync: save some of the writes and count all as saved; reads come from the cache
        and do not show it."""
        now = self.now
        self.lose_power(dice)
        self.now = now

    def lose_power(self, dice: random.Random) -> None:
        """Keep what was synced, and of the rest nothing, all, a prefix or random sectors."""
        chance = dice.choice([0.0, 1.0, 0.5, 0.5])
        ordered = dice.random() < 0.5
        stopped = False
        for at, data in self.pending:
            if data is None and not stopped:
                _cut(self.durable, at)
            for start in range(0, len(data or b""), SECTOR):
                assert data is not None
                if not stopped and dice.random() < chance:
                    _place(self.durable, at + start, data[start : start + SECTOR])
                else:
                    stopped = stopped or ordered
        self.pending.clear()
        self.now = bytearray(self.durable)


def _place(content: bytearray, at: int, data: bytes) -> None:
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def _cut(content: bytearray, length: int) -> None:
    del content[length:]
    content.extend(bytes(length - len(content)))


class HostDisk:
    """The files of one simulated host."""

    def __init__(self, dice: random.Random | None = None, delay_max: float = DELAY_SECONDS) -> None:
        """Empty. Args: ``dice`` of its delays and faults."""
        self.capacity: int | None = None
        """Bytes that fit, None: any number."""
        self.failing_writes = False
        self.failing_syncs = 0
        """So many syncs fail from now on, and what they should have saved may be lost."""
        self.delay_max = delay_max
        """Seconds that work waits at most, before and again behind it."""
        self.syncs = 0
        self._dice = dice or random.Random(0)
        self._files: dict[str, _FileBytes] = {}
        self._durable_names: dict[str, _FileBytes] = {}
        self._locks: dict[str, Process | None] = {}
        self._waiting: dict[int, tuple[Process | None, Callable[[], object]]] = {}
        self._jobs = 0
        self._dying = False

    @property
    def files(self) -> dict[str, bytes]:
        """What each file holds now."""
        return {path: bytes(content.now) for path, content in self._files.items()}

    @property
    def used(self) -> int:
        """Bytes of all files."""
        return sum(len(content.now) for content in self._files.values())

    def damage(self, path: str, at: int, data: bytes) -> None:
        """Corrupt bytes silently, on the medium too."""
        content = self._files[path]
        content.put(at, data)
        content.sync()

    def heal(self) -> None:
        """Switch all faults off."""
        self.capacity, self.failing_writes, self.failing_syncs = None, False, 0

    def power_cut(self) -> None:
        """Lose what was not synced. The caller kills the host's processes."""
        self._dying = True
        for process, work in list(self._waiting.values()):
            if process is None or process.alive:
                try:
                    work()
                except OSError:
                    pass  # it ran into the cut
        self._waiting.clear()
        self._dying = False
        self._locks.clear()
        self._files = dict(self._durable_names)
        for content in self._files.values():
            content.lose_power(self._dice)

    # --- memfs.transport.disk.Disk -----------------------------------------------------------

    def read(self, path: str) -> bytes | None:
        """The whole file, None when there is none."""
        content = self._files.get(path)
        return None if content is None else bytes(content.now)

    def append(self, path: str, data: bytes) -> None:
        """Add to the end of a file; durable at return."""
        file = self.open(path, create=True)
        file.write([data], file.size())
        file.sync()
        self._keep_name(path)

    def replace(self, path: str, data: bytes) -> None:
        """Put ``data`` in the place of a file; durable at return."""
        self._make_room(len(data))
        self._check_alive()
        self._files[path] = _FileBytes(bytes(data))
        self._keep_name(path)

    def open(self, path: str, *, create: bool = False) -> DiskFile:
        """Open a file."""
        content = self._files.get(path)
        if content is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "no such file", path)
            content = self._files[path] = _FileBytes()
        return _HostFile(self, content)

    def names(self, directory: str) -> list[str]:
        """What a directory holds."""
        prefix = directory.rstrip("/") + "/"
        return sorted(
            path.removeprefix(prefix)
            for path in self._files
            if path.startswith(prefix) and "/" not in path.removeprefix(prefix)
        )

    def make_directory(self, path: str) -> None:
        """Directories exist when they are needed."""

    def remove(self, path: str) -> None:
        """Forget a file."""
        self._files.pop(path, None)

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; durable at return."""
        self._check_alive()
        self._files[new] = self._files.pop(old)
        self._durable_names.pop(old, None)
        self._keep_name(new)

    def sync_directory(self, path: str) -> None:
        """Make names in a directory durable."""
        self._check_alive()
        prefix = path.rstrip("/") + "/"
        for name in [n for n in self._durable_names if n.startswith(prefix)]:
            if name not in self._files:
                del self._durable_names[name]
        for name in [n for n in self._files if n.startswith(prefix)]:
            self._keep_name(name)

    def lock(self, path: str) -> DiskLock | None:
        """Lock a file for the running process; a killed one has let go."""
        if path in self._locks:
            holder = self._locks[path]
            if holder is None or holder.alive:
                return None
        self._locks[path] = current_process()
        return _HostLock(self._locks, path)

    def reserve(self, path: str, length: int) -> None:
        """Make a file that occupies ``length`` bytes."""
        content = self._files.setdefault(path, _FileBytes())
        self._make_room(length - len(content.now))
        content.cut(length)
        content.sync()

    async def run(self, work: Callable[[], T]) -> T:
        """Do ``work`` after a while; it may be under way when the power goes."""
        self._jobs += 1
        job = self._jobs
        self._waiting[job] = (current_process(), work)
        await asyncio.sleep(self._dice.uniform(0, self.delay_max))
        del self._waiting[job]
        result = work()
        await asyncio.sleep(self._dice.uniform(0, self.delay_max))
        return result

    # --- used by files -----------------------------------------------------------------------

    def write(self, content: _FileBytes, data: bytes, at: int) -> None:
        """One write, as far as there is room."""
        if self.failing_writes:
            raise OSError(errno.EIO, "the disk fails to write")
        more = max(0, at + len(data) - len(content.now))
        room = more if self.capacity is None else max(0, self.capacity - self.used)
        if more > room:
            content.put(at, data[: len(data) - (more - room)])
            raise OSError(errno.ENOSPC, "no space left on the disk")
        content.put(at, data)

    def sync(self, content: _FileBytes) -> None:
        """One sync; a failed one leaves the bytes to chance and counts them as clean."""
        self._check_alive()
        self.syncs += 1
        if self.failing_syncs:
            self.failing_syncs -= 1
            content.fail_sync(self._dice)
            raise OSError(errno.EIO, "the disk fails to sync")
        content.sync()

    def _check_alive(self) -> None:
        if self._dying:
            raise OSError(errno.EIO, "the power is off")

    def _make_room(self, more: int) -> None:
        if self.capacity is not None and self.used + max(0, more) > self.capacity:
            raise OSError(errno.ENOSPC, "no space left on the disk")

    def _keep_name(self, path: str) -> None:
        if path in self._files:
            self._durable_names[path] = self._files[path]


class _HostFile:
    """An open file of a simulated disk."""

    def __init__(self, disk: HostDisk, content: _FileBytes) -> None:
        self._disk = disk
        self._content = content

    def write(self, buffers: Sequence[Buffer], at: int) -> None:
        self._disk.write(self._content, b"".join(map(bytes, buffers)), at)

    def sync(self) -> None:
        self._disk.sync(self._content)

    def read(self, at: int, length: int) -> bytes:
        return bytes(self._content.now[at : at + length])

    def read_into(self, buffers: Sequence[memoryview], at: int) -> int:
        start = at
        for buffer in buffers:
            data = self.read(at, len(buffer))
            buffer[: len(data)] = data
            at += len(data)
            if len(data) < len(buffer):
                break
        return at - start

    def truncate(self, length: int) -> None:
        self._content.cut(length)

    def size(self) -> int:
        return len(self._content.now)

    def close(self) -> None:
        pass


class _HostLock:
    """A lock of a simulated disk."""

    def __init__(self, locks: dict[str, Process | None], path: str) -> None:
        self._locks = locks
        self._path = path

    def release(self) -> None:
        self._locks.pop(self._path, None)
