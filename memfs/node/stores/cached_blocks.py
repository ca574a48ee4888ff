"""Cached blocks of stores' objects, on the nodes that the ring names for them.

Owns the fetches under way, one for each block and shared by its readers, and the index of cached
blocks. A cached block has generation 0 and the file's own generation as its sequence, so that it
is never used for another content; it has no entry in the namespace or the journal, and may be
evicted at any time. Invariants: a block is cached whole and with its CRC32C, or not
at all; what is read of one version comes from one tag.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final, cast

from memfs import concurrency, errors, limits
from memfs.checksum import crc32c
from memfs.concurrency import Coro
from memfs.node.blocks import BlockStore
from memfs.node.membership.members import Membership
from memfs.node.stores.block_fetch import Arrived, BlockFetch
from memfs.node.stores.opened import OpenStores
from memfs.node.stores.policies import BlockCache, Policy
from memfs.protocol import messages as m
from memfs.transport.environment import Environment
from memfs.transport.server import IncomingCall
from memfs.types import Buffer

FETCHES_AT_ONCE: Final = 32
"""Blocks on their way from stores: 128 MiB of default blocks."""
WARM_BYTES: Final = 512 * limits.KIB
"""Blocks from here on are received into the store's warm memory: pages that the kernel has to give
first cost as much as their bytes do to receive."""
LATE_SECONDS: Final = 1.0
"""So long the bytes of a block that is not cached stay for one who asked for some of its parts."""
LATE_MAX: Final = 16
PLACES_KEPT: Final = 20_000
"""Files of which it is remembered where their content is: 10 MB."""


CACHE_SHARE: Final = 0.85
"""Of the node's memory, up to which the cache uses what is free; below where space counts as low
(``memfs.node.resources.space``), so that writers find room without waiting for evictions."""
EXPIRY_SECONDS: Final = 5.0
"""Between two looks for blocks that nobody has read for their mount's time to live."""


