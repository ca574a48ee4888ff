"""Whole files: replaced, streamed and renamed, deleted and made again; every byte is checked."""

from __future__ import annotations

import itertools
import random

from memfs.client.filesystem import AsyncFileSystem
from memfs.errors import OutcomeUnknownError, PathExistsError, PathNotFoundError
from memfs.testing.checkers.registers import check_register
from memfs.testing.checkers.search import Verdict, file_step, search
from memfs.testing.checkers.violation import Guarantee, Torn, Violation
from memfs.testing.workloads.base import Workload
from memfs.testing.workloads.marked_contents import content, token_of

PIECE_BYTES = 64 * 1024


class WholeFileRegister(Workload):
    """Few files, overwritten whole by all writers, each time with a token of its own."""

    async def write(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        key = self._key(dice)
        token = self.token(process)
        data = content(token, self._size(dice))
        await self.record(process, key, "write", token, self._put(fs, key, data, dice))
        if dice.random() < 0.3:
            await self.read(fs, process, dice)

    async def read(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        key = self._key(dice)
        await self.record(process, key, "read", None, self._get(fs, key, dice.random() < 0.3))

    async def check_history(self, fs: AsyncFileSystem) -> list[Violation]:
        found = []
        for key in map(self.path, range(self.sizes.keys)):
            await self.look(key, "read", lambda key=key: self._get(fs, key, False))  # type: ignore[misc]
            found += check_register(key, self.calls(key))
        return found

    def _key(self, dice: random.Random) -> str:
        return self.path(dice.randrange(self.sizes.keys))

    def _size(self, dice: random.Random) -> int:
        return dice.choice((0, 1, 2, 3)) * self.sizes.file_bytes // 3 + dice.randrange(200)

    async def _put(self, fs: AsyncFileSystem, key: str, data: bytes, dice: random.Random) -> None:
        await fs.write_bytes(key, data, timeout=self.sizes.timeout_seconds)

    async def _get(self, fs: AsyncFileSystem, key: str, opened: bool) -> str | Torn | None:
        """The token of a file, None when there is none; ``opened``: through a file object."""
        timeout = self.sizes.timeout_seconds
        try:
            if not opened:
                return token_of(await fs.read_bytes(key, timeout=timeout))
            async with fs.open(key, "rb", timeout=timeout) as file:
                return token_of(await self._pieces(file))
        except PathNotFoundError:
            return None

    async def _pieces(self, file: object) -> bytes:
        """Read a file object piece by piece."""
        pieces = []
        while piece := await file.read(PIECE_BYTES):  # type: ignore[attr-defined]
            pieces.append(piece)
        return b"".join(pieces)


class LargeFiles(WholeFileRegister):
    """Files of many blocks: put whole, streamed beside and renamed, or copied by the nodes from
    beside; reads check every byte.

    Now and then a hole is punched into what was streamed, and filled again.
    """

    def _size(self, dice: random.Random) -> int:
        return dice.randrange(self.sizes.large_bytes // 4, self.sizes.large_bytes)

    async def _put(self, fs: AsyncFileSystem, key: str, data: bytes, dice: random.Random) -> None:
        timeout = self.sizes.timeout_seconds
        chance = dice.random()
        if chance < 0.4:
            await fs.write_bytes(key, data, timeout=timeout)
            return
        beside = f"{key}.{dice.getrandbits(40):010x}"
        if chance < 0.6:
            await fs.write_bytes(beside, data, timeout=timeout)
            await fs.copy(beside, key, timeout=timeout)
            await fs.remove(beside, timeout=timeout)
            return
        try:
            async with fs.open(beside, "wb", timeout=timeout) as file:
                for at in range(0, len(data), PIECE_BYTES):
                    await file.write(data[at : at + PIECE_BYTES], timeout=timeout)
                if dice.random() < 0.4:
                    start = dice.randrange(len(data))
                    hole = dice.randrange(1, len(data))
                    await file.punch_hole(start, hole, timeout=timeout)
                    await file.pwrite(data[start : start + hole], start, timeout=timeout)
            await fs.replace(beside, key, timeout=timeout)
        except PathNotFoundError as error:
            text = f"{beside} vanished before it was renamed"
            self.found.append(Violation(Guarantee.LOST, key, text))
            raise OutcomeUnknownError(text) from error


class DeleteCreate(Workload):
    """One path, made, replaced and deleted by all writers: checked by search, with a bounded
    history for each path."""

    _CALLS = 120
    """Calls on one path before the next one is used; each search stays within its budget."""

    def __init__(self, *args: object, **options: object) -> None:
        """As Workload."""
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._generation = itertools.count()
        self._key = self.path(next(self._generation))
        self._used = 0
        self._keys = [self._key]
        self.undecided = 0
        """Paths whose search ended without a verdict."""

    async def write(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        key = self._next_key()
        kind = dice.choice(("create", "write", "remove", "remove"))
        timeout = self.sizes.timeout_seconds
        if kind == "remove":
            await self.record(process, key, kind, None, self._remove(fs, key))
            return
        token = self.token(process)
        data = content(token, dice.randrange(40, self.sizes.file_bytes))
        exclusive = kind == "create"

        async def put() -> bool:
            try:
                await fs.write_bytes(key, data, exclusive=exclusive, timeout=timeout)
            except PathExistsError:
                return False
            return True

        await self.record(process, key, kind, token, put())

    async def read(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        key = self._next_key()
        await self.record(process, key, "read", None, self._get(fs, key))

    async def check_history(self, fs: AsyncFileSystem) -> list[Violation]:
        found = []
        for key in self._keys:
            await self.look(key, "read", lambda key=key: self._get(fs, key))  # type: ignore[misc]
            calls = self.calls(key)
            torn = [c for c in calls if c.ok and isinstance(c.result, Torn)]
            found += [Violation(Guarantee.TORN, key, call.result.text, (call,)) for call in torn]
            verdict = search((c for c in calls if c not in torn), None, file_step)
            self.undecided += verdict is Verdict.UNKNOWN
            if verdict is Verdict.VIOLATED:
                text = "no order explains the answers"
                found.append(Violation(Guarantee.ORDER, key, text, tuple(calls)))
        return found

    def _next_key(self) -> str:
        self._used += 1
        if self._used % self._CALLS == 0:
            self._key = self.path(next(self._generation))
            self._keys.append(self._key)
        return self._key

    async def _remove(self, fs: AsyncFileSystem, key: str) -> bool:
        try:
            await fs.remove(key, timeout=self.sizes.timeout_seconds)
        except PathNotFoundError:
            return False
        return True

    async def _get(self, fs: AsyncFileSystem, key: str) -> str | Torn | None:
        try:
            return token_of(await fs.read_bytes(key, timeout=self.sizes.timeout_seconds))
        except PathNotFoundError:
            return None
