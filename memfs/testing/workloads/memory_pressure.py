"""Memory that is filled until the cluster says so, and freed again; what was acknowledged stays."""

from __future__ import annotations

import random

from memfs.client.filesystem import AsyncFileSystem
from memfs.errors import NoSpaceError, PathNotFoundError
from memfs.testing.checkers.registers import check_register
from memfs.testing.checkers.violation import Guarantee, Torn, Violation
from memfs.testing.history import Outcome
from memfs.testing.workloads.base import Workload
from memfs.testing.workloads.marked_contents import content, token_of


class FillAndFree(Workload):
    """Each writer adds files until there is no space or its share is full, then removes them all.

    Every file is written once and removed once: a register that is absent, holds its token, and
    holds the token "removed", which no reader can mistake for "not yet".
    """

    def __init__(self, *args: object, **options: object) -> None:
        """As Workload."""
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._held: dict[str, list[str]] = {}
        self._freeing: set[str] = set()
        self._written: set[str] = set()
        self._removed: set[str] = set()
        self._count = 0
        self.refused = 0
        """Writes that were told that there is no space."""

    @property
    def _size(self) -> int:
        return self.sizes.large_bytes

    async def write(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        held = self._held.setdefault(process, [])
        if process in self._freeing:
            await self._free(fs, process, held)
            return
        self._count += 1
        key = self.path(f"{process}-{self._count}")
        data = content(key, self._size)
        held.append(key)
        writing = fs.write_bytes(key, data, timeout=self.sizes.timeout_seconds)
        call = await self.record(process, key, "write", key, writing)
        self._written.add(key)
        full = call.outcome is Outcome.FAIL and NoSpaceError.__name__ in call.error
        self.refused += full
        share = self.sizes.fill_bytes // max(1, self.sizes.writers)
        if full or len(held) * self._size >= share:
            self._freeing.add(process)

    async def _free(self, fs: AsyncFileSystem, process: str, held: list[str]) -> None:
        """Remove one file of one's own; a removal whose outcome is unknown is done again."""
        if not held:
            self._freeing.discard(process)
            return
        key = held[-1]
        self._removed.add(key)
        call = await self.record(process, key, "remove", None, self._remove(fs, key))
        if call.ok:
            held.pop()

    async def _remove(self, fs: AsyncFileSystem, key: str) -> None:
        try:
            await fs.remove(key, timeout=self.sizes.timeout_seconds)
        except PathNotFoundError:
            return

    async def read(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        held = [key for keys in self._held.values() for key in keys if key in self._written]
        if held:
            key = dice.choice(held)
            call = await self.record(process, key, "read", None, self._get(fs, key))
            if call.ok and call.result is None and key in self._removed:
                call.outcome = Outcome.FAIL  # absent: it may have been removed meanwhile

    async def check_history(self, fs: AsyncFileSystem) -> list[Violation]:
        found = []
        for key in sorted(self._written):
            if key not in self._removed:
                await self.look(key, "read", lambda key=key: self._get(fs, key))  # type: ignore[misc]
            found += check_register(key, self.calls(key)) + self._after_removal(key)
        return found

    def _after_removal(self, key: str) -> list[Violation]:
        """Readers that were given what had been removed."""
        calls = self.calls(key)
        removals = [call for call in calls if call.name == "remove" and call.ok]
        late = [call for call in calls if call.name == "read" and call.ok and call.result == key]
        return [
            Violation(Guarantee.STALE, key, "read after it was removed", (removal, read))
            for removal in removals
            for read in late
            if removal.before(read)
        ]

    async def _get(self, fs: AsyncFileSystem, key: str) -> str | Torn | None:
        try:
            return token_of(await fs.read_bytes(key, timeout=self.sizes.timeout_seconds))
        except PathNotFoundError:
            return None