class ObjectBlocks:
    """The node's cache of stores' blocks."""

    def __init__(
        self,
        store: BlockStore,
        membership: Membership,
        stores: OpenStores,
        environment: Environment,
    ) -> None:
        """``store`` holds the blocks beside those of the cluster's own files."""
        self._store = store
        self._membership = membership
        self._stores = stores
        self._cache = BlockCache(self._is_pinned)
        self._read_at: OrderedDict[m.BlockVersion, tuple[float, float]] = OrderedDict()
        """When each cached block was read last, longest ago first, and its time to live."""
        self._sizes: dict[m.ObjectVersion, int] = {}
        """Bytes in the cache of each file that has some there."""
        self._pinned: dict[int, int] = {}
        """Until when, by inode, in nanoseconds since the epoch; 0: for ever."""
        self._now = environment.clock.monotonic
        self._wall_ns = environment.clock.wall_ns
        self._places: OrderedDict[m.ObjectVersion, m.ObjectPlace] = OrderedDict()
        self._fetches: dict[m.BlockVersion, BlockFetch] = {}
        self._late: dict[m.BlockVersion, BlockFetch] = {}
        """Those of ``_fetches`` that are over and wait for their reader, the oldest first."""
        self._turns = asyncio.Semaphore(FETCHES_AT_ONCE)
        store.on_shortage(self.make_room)
        store.on_uncached(self._forget)

    # --- reading -----------------------------------------------------------------------------

    def held(
        self, version: m.BlockVersion, offset: int, length: int, *, whole: bool = False
    ) -> tuple[Buffer, int] | None:
        """As ``BlockStore.read`` where the block is cached, else None.

        ``whole``: as of :meth:`read`.
        """
        if version not in self._cache:
            return None
        try:
            found = self._store.read(version, offset, length)
        except errors.CorruptBlockError:
            self._store.discard(version)
            return None
        if not (whole and offset):
            self._note_read(version)
        return found

    def _note_read(self, version: m.BlockVersion) -> None:
        now, mount = self._now(), self._cache.mount_of(version)
        if mount is not None:
            self._stores.traffic(mount).hits += 1
            self._cache.read(mount, version, now)
            self._read_at[version] = now, self._read_at[version][1]
            self._read_at.move_to_end(version)

    async def read(
        self, version: m.BlockVersion, offset: int, length: int, *, whole: bool = False
    ) -> tuple[Buffer, int]:
        """Bytes of a block and their CRC32C; fetched if need be.

        ``whole``: what else is in the block will be asked for as well. Raises ObjectChangedError,
        ObjectMissingError, StoreUnreachableError, StoreDeniedError, StoreMissingError.
        """
        found = self.held(version, offset, length, whole=whole)
        if found is not None:
            return found
        place = (await self.places([version]))[0]
        record, store = await self._stores.of(place.mount, place.generation)
        if not (whole and offset):
            self._stores.traffic(record.number).misses += 1
        if record.mode == m.MountMode.PROXY and not whole:
            if not 0 <= offset <= offset + length <= _length_of(version, place):
                raise errors.InvalidArgumentError("a range that does not lie in the block")
            start = version.index * place.block_size + offset
            data = memoryview(bytearray(length))
            with self._stores.watching(record):
                await store.read_into(place.key, start, data, place.tag, lambda _: None)
            return data, crc32c(data)
        fetch = self._fetch_once(version, place, None if whole else (offset, length))
        if whole:
            fetch.owed -= length
            if fetch.owed <= 0:
                self._end_late(version, fetch)
        data = await fetch.part(offset, length)
        return data, fetch.crc(offset, length)

    async def places(self, versions: Sequence[m.BlockVersion]) -> list[m.ObjectPlace]:
        """Where the content of each is, asked of the primary in one request.

        Raises ObjectChangedError when one is no file's content any more.
        """
        wanted = [m.ObjectVersion(version.inode, version.sequence) for version in versions]
        found = await self._look_up(wanted)
        places = [found[each] for each in wanted]
        while len(self._places) > PLACES_KEPT:
            self._places.popitem(last=False)
        for place in places:
            if place.code:
                raise errors.from_wire(
                    place.code, "the file was changed or deleted since it was opened: open it again"
                )
        return places

    async def prepare(self, versions: Iterable[m.BlockVersion]) -> None:
        """Before many are read: ask for the places of all that are not cached at once."""
        missing = [each for each in versions if not each.generation and each not in self._cache]
        with contextlib.suppress(errors.MemfsError):  # whoever reads one hears what is wrong
            await self._look_up([m.ObjectVersion(each.inode, each.sequence) for each in missing])

    async def _look_up(
        self, wanted: Sequence[m.ObjectVersion]
    ) -> dict[m.ObjectVersion, m.ObjectPlace]:
        """The places of all; those that are not known are asked of the primary."""
        found = {each: self._places[each] for each in wanted if each in self._places}
        unknown = [each for each in dict.fromkeys(wanted) if each not in found]
        while unknown:
            reply = await self._membership.ask_primary(m.DescribeObjects(tuple(unknown)))
            if not reply.places:
                raise errors.UnavailableError("the primary does not say where objects are")
            for each, place in zip(unknown, reply.places, strict=False):
                found[each] = place
                if not place.code:
                    self._places[each] = place
            unknown = unknown[len(reply.places) :]
        return found

    # --- fetching ----------------------------------------------------------------------------

    def _fetch_once(
        self, version: m.BlockVersion, place: m.ObjectPlace, wanted: tuple[int, int] | None
    ) -> BlockFetch:
        """The fetch that is under way, or one that begins with what this reader wants.

        ``wanted``: offset and length of it; None: all of the block.
        """
        fetch = self._fetches.get(version)
        if fetch is None:
            total = _length_of(version, place)
            memory = self._store.lend(total) if total >= WARM_BYTES else None
            if memory is None:
                memory = memoryview(bytearray(total))
            fetch = self._fetches[version] = BlockFetch(memory, *(wanted or (0, total)))
            fetch.task = asyncio.ensure_future(self._fetch(version, place, fetch))
            fetch.owed = 0 if wanted else total
            fetch.task.add_done_callback(lambda _: self._ended(version, fetch))
        return fetch

    def _ended(self, version: m.BlockVersion, fetch: BlockFetch) -> None:
        fetch.ended()
        if fetch.failed or fetch.owed <= 0 or version in self._cache:
            del self._fetches[version]
            return
        # It is not kept, and some of its parts are still to be asked for.
        self._late[version] = fetch
        asyncio.get_running_loop().call_later(LATE_SECONDS, self._end_late, version, fetch)
        if len(self._late) > LATE_MAX:
            self._end_late(*next(iter(self._late.items())))

    def _end_late(self, version: m.BlockVersion, fetch: BlockFetch) -> None:
        if self._late.get(version) is fetch:
            del self._late[version], self._fetches[version]

    async def _fetch(
        self, version: m.BlockVersion, place: m.ObjectPlace, fetch: BlockFetch
    ) -> None:
        record, store = await self._stores.of(place.mount, place.generation)
        first = version.index * place.block_size

        async def read(at: int, into: memoryview, arrived: Arrived) -> None:
            with self._stores.watching(record):
                await store.read_into(place.key, first + at, into, place.tag, arrived)

        async with self._turns:
            try:
                await fetch.run(read)
            except (errors.ObjectChangedError, errors.ObjectMissingError):
                self._places.pop(m.ObjectVersion(version.inode, version.sequence), None)
                raise
        self._stores.traffic(record.number).fetched_bytes += len(fetch.memory)
        self._keep(version, place, record, fetch)

    def _keep(
        self,
        version: m.BlockVersion,
        place: m.ObjectPlace,
        record: m.MountRecord,
        fetch: BlockFetch,
    ) -> None:
        """Cache a block if its mount's policy says so; it is served either way."""
        if record.mode == m.MountMode.PROXY:
            return
        now, mount, total = self._now(), record.number, len(fetch.memory)
        self._keep_within(record)
        self._cache.read(mount, version, now)
        free = int(self._store.limit * CACHE_SHARE) - self._store.used
        if place.pinned_until_ns is not None:
            self._pinned[version.inode] = place.pinned_until_ns
        pinned = self._is_pinned(version)
        victims = self._cache.admit(mount, total, free, now, pinned=pinned)
        if victims is None:
            return
        for victim in victims:
            self._evict(cast("m.BlockVersion", victim))
        crc = fetch.crc(0, total)
        request = m.WriteBlock(*version, total, crc, (), place.block_size, place.group_blocks)
        try:
            self._store.put_copy(request, fetch.memory, fetch.crcs)
        except errors.MemfsError:
            return
        self._cache.add(mount, version, total)
        file = m.ObjectVersion(version.inode, version.sequence)
        self._sizes[file] = self._sizes.get(file, 0) + total
        self._read_at[version] = now, record.ttl_ms / 1000

    # --- room --------------------------------------------------------------------------------

    def quota(self, record: m.MountRecord) -> int | None:
        """This node's part of what a mount's cached blocks may take, bytes; None: all there is.

        The ring spreads blocks evenly, so all nodes have the same.
        """
        if not record.quota:
            return None
        return record.quota // max(1, len(self._membership.view.members))

    def _keep_within(self, record: m.MountRecord) -> None:
        """Have a mount's blocks kept as it is mounted now."""
        mount = record.number
        self._cache.set_mount(mount, cast("Policy", record.policy), self.quota(record))
        for version in self._cache.excess(mount):
            self._evict(cast("m.BlockVersion", version))

    def make_room(self, count: int) -> None:
        """Evict up to ``count`` bytes for blocks of the cluster's own files."""
        for version in self._cache.victims(count, self._now()):
            self._evict(cast("m.BlockVersion", version))

    def _evict(self, version: m.BlockVersion) -> None:
        mount = self._cache.mount_of(version)
        if mount is not None:
            self._stores.traffic(mount).evicted_blocks += 1
        self._store.discard(version)

    def _forget(self, version: m.BlockVersion) -> None:
        """It is gone, for whatever reason: evicted, or no file's any more."""
        self._read_at.pop(version, None)
        size = self._cache.drop(version)
        file = m.ObjectVersion(version.inode, version.sequence)
        left = self._sizes.pop(file, 0) - size
        if left > 0:
            self._sizes[file] = left

    def _is_pinned(self, key: Hashable) -> bool:
        until = self._pinned.get(cast("m.BlockVersion", key).inode)
        return until is not None and (not until or self._wall_ns() < until)

    async def run(self) -> None:
        """Let blocks go that nobody reads any more or a quota has no room for, forever."""
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            if self._cache.size():
                with contextlib.suppress(errors.MemfsError):
                    await self._stores.refresh()
                for record, _ in list(self._stores.open_mounts()):
                    if self._cache.size(record.number):
                        self._keep_within(record)
            now = self._now()
            for version, (read_at, ttl) in list(self._read_at.items()):
                if ttl and now - read_at >= ttl and not self._is_pinned(version):
                    self._evict(version)

    def tell(self, call: IncomingCall[m.TellObjects]) -> m.Empty:
        """What the primary says of files: drop their blocks, or keep them."""
        request = call.request
        inodes = set(request.inodes)
        for place in [each for each in self._places if each.inode in inodes]:
            del self._places[place]
        for inode in inodes:
            if request.pinned_until_ns is None:
                self._pinned.pop(inode, None)
            else:
                self._pinned[inode] = request.pinned_until_ns
        if request.drop:
            for version in [each for each in self._read_at if each.inode in inodes]:
                self._store.discard(version)
        return m.Empty()

    def count(self, call: IncomingCall[m.CountCached]) -> m.CachedReply:
        """How many bytes are in the cache of each file that is asked about."""
        return m.CachedReply(tuple([self._sizes.get(each, 0) for each in call.request.objects]))

    def cached_bytes(self, mount: int | None = None) -> int:
        """Bytes of the blocks in the cache, of one mount or of all."""
        return self._cache.size(mount)


