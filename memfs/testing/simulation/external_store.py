"""An external store that fails as real ones do, by dice of one seed, under virtual time.

:class:`StoreServer` is the store's side: objects, versions, requests, and the faults. It outlives
every simulated process. :class:`FaultyStore` is one process's way to it, a
:class:`memfs.stores.interface.Store`. A request travels, is carried out at one moment, and its
reply travels back: a process that is killed on the way leaves it carried out or not. A request may
also come late, long after the asker has given it up. Invariant: an object changes at one moment as
a whole, and each change of it is in :attr:`StoreServer.changes`.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextvars import copy_context
from dataclasses import dataclass
from typing import TypeVar

from memfs.errors import (
    DirectoryNotEmptyError,
    ObjectChangedError,
    ObjectMissingError,
    StoreConflictError,
    StoreDeniedError,
    StoreUnreachableError,
    StoreUnsupportedError,
)
from memfs.stores.interface import ABSENT, Capabilities, Expected, ObjectInfo, Page, Store
from memfs.stores.key_names import as_prefix, is_name
from memfs.types import Buffer

T = TypeVar("T")
_EPOCH_NS = 1_700_000_000 * 10**9


@dataclass(frozen=True)
class StoreConditions:
    """How well a store works. Chances are per request."""

    delay_min: float = 0.001
    """Seconds until a request is carried out, and again until its reply is there, at least."""
    delay_max: float = 0.05
    refused_chance: float = 0.0
    """Chance of the answer "too busy"; nothing is done then."""
    lost_reply_chance: float = 0.0
    """Chance that the request is carried out and its reply lost."""
    late_chance: float = 0.0
    """Chance that the request is given up but carried out later, within ``late_seconds``."""
    late_seconds: float = 5.0
    shuffled: bool = True
    """The entries of a page come in any order."""
    real_directories: bool = False
    """A directory is there when it, or something in it, was made, and stays; one that is not there
    cannot be listed. Otherwise directories are prefixes, as in S3."""


@dataclass(frozen=True)
class StoredObject:
    """One version of an object."""

    data: bytes
    tag: bytes
    modified_ns: int


@dataclass(frozen=True)
class StoreChange:
    """One change that the store carried out; ``data`` None: deleted."""

    time: float
    key: str
    data: bytes | None


class StoreServer:
    """The store's side. ``seed`` decides every fault."""

    def __init__(self, seed: int, conditions: StoreConditions | None = None) -> None:
        self.conditions = conditions or StoreConditions()
        self.objects: dict[str, StoredObject] = {}
        self.markers: set[str] = set()
        """Directories that were made; keys without the slash at their end."""
        self.changes: list[StoreChange] = []
        self.requests: Counter[str] = Counter()
        """By kind: stat, list, read, put, delete, make_directory, remove_directory."""
        self.down = False
        """No request is answered."""
        self.denied = False
        """The credentials have expired."""
        self.random = random.Random(f"store {seed}")
        self._versions = 0
        self._context = copy_context()  # of no process: what comes late comes whoever died

    def connect(self, *, conditional_put: bool = True) -> FaultyStore:
        """A way to it for one process."""
        return FaultyStore(self, conditional_put)

    # --- what others do to it, behind the cluster's back ---------------------------------------

    def replace(self, key: str, data: bytes) -> bytes:
        """Another version of an object, at once; its tag."""
        return self.store(key, data).tag

    def remove(self, key: str) -> None:
        """Take an object away, at once."""
        if self.objects.pop(key, None) is not None:
            self.changes.append(StoreChange(_now(), key, None))

    def contents(self) -> dict[str, bytes]:
        """What is in it now."""
        return {key: stored.data for key, stored in sorted(self.objects.items())}

    def versions(self, key: str) -> list[bytes | None]:
        """All that ``key`` was, in order; None: deleted."""
        return [change.data for change in self.changes if change.key == key]

    # --- how a request fares -------------------------------------------------------------------

    async def carry_out(self, kind: str, work: Callable[[], T]) -> T:
        """Let one request travel, and its reply. Raises as a store does."""
        dice, conditions = self.random, self.conditions
        await asyncio.sleep(self._delay())
        self.requests[kind] += 1
        if self.down or dice.random() < conditions.refused_chance:
            raise StoreUnreachableError(f"{kind}: the store does not answer")
        if self.denied:
            raise StoreDeniedError(f"{kind}: the store refuses these credentials")
        if dice.random() < conditions.late_chance:
            asyncio.get_running_loop().call_later(
                dice.uniform(0, conditions.late_seconds), _quietly, work, context=self._context
            )
            raise StoreUnreachableError(f"{kind}: no answer came")
        lost = dice.random() < conditions.lost_reply_chance
        failure: Exception | None = None
        try:
            result = work()
        except Exception as error:  # the store's answer, and answers are lost like any other
            failure = error
        await asyncio.sleep(self._delay())
        if lost:
            raise StoreUnreachableError(f"{kind}: the reply was lost")
        if failure is not None:
            raise failure
        return result

    def store(self, key: str, data: bytes) -> StoredObject:
        """Give ``key`` another version."""
        self._versions += 1
        modified_ns = _EPOCH_NS + int(_now()) * 10**9  # whole seconds, as S3 tells them
        stored = StoredObject(data, b"v%d" % self._versions, modified_ns)
        self.objects[key] = stored
        self.changes.append(StoreChange(_now(), key, data))
        if self.conditions.real_directories:
            self.make_directory(key.rpartition("/")[0])
        return stored

    def make_directory(self, key: str) -> None:
        """With those that it is in, where they are real."""
        while key and key not in self.markers:
            self.markers.add(key)
            key = key.rpartition("/")[0] if self.conditions.real_directories else ""

    def is_directory(self, key: str) -> bool:
        """Is anything below ``key``, or was it made as a directory?"""
        return key in self.markers or self.holds_below(key)

    def holds_below(self, key: str) -> bool:
        """Is anything below ``key``?"""
        prefix = as_prefix(key)
        return any(name.startswith(prefix) for name in (*self.objects, *self.markers))

    def _delay(self) -> float:
        return self.random.uniform(self.conditions.delay_min, self.conditions.delay_max)


