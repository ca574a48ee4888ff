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
from collections.abc import Awaitable, Callable, Container
from typing import Final, TypeVar

from memfs.concurrency import run_all
from memfs.errors import (
    ObjectMissingError,
    StaleHandleError,
    StoreDeniedError,
    StoreUnreachableError,
)
from memfs.node.namespace.commands.mounts import news, record_of
from memfs.node.namespace.mount_queries import path_of
from memfs.node.namespace.rules.frontier import Question, questions
from memfs.node.namespace.tables.directory import Entries
from memfs.node.namespace.tables.inodes import DIRECTORY
from memfs.node.namespace.tables.mounts import MountPoint
from memfs.node.replication.primary import Primary
from memfs.node.stores.opened import OpenStores
from memfs.node.stores.store_listing import Listing, complete, known
from memfs.protocol import messages as m
from memfs.stores.interface import Page, Store
from memfs.transport.environment import Environment

T = TypeVar("T")

NAMES_MAX: Final = 100_000
"""Answers about single names that are remembered: 20 MB at most."""
LISTINGS_MAX: Final = 100_000
UNDER_WAY_MAX: Final = 10_000
QUESTIONS_PER_LOOK: Final = 256
"""Names of one request that are asked for before it is looked at again."""
QUESTIONS_AT_ONCE: Final = 32
PAGE_OBJECTS: Final = 1000
AHEAD_MAX: Final = 8
"""Pages that are asked for before somebody wants them: 300 KB each."""
OBJECTS_PER_COMMAND: Final = 200
"""With names of 255 bytes and tags of 34 they take 60 KB of a record."""
NEGATIVE_SECONDS: Final = 1.0
"""That a name is not there is believed for so long at most, while the store answers: who waits for
a file to appear sees it soon. Otherwise as long as that one is."""

_Key = tuple[int, int, bytes | None]


def _key_of(wanted: Question) -> _Key:
    return wanted.mount.number, wanted.directory, wanted.name


class Moment:
    """What was asked when, as one request may rely on it (see ``frontier.Knowledge``)."""

    def __init__(self, known: Known, since: float, now: float, away: Container[int]) -> None:
        """``since``: what was asked after it counts in any case. ``away``: mounts in trouble."""
        self._known, self._since, self._now, self._away = known, since, now, away
        self.bound: bytes | None = None
        """Before which name the listing that was looked at last is known; None: all of it."""

    def knows_name(self, mount: MountPoint, directory: int, name: bytes, exists: bool) -> bool:
        """Of the name by itself, or by a listing of its directory."""
        at = max(
            self._known.names.get((directory, name), -math.inf),
            self._known.listings.get(directory, -math.inf),
        )
        listing = self._known.under_way.get(directory)
        if listing is not None and name < listing.bound:
            at = max(at, listing.at)
        return self._counts(mount, at, exists)

    def listed(self, mount: MountPoint, directory: int, later: bool) -> bytes | None:
        """A later page goes on with what the first one came from."""
        at, bound = self._known.listings.get(directory, -math.inf), None
        listing = self._known.under_way.get(directory)
        if listing is not None and listing.bound:
            at, bound = listing.at, listing.bound
        if not (at > -math.inf if later else self._counts(mount, at, True)):
            bound = b""
        self.bound = bound
        return bound

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
        self.under_way: OrderedDict[int, Listing] = OrderedDict()
        """Listings that have not come to their ends; they go on when somebody wants more."""

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
        self.under_way.clear()

    def began(self, directory: int, listing: Listing) -> None:
        """It takes the place of another one; one that is too many begins anew when it goes on."""
        self.under_way.pop(directory, None)
        self.under_way[directory] = listing
        if len(self.under_way) > UNDER_WAY_MAX:
            self.under_way.popitem(last=False)


