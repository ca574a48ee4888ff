"""Names: directories that change, tokens that are renamed, coins that move between accounts."""

from __future__ import annotations

import posixpath
import random

from memfs.client.filesystem import AsyncFileSystem
from memfs.errors import (
    MemfsError,
    PathExistsError,
    PathNotFoundError,
    RequestError,
)
from memfs.testing.checkers.conserved_sums import check_totals
from memfs.testing.checkers.names import ABSENT, EXISTS, check_names
from memfs.testing.checkers.registers import check_register
from memfs.testing.checkers.trees import TreeEntry, check_tree
from memfs.testing.checkers.violation import Guarantee, Violation
from memfs.testing.history import FINAL
from memfs.testing.workloads.base import Workload


class DirectorySet(Workload):
    """Names that are created once, removed once by their creator, and listed by everybody."""

    _HELD = 25
    """Names that a writer keeps in a directory."""

    def __init__(self, *args: object, **options: object) -> None:
        """As Workload."""
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._held: dict[tuple[str, str], list[str]] = {}
        self._kinds: dict[str, str] = {}
        self._count = 0

    async def set_up(self, fs: AsyncFileSystem) -> None:
        for number in range(self.sizes.keys):
            await self.make_directory(fs, self.path(number))

    async def write(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        key = self.path(dice.randrange(self.sizes.keys))
        held = self._held.setdefault((process, key), [])
        if held and dice.random() < len(held) / (2 * self._HELD):
            name = held.pop(dice.randrange(len(held)))
            await self.record(process, key, "remove", name, self._remove(fs, key, name))
            return
        self._count += 1
        name = f"{process}-{self._count}"
        self._kinds[name] = dice.choice(("file", "directory", "empty"))
        held.append(name)
        await self.record(process, key, "create", name, self._create(fs, key, name))

    async def read(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        key = self.path(dice.randrange(self.sizes.keys))
        await self.record(process, key, "list", None, self._list(fs, key))

    async def check_history(self, fs: AsyncFileSystem) -> list[Violation]:
        found = []
        for key in map(self.path, range(self.sizes.keys)):
            await self.look(key, "list", lambda key=key: self._list(fs, key))  # type: ignore[misc]
            found += check_names(key, self.calls(key))
        return found

    async def _create(self, fs: AsyncFileSystem, key: str, name: str) -> str | None:
        path, timeout = f"{key}/{name}", self.sizes.timeout_seconds
        try:
            if self._kinds[name] == "directory":
                await fs.mkdir(path, timeout=timeout)
            else:
                data = b"" if self._kinds[name] == "empty" else name.encode()
                await fs.write_bytes(path, data, exclusive=True, timeout=timeout)
        except PathExistsError:
            return EXISTS
        return None

    async def _remove(self, fs: AsyncFileSystem, key: str, name: str) -> str | None:
        path, timeout = f"{key}/{name}", self.sizes.timeout_seconds
        try:
            if self._kinds[name] == "directory":
                await fs.rmdir(path, timeout=timeout)
            else:
                await fs.remove(path, timeout=timeout)
        except PathNotFoundError:
            return ABSENT
        return None

    async def _list(self, fs: AsyncFileSystem, key: str) -> frozenset[str]:
        return frozenset(await fs.listdir(key, timeout=self.sizes.timeout_seconds))


class RenameDance(Workload):
    """Tokens that their owners rename from place to place, and directories that are moved below
    one another, cycles being refused.

    Each rename moves a token to a place that is used once, so a token's place is a register with
    unique values, and a listing that contains the token reads it.
    """

    _PLACES = 3
    _LOOPS = 5
    _TOKENS = 4
    """Of each writer."""

    def __init__(self, *args: object, **options: object) -> None:
        """As Workload."""
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._at: dict[str, str | None] = {}
        self._moves = 0

    async def set_up(self, fs: AsyncFileSystem) -> None:
        for number in range(self._PLACES):
            await self.make_directory(fs, self.path(f"place-{number}"))
        await self.make_directory(fs, self.path("loops"))
        for number in range(self._LOOPS):
            await self.make_directory(fs, self.path("loops", f"n{number}"))
            file = self.path("loops", f"n{number}", f"f{number}")
            await self.surely(lambda file=file: fs.write_bytes(file, b"x"))  # type: ignore[misc]
        for writer in range(self.sizes.writers):
            for number in range(self._TOKENS):
                await self._place_token(fs, f"{self.name}-w{writer}", number)

    async def _place_token(self, fs: AsyncFileSystem, owner: str, number: int) -> None:
        token = f"{owner}={number}"
        place = f"place-{number % self._PLACES}/{token}.0"
        call = self.history.begin(owner, self.path(token), "write", place)
        if number % 2:
            await self.make_directory(fs, self.path(place))
        else:
            await self.surely(lambda: fs.write_bytes(self.path(place), token.encode()))
        self.history.end(call)
        self._at[token] = place

    async def write(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        if dice.random() < 0.3:
            await self._tangle(fs, dice)
            return
        token = f"{process}={dice.randrange(self._TOKENS)}"
        place = self._at[token]
        if place is None:
            await self.read(fs, process, dice)
            return
        self._moves += 1
        target = f"place-{dice.randrange(self._PLACES)}/{token}.{self._moves}"
        self._at[token] = None  # not known until it is answered or found
        moving = fs.rename(
            self.path(place),
            self.path(target),
            overwrite=dice.random() < 0.5,
            timeout=self.sizes.timeout_seconds,
        )
        call = await self.record(process, self.path(token), "write", target, moving)
        if call.ok:
            self._at[token] = target
        elif PathNotFoundError.__name__ in call.error:
            text = f"{token} was not found at {place}"
            self.found.append(Violation(Guarantee.LOST, call.key, text, (call,)))
        elif not call.pending:
            self._at[token] = place

    async def read(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        place = f"place-{dice.randrange(self._PLACES)}"
        await self._look(fs, process, place)

    async def _look(self, fs: AsyncFileSystem, process: str, place: str) -> list[str]:
        """List one place: each token found there has been read."""
        began = self.history.now()
        try:
            names = await fs.listdir(self.path(place), timeout=self.sizes.timeout_seconds)
        except MemfsError:
            return []
        for name in names:
            token = name.rpartition(".")[0]
            call = self.history.begin(process, self.path(token), "read")
            call.invoked = began
            self.history.end(call, f"{place}/{name}")
            if self._at.get(token, "") is None and token.startswith(f"{process}="):
                self._at[token] = f"{place}/{name}"
        return names

    async def _tangle(self, fs: AsyncFileSystem, dice: random.Random) -> None:
        """Move a directory below another one, or swap two: what is refused is refused."""
        try:
            found = await self._walk(fs, self.path("loops"))
            directories = [entry.path for entry in found if entry.directory]
            if len(directories) < 2:
                return
            first, second = dice.sample(directories, 2)
            timeout = self.sizes.timeout_seconds
            if dice.random() < 0.3:
                await fs.rename(first, second, exchange=True, timeout=timeout)
            elif dice.random() < 0.5:
                target = self.path("loops", posixpath.basename(first))
                await fs.rename(first, target, overwrite=False, timeout=timeout)
            else:
                target = posixpath.join(second, posixpath.basename(first))
                await fs.rename(first, target, overwrite=False, timeout=timeout)
        except (RequestError, MemfsError):
            return

    async def _walk(self, fs: AsyncFileSystem, top: str, depth: int = 0) -> list[TreeEntry]:
        """All entries below ``top``; one moment only when nothing moves."""
        found = []
        for each in await fs.scandir(top, timeout=self.sizes.timeout_seconds):
            path, stat = posixpath.join(top, each.name), each.stat()
            found.append(TreeEntry(path, stat.st_ino, each.is_dir(), stat.st_nlink))
            if each.is_dir() and depth <= self._LOOPS:
                found += await self._walk(fs, path, depth + 1)
        return found

    async def check_history(self, fs: AsyncFileSystem) -> list[Violation]:
        entries = await self.surely(lambda: self._walk(fs, self.path("loops")))
        names = [f"{kind}{number}" for kind in "nf" for number in range(self._LOOPS)]
        found = check_tree(self.path("loops"), entries, names)
        places: list[str] = []
        for number in range(self._PLACES):
            place = f"place-{number}"
            await self.surely(lambda place=place: fs.stat(self.path(place)))  # type: ignore[misc]
            places += await self._look(fs, FINAL, place)
        tokens = [name.rpartition(".")[0] for name in places]
        for token in self._at:
            key = self.path(token)
            found += check_register(key, self.calls(key))
            if tokens.count(token) != 1:
                kind = Guarantee.DUPLICATE if tokens.count(token) else Guarantee.LOST
                text = f"it is in {tokens.count(token)} places at the end"
                found.append(Violation(kind, key, text, tuple(self.calls(key)[-5:])))
        return found


class Transfer(Workload):
    """Coins of different sizes move between accounts: the totals are right at every moment."""

    _ACCOUNTS = 3
    _COINS = 12

    def __init__(self, *args: object, **options: object) -> None:
        """As Workload."""
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._length = 0
        self._moves = 0

    async def set_up(self, fs: AsyncFileSystem) -> None:
        for number in range(self._ACCOUNTS):
            await self.make_directory(fs, self.path(f"account-{number}"))
        for number in range(self._COINS):
            data = bytes(range(200)) * (number + 1)
            path = self.path(f"account-{number % self._ACCOUNTS}", f"coin-{number}")
            await self.surely(lambda p=path, d=data: fs.write_bytes(p, d))  # type: ignore[misc]
            self._length += len(data)

    async def write(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        source, target = (f"account-{n}" for n in dice.sample(range(self._ACCOUNTS), 2))
        await self.record(process, self.top, "move", None, self._move(fs, source, target, dice))

    async def _move(
        self, fs: AsyncFileSystem, source: str, target: str, dice: random.Random
    ) -> None:
        """Move any coin, or swap two; somebody else may be faster."""
        timeout = self.sizes.timeout_seconds
        coins = await fs.listdir(self.path(source), timeout=timeout)
        if not coins:
            return
        coin = dice.choice(coins)
        try:
            await fs.rename(
                self.path(source, coin), self.path(target, coin), overwrite=False, timeout=timeout
            )
        except PathNotFoundError:
            return

    async def read(self, fs: AsyncFileSystem, process: str, dice: random.Random) -> None:
        await self.record(process, self.top, "total", None, self._total(fs))

    async def _total(self, fs: AsyncFileSystem) -> tuple[int, int]:
        usage = await fs.du(self.top, timeout=self.sizes.timeout_seconds)
        return usage.files, usage.length

    async def check_history(self, fs: AsyncFileSystem) -> list[Violation]:
        await self.look(self.top, "total", lambda: self._total(fs))
        found = check_totals(self.top, self.calls(self.top), (self._COINS, self._length))
        coins: list[str] = []
        for number in range(self._ACCOUNTS):
            account = self.path(f"account-{number}")
            coins += await self.surely(lambda a=account: fs.listdir(a))  # type: ignore[misc]
        if sorted(coins) != sorted(f"coin-{number}" for number in range(self._COINS)):
            text = f"the coins at the end are {sorted(coins)}"
            found.append(Violation(Guarantee.LOST, self.top, text))
        return found
