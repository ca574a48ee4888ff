"""Look-ups of objects in stores, made by the primary before a request that needs them is applied.

Owns the times of the last look-ups and those under way: one at a time for each name or listing,
shared by all requests that wait for it, without a lock on the namespace. The answers become
commands. All of it is soft state of one term.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections import OrderedDict
from collections.abc import Awaitable, Container
from typing import Final, TypeVar

from memfs.errors import ObjectMissingError, StaleHandleError, StoreUnreachableError
from memfs.node.namespace.commands.mounts import record_of
from memfs.node.namespace.mount_queries import path_of
from memfs.node.namespace.rules.frontier import Question, question
from memfs.node.namespace.tables.inodes import DIRECTORY
from memfs.node.namespace.tables.mounts import MountPoint
from memfs.node.replication.primary import Primary
from memfs.node.stores.opened import OpenStores
from memfs.protocol import messages as m
from memfs.stores.interface import ObjectInfo, Store
from memfs.transport.environment import Environment

T = TypeVar("T")

NAMES_MAX: Final = 100_000
"""Answers about single names that are remembered: 20 MB at most."""
LISTINGS_MAX: Final = 100_000
OBJECTS_PER_COMMAND: Final = 200
"""With names of 255 bytes and tags of 34 they take 60 KB of a record."""
NEGATIVE_SECONDS: Final = 1.0
"""That a name is not there is believed for so long at most, while the store answers: who waits for
a file to appear sees it soon. Otherwise as long as that one is."""

_Key = tuple[int, int, bytes | None]


class Moment:
    """What was asked when, as one request may rely on it (see ``frontier.Knowledge``)."""

    def __init__(self, known: Known, since: float, now: float, away: Container[int]) -> None:
        """``since``: what was asked after it counts in any case. ``away``: mounts in trouble."""
        self._known, self._since, self._now, self._away = known, since, now, away

    def knows_name(self, mount: MountPoint, directory: int, name: bytes, exists: bool) -> bool:
        """Of the name by itself, or by a listing of its directory."""
        at = max(
            self._known.names.get((directory, name), -math.inf),
            self._known.listings.get(directory, -math.inf),
        )
        return self._counts(mount, at, exists)

    def knows_listing(self, mount: MountPoint, directory: int, later: bool) -> bool:
        """A later page goes on with what the first one came from."""
        at = self._known.listings.get(directory, -math.inf)
        return at > -math.inf if later else self._counts(mount, at, True)

    def _counts(self, mount: MountPoint, at: float, exists: bool) -> bool:
        if at == -math.inf:
            return False
        if at >= self._since or mount.sync_ms < 0:
            return True
        seconds = mount.sync_ms / 1000
        if not exists and mount.number not in self._away:
            seconds = min(seconds, NEGATIVE_SECONDS)
        return self._now - at < seconds


class Known:
    """Times of the last answers."""

    def __init__(self) -> None:
        """Nothing was asked."""
        self.names: OrderedDict[tuple[int, bytes], float] = OrderedDict()
        self.listings: OrderedDict[int, float] = OrderedDict()

    def note(self, directory: int, name: bytes | None, at: float) -> None:
        """The answer to what was asked at ``at`` is in the namespace."""
        if name is None:
            self.listings[directory] = at
            self.listings.move_to_end(directory)
            if len(self.listings) > LISTINGS_MAX:
                self.listings.popitem(last=False)
        else:
            self.names[directory, name] = at
            self.names.move_to_end((directory, name))
            if len(self.names) > NAMES_MAX:
                self.names.popitem(last=False)

    def clear(self) -> None:
        """Ask for everything anew."""
        self.names.clear()
        self.listings.clear()


class Metadata:
    """Brings what stores know into the namespace of one primary's term."""

    def __init__(self, primary: Primary, stores: OpenStores, environment: Environment) -> None:
        """``stores`` are the node's."""
        self.known = Known()
        self._primary = primary
        self._stores = stores
        self._now = environment.clock.monotonic
        self._asking: dict[_Key, asyncio.Task[None]] = {}
        self.asked = 0
        """Questions to stores so far."""

    def lacks(self, request: object) -> Question | None:
        """The look-up that a request has to wait for; None: it can be carried out now."""
        return self._question(request, self._now())

    def _question(self, request: object, since: float) -> Question | None:
        moment = Moment(self.known, since, self._now(), self._stores.trouble)
        return question(self._primary.namespace.volume, request, moment)

    async def prepare(self, request: object) -> None:
        """Look up until all is known.

        Raises StoreUnreachableError, StoreDeniedError, StoreMissingError.
        """
        since = self._now()
        while (found := self._question(request, since)) is not None:
            try:
                await self.ask(found)
            except StoreUnreachableError:
                if self._question(request, since) is not None:
                    raise

    async def ask(self, wanted: Question) -> None:
        """Ask one thing, once however many want to know it."""
        key = wanted.mount.number, wanted.directory, wanted.name
        task = self._asking.get(key)
        # One that is done was asked before this request came: waiting for it would not wait at all.
        if task is None or task.done():
            task = self._asking[key] = asyncio.ensure_future(self._ask(wanted))
            task.add_done_callback(lambda done: self._asked(key, done))
        await asyncio.shield(task)

    def _asked(self, key: _Key, task: asyncio.Task[None]) -> None:
        if self._asking.get(key) is task:
            del self._asking[key]
        if not task.cancelled():
            task.exception()

    async def _ask(self, wanted: Question) -> None:
        self.asked += 1
        at = self._now()
        record = self.record(wanted.mount)
        store = self._stores.adopt(record)
        try:
            with self._stores.watching(record):
                if wanted.name is None:
                    await self._list(wanted, store)
                else:
                    await self._look(wanted, store, wanted.name)
        except StaleHandleError:
            return  # it was unmounted or removed meanwhile: look again
        self.known.note(wanted.directory, wanted.name, at)

    def record(self, mount: MountPoint) -> m.MountRecord:
        """A mount as the stores' side knows it."""
        volume = self._primary.namespace.volume
        return record_of(mount, path_of(volume, mount.slot))

    async def _look(self, wanted: Question, store: Store, name: bytes) -> None:
        key = wanted.key + b"/" + name if wanted.key else name
        try:
            info = await store.stat(key.decode("utf-8"))
        except (ObjectMissingError, UnicodeDecodeError):
            info = None
        if info is None:
            await self._forget(wanted, [name])
        else:
            await self._learn(wanted, [_known(name, info)])

    async def _list(self, wanted: Question, store: Store) -> None:
        """Apply all pages of a listing, a command each; then remove names that were not listed."""
        after: str | None = None
        seen: set[bytes] = set()
        while True:
            page = await store.list(wanted.key.decode("utf-8"), after, 1000)
            found: dict[bytes, m.KnownObject] = {}
            for info in page.entries:
                name = info.key.rpartition("/")[2].encode("utf-8")
                if not info.is_directory or (name not in found and name not in seen):
                    found[name] = _known(name, info)  # the object, where a name is both
            seen.update(found)
            objects = list(found.values())
            for first in range(0, len(objects), OBJECTS_PER_COMMAND):
                await self._learn(wanted, objects[first : first + OBJECTS_PER_COMMAND])
            after = page.after
            if after is None:
                break
        await self._forget(wanted, self._unlisted(wanted.directory, seen))

    def _unlisted(self, inode: int, seen: set[bytes]) -> list[bytes]:
        tree = self._primary.namespace.volume.tree
        slot = tree.inodes.slot_of(inode)
        if not slot or tree.inodes.kind[slot] != DIRECTORY:
            return []
        return [name for name, _ in tree.directory(slot).items() if name not in seen]

    async def _learn(self, wanted: Question, objects: list[m.KnownObject]) -> None:
        mount = wanted.mount
        await self._primary.run_own(
            m.LearnObjects(mount.number, mount.generation, wanted.directory, tuple(objects))
        )

    async def _forget(self, wanted: Question, names: list[bytes]) -> None:
        mount = wanted.mount
        for first in range(0, len(names), OBJECTS_PER_COMMAND):
            part = tuple(names[first : first + OBJECTS_PER_COMMAND])
            await self._primary.run_own(
                m.ForgetObjects(mount.number, mount.generation, wanted.directory, part)
            )


async def resolved(answer: T | Awaitable[T]) -> T:
    """An answer that may be there already."""
    return await answer if inspect.isawaitable(answer) else answer


def _known(name: bytes, info: ObjectInfo) -> m.KnownObject:
    if info.is_directory:
        return m.KnownObject(name, 0, info.modified_ns, b"", True)
    return m.KnownObject(name, info.size, info.modified_ns, info.tag)