class Metadata:
    """Brings what stores know into the namespace of one primary's term."""

    def __init__(self, primary: Primary, stores: OpenStores, environment: Environment) -> None:
        """``stores`` are the node's."""
        self.known = Known()
        self._primary = primary
        self._stores = stores
        self._now = environment.clock.monotonic
        self._asking: dict[_Key, asyncio.Task[bool]] = {}
        self._ahead: OrderedDict[int, tuple[Listing, asyncio.Task[Page]]] = OrderedDict()
        """The next page of listings that somebody goes on with, by directory."""
        self._stored_at: OrderedDict[tuple[int, bytes], int] = OrderedDict()
        """The last changes that came to stores, by mount and key: their places in the order."""
        self._stored_changes = 0
        self.asked = 0
        """Questions to stores so far."""

    def lacks(self, request: object) -> tuple[Question | None, bytes | None]:
        """The look-up that a request has to wait for; None: it can be carried out now.

        With it the name before which a listing is known that the request shows; None: all of it.
        """
        found, bound = self._questions(request, self._now(), 1)
        return next(iter(found), None), bound

    def _questions(
        self, request: object, since: float, most: int
    ) -> tuple[list[Question], bytes | None]:
        """Different ones, in the order of the paths that the request names."""
        moment = Moment(self.known, since, self._now(), self._stores.trouble)
        volume = self._primary.namespace.volume
        found: dict[_Key, Question] = {}
        for each in questions(volume, request, moment):
            found.setdefault(_key_of(each), each)
            if len(found) >= most:
                break
        return list(found.values()), moment.bound or None

    async def prepare(self, request: object) -> bytes | None:
        """Look up until all is known; before which name it is, of a listing that is under way.

        Raises StoreUnreachableError, StoreDeniedError, StoreMissingError.
        """
        since = self._now()
        while True:
            found, bound = self._questions(request, since, QUESTIONS_PER_LOOK)
            if not found:
                return bound
            try:
                await run_all([self.ask(each) for each in found], QUESTIONS_AT_ONCE)
            except (StoreUnreachableError, StoreDeniedError):
                found, bound = self._questions(request, since, 1)
                if found:
                    raise

    async def page(
        self, request: m.List, show: Callable[[], Awaitable[m.ListReply]]
    ) -> m.ListReply:
        """A page of a listing, as soon as its names are known to be all there are.

        ``show`` carries the request out on the namespace, as often as it is asked to.
        """
        while True:
            bound = await self.prepare(request)
            reply = await show()
            found = reply if bound is None else complete(reply, bound)
            if found is not None:
                return found

    async def ask(self, wanted: Question) -> None:
        """Ask one thing, once however many want to know it; of a listing maybe the next page."""
        while not await self._share(wanted) and not wanted.part:
            pass

    async def _share(self, wanted: Question) -> bool:
        key = _key_of(wanted)
        task = self._asking.get(key)
        # One that is done was asked before this request came: waiting for it would not wait at all.
        if task is None or task.done():
            task = self._asking[key] = asyncio.ensure_future(self._ask(wanted))
            task.add_done_callback(lambda done: self._asked(key, done))
        return await asyncio.shield(task)

    def _asked(self, key: _Key, task: asyncio.Task[bool]) -> None:
        if self._asking.get(key) is task:
            del self._asking[key]
        if not task.cancelled():
            task.exception()

    async def _ask(self, wanted: Question) -> bool:
        """One request to the store, more or less; whether all is known then."""
        at = self._now()
        record = self.record(wanted.mount)
        store = self._stores.adopt(record)
        try:
            with self._stores.watching(record):
                if wanted.name is None:
                    return await self._list(wanted, store)
                self.asked += 1
                await self._look(wanted, store, wanted.name)
        except StaleHandleError:
            return True  # it was unmounted or removed meanwhile: look again
        self.known.note(wanted.directory, wanted.name, at)
        return True

    def record(self, mount: MountPoint) -> m.MountRecord:
        """A mount as the stores' side knows it."""
        volume = self._primary.namespace.volume
        return record_of(mount, path_of(volume, mount.slot))

    def note_stored(self, number: int, key: bytes) -> None:
        """A change of the cluster's own has come to the store: older answers do not count."""
        self._stored_changes += 1
        self._stored_at[number, key] = self._stored_changes
        self._stored_at.move_to_end((number, key))
        if len(self._stored_at) > NAMES_MAX:
            self._stored_at.popitem(last=False)

    def _counts(self, wanted: Question, name: bytes, since: int) -> bool:
        """Is what the store said of a name still newer than what was stored under it?"""
        key = wanted.key + b"/" + name if wanted.key else name
        return self._stored_at.get((wanted.mount.number, key), 0) <= since

    async def _look(self, wanted: Question, store: Store, name: bytes) -> bool:
        """Bring one name into the namespace, or out of it; whether the store has it."""
        since = self._stored_changes
        key = wanted.key + b"/" + name if wanted.key else name
        try:
            info = await store.stat(key.decode("utf-8"))
        except (ObjectMissingError, UnicodeDecodeError):
            info = None
        if info is None:
            await self._forget(wanted, [name], since)
        else:
            await self._learn(wanted, [known(name, info)], since)
        return info is not None

    async def _list(self, wanted: Question, store: Store) -> bool:
        """Go on with a listing, or begin one; whether that was its last page."""
        listing = self._listing(wanted, store)
        try:
            return await self._next_page(wanted, store, listing)
        except StoreUnreachableError:
            raise  # it can go on where it was
        except BaseException:
            if self.known.under_way.get(wanted.directory) is listing:
                del self.known.under_way[wanted.directory]
            raise
        finally:
            listing.used = self._now()

    def _listing(self, wanted: Question, store: Store) -> Listing:
        """The one under way, unless it is too old to count."""
        listing = self.known.under_way.get(wanted.directory)
        if listing is None or not listing.serves(wanted, self._now()):
            # Where each request asks anew, the pages of one must not come from several listings.
            ordered = store.capabilities.ordered and wanted.mount.sync_ms != 0
            listing = Listing(wanted, self._now(), ordered, self._stored_changes)
            self.known.began(wanted.directory, listing)
            self.asked += 1
        return listing

    async def _next_page(self, wanted: Question, store: Store, listing: Listing) -> bool:
        """Apply what a page has that is new, in commands of some names each; then remove names that
        were not listed."""
        try:
            page = await self._page(wanted, store, listing)
        except ObjectMissingError:
            if not wanted.key:
                raise
            await self._missing(wanted, store)
            page = Page(())
        await self._learn(wanted, listing.add_page(page), listing.stored_changes)
        while (gap := listing.waits_for(page)) is not None:
            listing.resolve_gap(gap, await self._look(wanted, store, gap))
        bound = listing.reached()
        directory = self._directory(wanted.directory)
        if directory is not None:
            await self._forget(wanted, listing.unlisted(directory, bound), listing.stored_changes)
        if self.known.under_way.get(wanted.directory) is not listing:
            return True  # everything is asked anew
        if bound is None:
            del self.known.under_way[wanted.directory]
            self.known.note(wanted.directory, None, listing.at)
        elif bound:
            listing.publish(bound)
            self.known.listings.pop(wanted.directory, None)
        return bound is None

    async def _missing(self, wanted: Question, store: Store) -> None:
        """A directory has no place in its store: it was made here and is not there yet, or others
        removed it there. Nothing else is in the store of what is below it."""
        volume = self._primary.namespace.volume
        inodes = volume.tree.inodes
        slot = inodes.slot_of(wanted.directory)
        if not slot or slot in volume.mounts.changes:
            return
        key, _, name = wanted.key.rpartition(b"/")
        parent = wanted._replace(directory=inodes.id_of(inodes.parent[slot]), key=key, name=name)
        at = self._now()
        await self._look(parent, store, name)
        self.known.note(parent.directory, name, at)

    async def _page(self, wanted: Question, store: Store, listing: Listing) -> Page:
        """A page of the store. Whoever goes on with a listing, or wants all of it, gets the page
        after it too, which is on its way while this one is applied."""
        key, after = wanted.key.decode("utf-8"), listing.after
        known = self._ahead.pop(wanted.directory, None)
        if known is not None and known[0] is listing:
            page = await known[1]
        else:
            if known is not None:
                known[1].cancel()
            page = await store.list(key, after, PAGE_OBJECTS)
        if (after is not None or not wanted.part) and page.after is not None:
            task = asyncio.ensure_future(store.list(key, page.after, PAGE_OBJECTS))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._ahead[wanted.directory] = listing, task
            if len(self._ahead) > AHEAD_MAX:
                self._ahead.popitem(last=False)[1][1].cancel()
        return page

    def _directory(self, inode: int) -> Entries | None:
        tree = self._primary.namespace.volume.tree
        slot = tree.inodes.slot_of(inode)
        if not slot or tree.inodes.kind[slot] != DIRECTORY:
            return None
        return tree.directory(slot)

    async def _learn(self, wanted: Question, objects: list[m.KnownObject], since: int) -> None:
        where = wanted.mount.number, wanted.mount.generation, wanted.directory
        counting = objects
        if self._stored_at:
            counting = [each for each in objects if self._counts(wanted, each.name, since)]
        part = news(self._primary.namespace.volume, *where, counting)
        for first in range(0, len(part), OBJECTS_PER_COMMAND):
            some = tuple(part[first : first + OBJECTS_PER_COMMAND])
            await self._primary.run_own(m.LearnObjects(*where, some))

    async def _forget(self, wanted: Question, names: list[bytes], since: int) -> None:
        mount = wanted.mount
        for first in range(0, len(names), OBJECTS_PER_COMMAND):
            some = names[first : first + OBJECTS_PER_COMMAND]
            part = tuple([name for name in some if self._counts(wanted, name, since)])
            await self._primary.run_own(
                m.ForgetObjects(mount.number, mount.generation, wanted.directory, part)
            )


async def resolved(answer: T | Awaitable[T]) -> T:
    """An answer that may be there already."""
    return await answer if inspect.isawaitable(answer) else answer