def _length_of(version: m.BlockVersion, place: m.ObjectPlace) -> int:
    """Bytes of a block of an object. Raises InvalidArgumentError: it has no such block."""
    total = min(place.block_size, place.size - version.index * place.block_size)
    if total <= 0:
        raise errors.InvalidArgumentError(f"block {version.index} lies outside the file")
    return total


Read = Callable[[m.BlockVersion, int, int], Coro[tuple[Buffer, int]]]


async def read_ranges(
    read: Read, ranges: Sequence[m.BlockRange]
) -> tuple[list[m.RangeResult], list[Buffer]]:
    """Many ranges at once, as one answer holds them: results and payload."""
    wanted: list[m.BlockRange] = []
    room = limits.BATCH_PAYLOAD_BYTES
    for each in ranges[: limits.BLOCKS_PER_BATCH]:
        if wanted and each.length > room:
            break
        wanted.append(each)
        room -= each.length
    outcomes = await concurrency.outcomes(
        [read(each.version, each.offset, each.length) for each in wanted],
        FETCHES_AT_ONCE,
        errors.MemfsError,
    )
    results: list[m.RangeResult] = []
    payload: list[Buffer] = []
    for outcome in outcomes:
        if isinstance(outcome, errors.MemfsError):
            results.append(m.RangeResult(outcome.code, 0, 0))
        else:
            data, crc = outcome
            results.append(m.RangeResult(0, len(data), crc))
            payload.append(data)
    return results, payload
