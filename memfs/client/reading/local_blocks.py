"""Blocks of nodes on the same host, read from the node's own memory.

Owns the descriptors that nodes have lent, and what is read or mapped through them. Must not know
readers or positions in files beyond block numbers. A copying read is one ``preadv`` from the
node's memory (as fast as a read from tmpfs, and it lets other threads run); a view is a mapping,
without any copy. A copying read checks a version against its CRC when this client first touches
it, where it arrives and without a mapping, then no more: nothing lies between this process and the
node's memory. A view is not checked: it
costs microseconds, at any size, because nobody looks at the bytes.

Invariant: what a descriptor shows of a version never changes and outlives the version, because the
node seals the memory before it lends it; so a view stays valid after the file is gone. The memory
stays in use as long, which is why descriptors that nobody uses are given back within seconds.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
from collections.abc import Sequence
from typing import NamedTuple

from memfs import limits
from memfs.checksum import crc32c
from memfs.client.reading import layout
from memfs.client.reading.block_map import BlockMap
from memfs.client.reading.small_segments import SmallSegments
from memfs.client.session.session import Session
from memfs.cluster import view as rules
from memfs.errors import CapabilityError, MemfsError
from memfs.machine import descriptor_limit
from memfs.protocol.messages import BlockVersion, DescriptorsReply, Segment
from memfs.transport.descriptors import DESCRIPTORS_PER_REPLY, DescriptorClient
from memfs.types import BlockRef, View

log = logging.getLogger(__name__)

FETCH_SECONDS = 2.0
"""For microseconds of work: a node that takes longer is read through its connection."""
RETRY_SECONDS = 10.0
"""How long a node whose socket does not work is not asked again."""
IDLE_SECONDS = 5.0
"""A descriptor not used for this long, at most twice as long, is given back."""
DESCRIPTORS = 96
"""Taken per generation, of which two are kept; with their mappings 400 of the usual 1024."""
DESCRIPTORS_MAX = 4096
"""The same where a process may have many more: a file that was changed block by block has one for
each, and a mount or a gateway reads many files."""
CHECKED_BYTES = 128 * limits.KIB
"""Of a block at a time: half of a second-level cache."""
PLACES = 16_384
"""Block versions remembered per generation."""


class Descriptor:
    """One borrowed descriptor, closed when nothing refers to it any more."""

    __slots__ = ("_mapping", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._mapping: memoryview | None = None

    def __del__(self) -> None:
        os.close(self.number)

    def read_into(self, offset: int, into: memoryview) -> None:
        """Copy ``len(into)`` bytes from ``offset``."""
        done = 0
        while done < len(into):
            got = os.preadv(self.number, [into[done:]], offset + done)
            assert got, "a lent segment is longer than what it tells"
            done += got

    def crc(self, offset: int, length: int, into: memoryview | None) -> int:
        """CRC32C of a range, which is copied into ``into`` on the way, unless that is None.

        In pieces that are still in the processor's cache when they are looked at, and not through
        a mapping, which would cost a fault for every few pages.
        """
        scratch = memoryview(bytearray(min(length, CHECKED_BYTES))) if into is None else into
        crc = 0
        for at in range(0, length, CHECKED_BYTES):
            count = min(CHECKED_BYTES, length - at)
            piece = scratch[:count] if into is None else scratch[at : at + count]
            self.read_into(offset + at, piece)
            crc = crc32c(piece, crc)
        return crc

    def map(self, offset: int, length: int) -> memoryview:
        """A read-only view of a range, valid as long as somebody holds it."""
        if self._mapping is None:
            self._mapping = memoryview(mmap.mmap(self.number, 0, prot=mmap.PROT_READ))
        return self._mapping[offset : offset + length]


class MemoryPlace(NamedTuple):
    """Where a block version lies."""

    descriptor: Descriptor
    offset: int
    checked: bool = False
    """Its bytes matched the CRC once."""


class MemoryPlaces:
    """Where versions lie (None: not in memory that can be lent), for as long as they are used.

    Two generations: what is used moves into the young one, and the old one is forgotten when the
    young one is full or has had its time. Each step is one operation on a dictionary, so that
    any thread may look up while the event loop enters.
    """

    def __init__(self) -> None:
        self._young: dict[BlockVersion, MemoryPlace | None] = {}
        self._old: dict[BlockVersion, MemoryPlace | None] = {}
        self._descriptors = 0

    def __contains__(self, version: BlockVersion) -> bool:
        return version in self._young or version in self._old

    def __bool__(self) -> bool:
        return bool(self._young or self._old)

    def get(self, version: BlockVersion) -> MemoryPlace | None:
        """The place of ``version`` if it is known to have one."""
        found = self._young.get(version)
        if found is None:
            found = self._old.get(version)
            if found is not None:
                self._young[version] = found
        return found

    def enter(
        self, versions: Sequence[BlockVersion], reply: DescriptorsReply, numbers: list[int]
    ) -> None:
        """Take over what a node answered, and the descriptors."""
        descriptors = [Descriptor(number) for number in numbers]
        self._descriptors += len(descriptors)
        if self._descriptors > _descriptors_kept() or len(self._young) > PLACES:
            self.age()
        for version, segment in zip(versions, reply.segments, strict=True):
            self._young[version] = (
                MemoryPlace(descriptors[segment.descriptor], segment.offset)
                if segment.descriptor >= 0
                else None
            )

    def mark_checked(self, version: BlockVersion, place: MemoryPlace | None) -> None:
        """Note that a version was checked, or that its copy is corrupt and must be read over the
        network."""
        self._young[version] = place

    def forget_absent(self, version: BlockVersion) -> None:
        """Ask again where ``version`` lies, if it was in no memory that can be lent."""
        for places in (self._young, self._old):
            if places.get(version, self) is None:
                del places[version]

    def age(self) -> None:
        """Forget the old generation; the young one is old now."""
        self._old, self._young = self._young, {}
        self._descriptors = 0


def _descriptors_kept() -> int:
    """Per generation."""
    return max(DESCRIPTORS, min(DESCRIPTORS_MAX, descriptor_limit() // 16))


class LocalNodes:
    """The nodes on this host: their descriptor sockets and what they have lent to this session."""

    def __init__(self, session: Session) -> None:
        self.places = MemoryPlaces()
        self._small = SmallSegments()
        self._session = session
        self._clients: dict[tuple[int, int], DescriptorClient] = {}
        """By member and incarnation."""
        self._broken: dict[int, float] = {}
        self._aging: asyncio.TimerHandle | None = None
        session.routing.followers.append(self._drop_former)

    @property
    def enabled(self) -> bool:
        """Whether this client looks for nodes on its host at all."""
        return bool(self._session.known.machine) and self._session.config.local_descriptors

    def holder(self, ref: BlockRef) -> int:
        """A member on this host that holds ``ref`` and can be asked, 0: none."""
        if self.enabled:
            for number in ref.replicas:
                if self._session.known.is_local(number) and self._usable(number):
                    return number
        return 0

    def lends(self, number: int) -> bool:
        """Whether segments of member ``number`` can be mapped, as far as is known."""
        return self.enabled and self._session.known.is_local(number) and self._usable(number)

    def mapped(self, lender: int, places: Sequence[int]) -> tuple[dict[int, memoryview], list[int]]:
        """As :meth:`segments`, of those that are mapped already; and the numbers of the others."""
        return self._small.find(lender, places)

    async def segments(self, lender: int, places: Sequence[int]) -> dict[int, memoryview]:
        """The segments of small blocks that places are in, by number, mapped.

        ``lender``: incarnation of the node that told the places. What it does not lend is missing.
        """
        _, unknown = self._small.find(lender, places)
        members = self._session.known.members.values()
        member = next((each.number for each in members if each.incarnation == lender), 0)
        while unknown and self.lends(member):
            part, unknown = unknown[:DESCRIPTORS_PER_REPLY], unknown[DESCRIPTORS_PER_REPLY:]
            self.keep_young()
            try:
                client = self._client(member)
                reply, numbers = await client.fetch_async((), FETCH_SECONDS, small=part)
                self._small.enter(lender, part, reply.lent, numbers)
            except (MemfsError, OSError) as error:
                self._failed(member, error)
        return self._small.find(lender, places)[0]

    def _usable(self, number: int) -> bool:
        if not self._session.known.members[number].socket:
            return False
        until = self._broken.get(number)
        return until is None or self._session.environment.clock.monotonic() >= until

    def fetch(self, member: int, versions: Sequence[BlockVersion]) -> None:
        """Ask a member where ``versions`` lie, blocking for the microseconds that it takes."""
        shown = self._session.capabilities.for_reading(versions)
        try:
            self._enter(versions, *self._client(member).fetch(versions, FETCH_SECONDS, shown))
        except CapabilityError as error:  # whoever reads them otherwise asks for another one
            log.debug("no descriptors of member %d: %s", member, error)
        except MemfsError as error:
            self._failed(member, error)

    async def fetch_async(self, member: int, versions: Sequence[BlockVersion]) -> None:
        """As :meth:`fetch`, without blocking."""
        client = self._client(member)
        for_reading = self._session.capabilities.for_reading
        try:
            try:
                found = await client.fetch_async(versions, FETCH_SECONDS, for_reading(versions))
            except CapabilityError:
                if not await self._renewed(versions):
                    return
                found = await client.fetch_async(versions, FETCH_SECONDS, for_reading(versions))
        except CapabilityError as error:
            log.debug("no descriptors of member %d: %s", member, error)
        except MemfsError as error:
            self._failed(member, error)
        else:
            self._enter(versions, *found)

    async def _renewed(self, versions: Sequence[BlockVersion]) -> bool:
        """Ask the primary for other capabilities; whoever reads otherwise hears of a failure."""
        session = self._session
        try:
            inodes = [version.inode for version in versions]
            await session.capabilities.renew_reading(inodes, session.deadline(FETCH_SECONDS))
        except MemfsError as error:
            log.debug("no capability: %s", error)
            return False
        return True

    def _enter(
        self, versions: Sequence[BlockVersion], reply: DescriptorsReply, numbers: list[int]
    ) -> None:
        """Take descriptors only from the lower half of those that the process may have.

        The kernel gives out the lowest: the upper half is left to the rest of the program, however
        many sessions it has. What is not taken is read through the connection.
        """
        if numbers and max(numbers) >= descriptor_limit() // 2:
            for number in numbers:
                os.close(number)
            nowhere = tuple(Segment(-1, 0, 0) for _ in versions)
            reply, numbers = DescriptorsReply(nowhere), []
        self.places.enter(versions, reply, numbers)

    def _client(self, number: int) -> DescriptorClient:
        member = self._session.known.members[number]
        life = number, member.incarnation
        found = self._clients.get(life)
        if found is None:
            found = self._clients[life] = DescriptorClient(
                member.socket + ".fd", self._session.client, self._session.identity.user
            )
        return found

    def _drop_former(self, former: View, view: View) -> None:
        """Disconnect from nodes that the newest view does not name."""
        lives = {(member.number, member.incarnation) for member in view.members}
        for life in self._clients.keys() - lives:
            self._clients.pop(life).close()
        self._broken = {n: until for n, until in self._broken.items() if rules.member(view, n)}

    def _failed(self, number: int, error: OSError) -> None:
        """Skip a member for a while: the socket is another container's, or the node is gone."""
        log.debug("no descriptors of member %d: %s", number, error)
        now = self._session.environment.clock.monotonic()
        self._broken[number] = now + RETRY_SECONDS

    def keep_young(self) -> None:
        """Have unused descriptors given back from now on; called in the event loop."""
        if self._aging is None:
            loop = asyncio.get_running_loop()
            self._aging = loop.call_later(IDLE_SECONDS, self._age)

    def _age(self) -> None:
        self._aging = None
        self.places.age()
        self._small.age()
        if self.places or self._small:
            self.keep_young()

    def close(self) -> None:
        """Disconnect and give back."""
        if self._aging is not None:
            self._aging.cancel()
        for _ in range(2):
            self.places.age()
            self._small.age()
        for client in self._clients.values():
            client.close()
        self._clients.clear()


