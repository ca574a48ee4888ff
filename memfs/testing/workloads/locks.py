"""File locks: clients that lock ranges of few bytes, wait for one another, and give way or die."""

from __future__ import annotations

import asyncio
import random

from memfs.client.aiofiles import AsyncFile
from memfs.client.filesystem import AsyncFileSystem
from memfs.errors import (
    ClusterError,
    LockDeadlockError,
    LocksLostError,
    MemfsError,
    OutcomeUnknownError,
    WouldBlockError,
)
from memfs.testing.checkers.locks import (
    BLOCKED,
    DEADLOCK,
    GRANTED,
    HELD,
    LOST,
    Wanted,
    check_locks,
)
from memfs.testing.checkers.violation import Guarantee, Violation
from memfs.testing.workloads.base import Workload

BYTES = 4
"""Of a file that can be locked, each by itself: so few that clients meet."""


class FileLocks(Workload):
    """Sections: open a file, lock one range after the other, unlock all of them, close.

    Ranges are locked in any order, so that now and then two clients wait for each other.
    """

    async def set_up(self, fs: AsyncFileSystem) -> None:
        for key in self._keys():
            await self.surely(lambda key=key: fs.write_bytes(key, b"x"))  # type: ignore[misc]

    async def write(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        key, section = dice.choice(self._keys()), self.token(process)
        try:
            file = await fs.open(key, "rb", timeout=self.sizes.timeout_seconds)
        except MemfsError:
            return
        try:
            await self._section(file, process, key, section, dice)
        finally:
            await _close(file)

    async def read(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        """Readers lock shared, without waiting."""
        key, section = dice.choice(self._keys()), self.token(process)
        try:
            file = await fs.open(key, "rb", timeout=self.sizes.timeout_seconds)
        except MemfsError:
            return
        try:
            wanted = Wanted(section, 0, BYTES - 1, False)
            if await self._lock(file, process, key, wanted, blocking=False):
                await self._unlock(file, process, key, section)
        finally:
            await _close(file)

    async def check_history(self, fs: AsyncFileSystem) -> list[Violation]:
        found = []
        for key in self._keys():
            found += check_locks(key, self.calls(key))
            if not await self._is_free(fs, key):
                found.append(Violation(Guarantee.LOST, key, "it stays locked by nobody who lives"))
        return found

    def _keys(self) -> list[str]:
        return [self.path(number) for number in range(self.sizes.keys)]

    async def _section(
        self, file: AsyncFile, process: str, key: str, section: str, dice: random.Random
    ) -> None:
        for _ in range(dice.choice((1, 1, 2, 3))):
            start = dice.randrange(BYTES)
            end = dice.randrange(start, BYTES)
            wanted = Wanted(section, start, end, dice.random() < 0.6)
            if not await self._lock(file, process, key, wanted, blocking=dice.random() < 0.7):
                break
            await asyncio.sleep(dice.expovariate(1 / self.sizes.pause_seconds))
        await self._unlock(file, process, key, section)

    async def _lock(
        self, file: AsyncFile, process: str, key: str, wanted: Wanted, *, blocking: bool
    ) -> bool:
        async def lock() -> str:
            try:
                await file.lock(
                    wanted.start,
                    wanted.end - wanted.start + 1,
                    exclusive=wanted.exclusive,
                    blocking=blocking,
                    timeout=self.sizes.timeout_seconds,
                )
            except WouldBlockError:
                return BLOCKED
            except LockDeadlockError:
                return DEADLOCK
            except ClusterError as error:  # what it began is undone on the side
                raise OutcomeUnknownError(f"{type(error).__name__}: {error}") from error
            return GRANTED

        call = await self.record(process, key, "lock", wanted, lock())
        return bool(call.ok and call.result == GRANTED)

    async def _unlock(self, file: AsyncFile, process: str, key: str, section: str) -> None:
        async def unlock() -> str:
            try:
                await file.unlock(timeout=self.sizes.timeout_seconds)
            except LocksLostError:
                return LOST
            return HELD

        await self.record(process, key, "unlock", section, unlock())

    async def _is_free(self, fs: AsyncFileSystem, key: str) -> bool:
        """Can all of the file be locked, once the sessions of dead clients have ended?"""
        deadline = self._clock() + 2 * self.sizes.verify_seconds
        file = await self.surely(lambda: fs.open(key, "rb"))
        try:
            while self._clock() < deadline:
                try:
                    await file.lock(timeout=self.sizes.timeout_seconds)
                except ClusterError:
                    continue
                await file.unlock()
                return True
        finally:
            await _close(file)
        return False


async def _close(file: AsyncFile) -> None:
    try:
        await file.close()
    except MemfsError:
        return
