"""Files that are replaced and deleted while others read them, piece by piece, for a long time."""

from __future__ import annotations

import contextlib
import random

from memfs.client.aiofiles import AsyncFile
from memfs.client.filesystem import AsyncFileSystem
from memfs.concurrency import Coro
from memfs.errors import MemfsError
from memfs.testing.checkers.violation import Guarantee, Torn, Violation
from memfs.testing.workloads.base import Workload
from memfs.testing.workloads.marked_contents import content, token_of

HELD = 3
"""Files that one reader has open at a time."""


class _HeldFile:
    """One open file and what was read of it, in order."""

    def __init__(self, key: str, file: AsyncFile) -> None:
        self.key = key
        self.file = file
        self.data = b""

    async def read(self, size: int, timeout: float) -> bool:
        """Read the next piece; False at the end."""
        piece = await self.file.read(size, timeout=timeout)
        self.data += piece
        return bool(piece)


class HeldOpen(Workload):
    """All reads of one open file are of one content, whatever becomes of its name. A reader whose
    session ended may find its file removed; other workloads check that.
    """

    def __init__(self, *args: object, **options: object) -> None:
        """As Workload."""
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._held: dict[str, list[_HeldFile]] = {}

    async def write(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        key, timeout = self._key(dice), self.sizes.timeout_seconds
        work: Coro[object]
        kind = dice.choice(("write", "write", "write", "remove", "rmtree", "rename"))
        if kind == "write":
            data = content(self.token(process), dice.randrange(self.sizes.large_bytes))
            work = fs.write_bytes(key, data, parents=True, timeout=timeout)
        elif kind == "remove":
            work = fs.remove(key, timeout=timeout)
        elif kind == "rename":
            work = fs.replace(key, self._key(dice), timeout=timeout)
        else:
            work = fs.rmtree(key.rpartition("/")[0], timeout=timeout)
        await self.record(process, key, kind, None, work)

    async def read(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        held = self._held.setdefault(process, [])
        if len(held) < HELD and dice.random() < 0.5:
            await self._open(fs, process, held, self._key(dice))
        elif held:
            reading = dice.choice(held)
            size = dice.randrange(1, self.sizes.large_bytes // 2)
            await self.record(process, reading.key, "read", size, self._read(held, reading, size))

    async def check_history(self, fs: AsyncFileSystem) -> list[Violation]:
        for held in self._held.values():
            while held:
                reading = held[-1]
                try:
                    while await self._read(held, reading, self.sizes.large_bytes):
                        pass
                except MemfsError:
                    continue
        return []

    def _key(self, dice: random.Random) -> str:
        return self.path(dice.randrange(2), dice.randrange(self.sizes.keys))

    async def _open(
        self, fs: AsyncFileSystem, process: str, held: list[_HeldFile], key: str
    ) -> None:
        async def work() -> None:
            file = await fs.open(key, "rb", timeout=self.sizes.timeout_seconds)
            held.append(_HeldFile(key, file))

        await self.record(process, key, "open", None, work())

    async def _read(self, held: list[_HeldFile], reading: _HeldFile, size: int) -> bool:
        """A piece; at the end, or when it fails, the file is closed."""
        goes_on = False
        try:
            goes_on = await reading.read(size, self.sizes.timeout_seconds)
            if not goes_on:
                self._check(reading)
        finally:
            if not goes_on:
                held.remove(reading)
                with contextlib.suppress(MemfsError):
                    await reading.file.close()
        return goes_on

    def _check(self, reading: _HeldFile) -> None:
        token = token_of(reading.data)
        if isinstance(token, Torn):
            self.found.append(Violation(Guarantee.TORN, reading.key, token.text))
