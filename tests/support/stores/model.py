"""What a store must hold after operations: plain dictionaries, and random sequences of them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

from memfs.errors import ObjectChangedError, ObjectMissingError, StoreConflictError
from memfs.stores.interface import ABSENT, Expected, ObjectInfo, Store

ODD_NAMES = (
    "plain",
    "a+b",
    "a b",
    "100%",
    "a%20b",
    "ümlaut",
    "q?x=1&y",
    "#hash",
    "~t",
    "a:b",
    "[x]",
)
"""Names that some encoding or other gets wrong."""


async def pieces(data: bytes, size: int = 1 << 20) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def put(store: Store, key: str, data: bytes, expected: Expected = None) -> ObjectInfo:
    return await store.put(key, pieces(data), len(data), expected)


async def level(store: Store, directory: str, limit: int) -> tuple[dict[str, ObjectInfo], int]:
    """All entries of a level by key, directories with a slash, and how many have no name."""
    entries: dict[str, ObjectInfo] = {}
    unreachable, after = 0, None
    while True:
        page = await store.list(directory, after, limit)
        assert len(page.entries) <= limit
        for entry in page.entries:
            shown = entry.key + ("/" if entry.is_directory else "")
            assert shown not in entries, "an entry came twice"
            entries[shown] = entry
        unreachable += page.unreachable
        if (after := page.after) is None:
            return entries, unreachable


class Course:
    """One random sequence of operations on a store, each compared with the model."""

    def __init__(self, store: Store, seed: int, forbidden: str = "") -> None:
        """``forbidden``: characters that no name has."""
        self.store = store
        self.dice = random.Random(f"course {seed}")
        self.objects: dict[str, bytes] = {}
        self.tags: dict[str, bytes] = {}
        names = [name for name in ODD_NAMES if not set(name) & set(forbidden)]
        directories = ["", *self.dice.sample(names, 3)]
        self.keys = [
            f"{directory}-d/{name}" if directory else name
            for directory in directories
            for name in self.dice.sample(names, 3)
        ]

    async def run(self, steps: int) -> None:
        """Do so many steps, then compare everything."""
        for _ in range(steps):
            step = self.dice.choice([self.put, self.put, self.read, self.delete, self.stat])
            await step(self.dice.choice(self.keys))
        await self.compare()

    async def put(self, key: str) -> None:
        data = self.dice.randbytes(self.dice.choice([0, 1, 100, 5_000, 70_000]))
        present = key in self.objects
        expected = self.dice.choice([None, ABSENT, self.tags.get(key, ABSENT), b'"another"'])
        fits = expected is None or expected == self.tags.get(key, ABSENT)
        try:
            info = await put(self.store, key, data, expected)
        except StoreConflictError:
            assert not fits, (key, expected, present)
            return
        assert fits or self.objects.get(key) == data, (key, expected)
        assert (info.key, info.size, info.is_directory) == (key, len(data), False)
        self.objects[key], self.tags[key] = data, info.tag

    async def read(self, key: str) -> None:
        data = self.objects.get(key, b"")
        offset = self.dice.randrange(len(data) + 1)
        size = self.dice.randrange(1, len(data) + 3)
        tag = self.dice.choice([b"", self.tags.get(key, b""), b'"another"'])
        try:
            got = bytes(await self.store.read(key, offset, size, tag))
        except ObjectMissingError:
            assert key not in self.objects
        except ObjectChangedError:
            assert tag == b'"another"' or offset + size > len(data)
        else:
            assert got == data[offset : offset + size] and len(got) == size
            assert tag in (b"", self.tags[key])

    async def delete(self, key: str) -> None:
        tag = self.dice.choice([None, self.tags.get(key), b'"another"'])
        try:
            await self.store.delete(key, tag)
        except StoreConflictError:
            assert key in self.objects and tag == b'"another"'
            return
        assert key not in self.objects or tag in (None, self.tags[key])
        self.objects.pop(key, None)
        self.tags.pop(key, None)

    async def stat(self, key: str) -> None:
        info = await self.store.stat(key)
        if key not in self.objects:
            assert info is None
        else:
            assert info is not None and info.size == len(self.objects[key])
            assert info.tag == self.tags[key]

    async def compare(self) -> None:
        """All levels are as the model has them, and say the same as stat."""
        for directory in {key.rpartition("/")[0] for key in self.objects} | {""}:
            prefix = f"{directory}/" if directory else ""
            wanted = set()
            for key in self.objects:
                if key.startswith(prefix):
                    name, slash, _ = key.removeprefix(prefix).partition("/")
                    wanted.add(prefix + name + slash)
            entries, unreachable = await level(self.store, directory, self.dice.choice([2, 1000]))
            empty = {key for key in entries if key.endswith("/") and key not in wanted}
            assert set(entries) - empty == wanted and not unreachable
            assert not empty or self.store.capabilities.real_directories
            for key, entry in entries.items():
                if not entry.is_directory:
                    assert await self.store.stat(key) == entry
                    data = self.objects[key]
                    assert bytes(await self.store.read(key, 0, len(data), entry.tag)) == data
