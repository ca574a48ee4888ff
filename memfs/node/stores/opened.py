"""The external stores that one node has open: one for each mount and generation of it.

Owns the store objects, the last trouble with each and the counts of what was asked of it. Knows
nothing of names or blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from memfs.errors import (
    MemfsError,
    ObjectChangedError,
    StoreDeniedError,
    StoreMissingError,
    StoreUnreachableError,
)
from memfs.logs import fields
from memfs.node.membership.members import Membership
from memfs.node.stores.traffic import Traffic
from memfs.protocol import messages as m
from memfs.stores.interface import Store
from memfs.transport.environment import Environment

log = logging.getLogger(__name__)

FRESH_SECONDS: Final = 5.0
"""So long what a store said of itself counts for who asks how it is."""
LOOK_SECONDS: Final = 3.0
"""A store that says nothing for so long is told to be out of reach; it may still answer."""

OpenStore: TypeAlias = Callable[[str, Mapping[str, str], Environment], Store]
"""Makes a store of a URL and options; raises what is wrong with them."""


class OpenStores:
    """Stores by mount."""

    def __init__(
        self, environment: Environment, membership: Membership, open_store: OpenStore
    ) -> None:
        """Nothing is open before it is needed."""
        self._environment = environment
        self._membership = membership
        self._open = open_store
        self._stores: dict[int, tuple[m.MountRecord, Store]] = {}
        self._asking: asyncio.Lock = asyncio.Lock()
        self.trouble: dict[int, str] = {}
        """What was wrong with a store when it was last asked, by mount; absent: nothing."""
        self._traffic: dict[int, Traffic] = {}
        self._answered_at: dict[int, float] = {}
        """When a store last answered or failed, by mount, monotonic."""
        self._looks: dict[int, asyncio.Task[None]] = {}
        """Questions whether a store is there, one at a time for each mount."""

    def traffic(self, number: int) -> Traffic:
        """The counters of a mount."""
        found = self._traffic.get(number)
        if found is None:
            found = self._traffic[number] = Traffic()
        return found

    def open_mounts(self) -> Iterator[tuple[m.MountRecord, Traffic]]:
        """The mounts whose store is open, as far as this node knows, and their counters."""
        for number, (record, _) in self._stores.items():
            yield record, self.traffic(number)

    def make(self, url: str, options: tuple[m.StoreOption, ...]) -> Store:
        """A store that the caller closes. Raises ConfigError, InvalidArgumentError."""
        given = {option.name: option.value for option in options}
        return self._open(url, given, self._environment)

    async def of(self, number: int, generation: int) -> tuple[m.MountRecord, Store]:
        """The store of a mount, and how it is mounted. Raises ObjectChangedError: it is no more."""
        held = self._stores.get(number)
        if held is None or held[0].generation < generation:
            async with self._asking:
                held = self._stores.get(number)
                if held is None or held[0].generation < generation:
                    await self._look()
                    held = self._stores.get(number)
        if held is None or held[0].generation < generation:
            raise ObjectChangedError("the store is mounted no more")
        return held

    async def refresh(self) -> None:
        """Learn of what was mounted otherwise, or is no more. Raises UnavailableError."""
        async with self._asking:
            await self._look()

    async def _look(self) -> None:
        """Learn of all mounts from the primary."""
        after, more = 0, True
        seen = set()
        while more:
            reply = await self._membership.ask_primary(m.ListMounts(after))
            for record in reply.mounts:
                seen.add(record.number)
                self.adopt(record)
                after = record.number
            more = reply.more
        for gone in self._stores.keys() - seen:
            self.drop(gone)

    def adopt(self, record: m.MountRecord) -> Store:
        """Open the store of a mount unless it is open already; an older one is closed."""
        held = self._stores.get(record.number)
        if held is not None and held[0].generation >= record.generation:
            return held[1]
        store = self.make(record.url, record.options)
        if held is not None:
            self._close(held[1])
        self._stores[record.number] = record, store
        return store

    def drop(self, number: int) -> None:
        """A mount is no more."""
        held = self._stores.pop(number, None)
        self.trouble.pop(number, None)
        self._traffic.pop(number, None)
        self._answered_at.pop(number, None)
        if (look := self._looks.pop(number, None)) is not None:
            look.cancel()
        if held is not None:
            self._close(held[1])

    def _close(self, store: Store) -> None:
        task = asyncio.ensure_future(store.close())
        task.add_done_callback(lambda done: done.cancelled() or done.exception())

    @contextlib.contextmanager
    def watching(self, record: m.MountRecord) -> Iterator[None]:
        """Note whether the store of a mount answers; its errors say which mount it is."""
        number = record.number
        traffic = self.traffic(number)
        traffic.requests += 1
        try:
            yield
        except (StoreUnreachableError, StoreDeniedError, StoreMissingError) as error:
            traffic.errors += 1
            self._in_trouble(record, error.message)
            where = record.path.decode(errors="replace")
            raise type(error)(f"the store mounted at {where}: {error.message}") from error
        except MemfsError:
            self._answered(record)
            raise
        else:
            self._answered(record)

    async def look(self, records: Iterable[m.MountRecord]) -> None:
        """Ask the stores that said nothing of late, all at once; return within seconds."""
        now = self._environment.clock.monotonic()
        due = [
            record
            for record in records
            if now - self._answered_at.get(record.number, -math.inf) >= FRESH_SECONDS
        ]
        looks = {record.number: self._look_at(record) for record in due}
        if looks:
            await asyncio.wait(looks.values(), timeout=LOOK_SECONDS)
        for record in due:
            look = looks[record.number]
            if not look.done() and record.number not in self.trouble:
                self._in_trouble(record, f"it does not answer within {LOOK_SECONDS:g} s")

    def _look_at(self, record: m.MountRecord) -> asyncio.Task[None]:
        """The question that is under way, or a new one; it has the time of every request."""
        look = self._looks.get(record.number)
        if look is None or look.done():
            look = self._looks[record.number] = asyncio.ensure_future(self._ask_whether(record))
        return look

    async def _ask_whether(self, record: m.MountRecord) -> None:
        with contextlib.suppress(MemfsError), self.watching(record):
            await self.adopt(record).probe()

    def _in_trouble(self, record: m.MountRecord, reason: str) -> None:
        self._answered_at[record.number] = self._environment.clock.monotonic()
        if record.number not in self.trouble:
            log.warning("store in trouble", extra=fields(url=record.url, reason=reason))
        self.trouble[record.number] = reason

    def _answered(self, record: m.MountRecord) -> None:
        self._answered_at[record.number] = self._environment.clock.monotonic()
        if self.trouble.pop(record.number, None) is not None:
            log.info("store answers again", extra=fields(url=record.url))

    async def close(self) -> None:
        """Close all."""
        for look in self._looks.values():
            look.cancel()
        for number in list(self._stores):
            _, store = self._stores.pop(number)
            with contextlib.suppress(MemfsError):
                await store.close()