class LocalFile:
    """One open file's blocks on this host. Lookups may come from any thread."""

    def __init__(self, nodes: LocalNodes, file: BlockMap) -> None:
        self._nodes = nodes
        self._places = nodes.places
        self._file = file

    async def find(self, block: int, ref: BlockRef) -> MemoryPlace | None:
        """Where ``ref``, block number ``block``, lies on this host; None when it does not."""
        version = ref.version
        place = self._places.get(version)
        if place is None and (member := self._whom_to_ask(ref, version)):
            self._nodes.keep_young()
            await self._nodes.fetch_async(member, self._wanted(block, version, member))
            place = self._places.get(version)
        return place

    def fetched(self, ref: BlockRef) -> None:
        """A node was asked for ``ref``: if it had to fetch that from a store, it has it now."""
        if not ref.generation:
            self._places.forget_absent(ref.version)

    def find_now(self, block: int, ref: BlockRef) -> MemoryPlace | None:
        """As :meth:`find`, blocking for the microseconds that it takes."""
        version = ref.version
        place = self._places.get(version)
        if place is None and (member := self._whom_to_ask(ref, version)):
            self._nodes.fetch(member, self._wanted(block, version, member))
            place = self._places.get(version)
        return place

    def _whom_to_ask(self, ref: BlockRef, version: BlockVersion) -> int:
        """A node that may lend ``ref``, 0: none, or it refused before."""
        if self._file.size < limits.SEGMENT_BYTES_MIN or version in self._places:
            return 0
        return self._nodes.holder(ref)

    def copy_known(self, offset: int, into: memoryview) -> bool:
        """Fill ``into`` from byte ``offset`` if all of it is known to lie on this host.

        Waits for nothing and may be called from any thread.
        """
        if not self._places:
            return False
        found: list[tuple[layout.BlockSpan, BlockRef, MemoryPlace]] = []
        for piece in layout.split(offset, len(into), self._file.attributes.block_size):
            ref = self._file.known(piece.block)
            place = self._places.get(ref.version) if ref is not None else None
            if ref is None or place is None:
                return False
            found.append((piece, ref, place))
        return all(
            self.copy(ref, place, piece.start, into[piece.at : piece.at + piece.length])
            for piece, ref, place in found
        )

    def views_known(self, offset: int, length: int) -> tuple[memoryview, ...] | None:
        """The bytes from ``offset`` on where they lie, one view for each block.

        None unless all of them are known to lie on this host and were compared with their CRC.
        Waits for nothing and may be called from any thread.
        """
        if not self._places:
            return None
        found: list[memoryview] = []
        for piece in layout.split(offset, length, self._file.attributes.block_size):
            ref = self._file.known(piece.block)
            place = self._places.get(ref.version) if ref is not None else None
            if ref is None or place is None or not (place.checked or not ref.generation):
                return None
            if piece.start + piece.length > ref.length:
                return None  # zeros belong after it that are not in memory
            view = place.descriptor.map(place.offset + piece.start, piece.length)
            if len(view) != piece.length:
                return None
            found.append(view)
        return tuple(found)

    def copy(self, ref: BlockRef, place: MemoryPlace, start: int, into: memoryview) -> bool:
        """Fill ``into`` from byte ``start`` of a block, zeros past its length.

        What this client touches for the first time is compared with its CRC: all of a block where
        it arrives, a part after a look at the rest. False: the copy is corrupt, what is in ``into``
        is nothing, and the place is not used again. The reader then asks the node for it, finds it
        corrupt there too, and reports it.
        """
        length = max(0, min(len(into), ref.length - start))
        here, there = into[:length], place.descriptor
        if place.checked or not ref.generation:  # a store's: its CRC is its node's alone
            there.read_into(place.offset + start, here)
        else:
            whole = length == ref.length
            crc = there.crc(place.offset, ref.length, here if whole else None)
            good = crc == ref.crc
            self._places.mark_checked(ref.version, place._replace(checked=True) if good else None)
            if not good:
                return False
            if not whole:
                there.read_into(place.offset + start, here)
        if length < len(into):
            into[length:] = bytes(len(into) - length)
        return True

    async def view(self) -> memoryview | None:
        """The whole file as one mapping; None when its blocks do not lie one after the other."""
        first = self._first()
        if first is None or await self.find(0, first) is None:
            return None
        return self._map()

    def view_now(self) -> memoryview | None:
        """As :meth:`view`, blocking for the microseconds that it takes."""
        first = self._first()
        if first is None or self.find_now(0, first) is None:
            return None
        return self._map()

    def _first(self) -> BlockRef | None:
        """The first block of a file that is no larger than a group: only those lie together."""
        attributes = self._file.attributes
        if 0 < self._file.size <= attributes.block_size * attributes.group_blocks:
            return self._file.known(0)
        return None

    def _map(self) -> memoryview | None:
        """One mapping of all blocks, whose places were fetched together."""
        size, block_size = self._file.size, self._file.attributes.block_size
        known, places = self._file.known, self._places.get
        descriptor, start = None, 0
        for number in range(layout.block_count(size, block_size)):
            ref = known(number)
            place = places(ref.version) if ref is not None else None
            if ref is None or place is None:
                return None
            if ref.length != block_size and number * block_size + ref.length != size:
                return None  # zeros belong after it that are not in memory
            if descriptor is None:
                descriptor, start = place.descriptor, place.offset
            elif place[:2] != (descriptor, start + number * block_size):
                return None
        return descriptor.map(start, size) if descriptor is not None else None

    def _wanted(self, block: int, version: BlockVersion, member: int) -> list[BlockVersion]:
        """The block and what is known of its group: one request for all."""
        group = max(1, self._file.attributes.group_blocks)
        first = block - block % group
        versions = [version]
        for number in range(first, first + min(group, DESCRIPTORS_PER_REPLY)):
            other = self._file.known(number)
            if other is not None and number != block and member in other.replicas:
                versions.append(other.version)
        return versions[:DESCRIPTORS_PER_REPLY]