class FaultyStore(Store):
    """One process's way to a :class:`StoreServer`."""

    def __init__(self, bucket: StoreServer, conditional_put: bool) -> None:
        """Made by :meth:`StoreServer.connect`."""
        self._bucket = bucket
        self._capabilities = Capabilities(
            conditional_put=conditional_put,
            rename=False,
            real_directories=bucket.conditions.real_directories,
            modes=False,
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def stat(self, key: str) -> ObjectInfo | None:
        def work() -> ObjectInfo | None:
            if (stored := self._bucket.objects.get(key)) is not None:
                return _info(key, stored)
            known = not key or self._bucket.is_directory(key)
            return ObjectInfo(key, 0, 0, b"", True) if known else None

        return await self._bucket.carry_out("stat", work)

    async def list(self, directory: str, after: str | None = None, limit: int = 1000) -> Page:
        return await self._bucket.carry_out("list", lambda: self._page(directory, after, limit))

    async def read(self, key: str, offset: int, size: int, tag: bytes = b"") -> Buffer:
        def work() -> Buffer:
            stored = self._bucket.objects.get(key)
            if stored is None:
                raise ObjectMissingError("the store has no such object")
            if (tag and stored.tag != tag) or offset + size > len(stored.data):
                raise ObjectChangedError("the object was changed in the store")
            return stored.data[offset : offset + size]

        return await self._bucket.carry_out("read", work)

    async def put(
        self, key: str, chunks: AsyncIterator[Buffer], size: int, expected: Expected = None
    ) -> ObjectInfo:
        data = b"".join([bytes(chunk) async for chunk in chunks])
        if len(data) != size:
            raise ValueError(f"{len(data)} bytes came where {size} were announced")
        return await self._bucket.carry_out("put", lambda: self._put(key, data, expected))

    async def delete(self, key: str, tag: bytes | None = None) -> None:
        def work() -> None:
            stored = self._bucket.objects.get(key)
            if stored is not None and tag is not None and stored.tag != tag:
                raise StoreConflictError("another version of the object is in the store")
            self._bucket.remove(key)

        await self._bucket.carry_out("delete", work)

    async def make_directory(self, key: str) -> None:
        await self._bucket.carry_out("make_directory", lambda: self._bucket.make_directory(key))

    async def remove_directory(self, key: str) -> None:
        def work() -> None:
            if self._bucket.holds_below(key):
                raise DirectoryNotEmptyError("the directory has entries in the store")
            self._bucket.markers.discard(key)

        await self._bucket.carry_out("remove_directory", work)

    async def rename(self, source: str, target: str) -> None:
        raise StoreUnsupportedError("this store cannot rename; copy and delete instead")

    def _put(self, key: str, data: bytes, expected: Expected) -> ObjectInfo:
        present = self._bucket.objects.get(key)
        matches = (
            expected is None
            or (expected is ABSENT and present is None)
            or (present is not None and present.tag == expected)
        )
        if matches:
            return _info(key, self._bucket.store(key, data))
        if present is not None and present.data == data:
            return _info(key, present)  # of an earlier try, whose reply was lost
        raise StoreConflictError("the object was changed in the store meanwhile")

    def _page(self, directory: str, after: str | None, limit: int) -> Page:
        prefix = as_prefix(directory)
        if (
            directory
            and self.capabilities.real_directories
            and directory not in self._bucket.markers
        ):
            raise ObjectMissingError("the store has no such directory")
        level: dict[str, ObjectInfo | None] = {}  # by key; directories end with a slash
        for key in (*self._bucket.objects, *(f"{marker}/" for marker in self._bucket.markers)):
            if key.startswith(prefix) and key != prefix:
                name, slash, _ = key[len(prefix) :].partition("/")
                stored = None if slash else _info(key, self._bucket.objects[key])
                level[prefix + name + slash] = stored
        ordered = sorted(level, key=str.encode)
        start = bisect_right(ordered, (after or "").encode(), key=str.encode)
        taken = ordered[start : start + limit]
        entries = [
            level[key] or ObjectInfo(key.rstrip("/"), 0, 0, b"", True)
            for key in taken
            if is_name(key[len(prefix) :].removesuffix("/"))
        ]
        if self._bucket.conditions.shuffled:
            self._bucket.random.shuffle(entries)
        more = start + limit < len(ordered)
        return Page(tuple(entries), len(taken) - len(entries), taken[-1] if more else None)


def _info(key: str, stored: StoredObject) -> ObjectInfo:
    return ObjectInfo(key, len(stored.data), stored.modified_ns, stored.tag)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _quietly(work: Callable[[], object]) -> None:
    """Carry out what nobody waits for: an error of it is nobody's."""
    try:
        work()
    except Exception:  # the store refused it
        return
