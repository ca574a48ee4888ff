"""Blocks of nodes on the same host, read from the node's own memory.

Owns the descriptors that nodes have lent, and what is read or mapped through them. Must not know
readers or positions in files beyond block numbers. A copying read is ``preadv`` from the node's
memory (as fast as a read from tmpfs, and it lets other threads run); a view is a mapping, without
any copy. A copying read checks a version against its CRC when this client first touches it, where
it arrives and without a mapping, then no more: nothing lies between this process and the node's
memory. A second thread takes a part of what is long. A view is not checked: it costs microseconds,
at any size, because nobody looks at the bytes.

Invariant: what a descriptor shows of a version never changes and outlives the version, because the
node seals the memory before it lends it; so a view stays valid after the file is gone. The memory
stays in use as long, which is why descriptors that nobody uses are given back within seconds.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence

from memfs import limits
from memfs.client.reading import layout
from memfs.client.reading.block_map import BlockMap
from memfs.client.reading.lent_memory import (
    BlockCopy,
    MemoryPlace,
    MemoryPlaces,
    copy_blocks,
)
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
ASKED_BLOCKS = 128
"""Most blocks that a sequential reader asks for at once: half a gigabyte."""
PLAIN_BYTES = 512 * limits.KIB
"""A copy of this size is not worth a second thread."""


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
        self._asking = asyncio.Lock()
        self._asked_to = 0
        self._asked_blocks = 0

    async def find(self, block: int, ref: BlockRef) -> MemoryPlace | None:
        """Where ``ref``, block number ``block``, lies on this host; None when it does not."""
        version = ref.version
        place = self._places.get(version)
        if place is None and self._whom_to_ask(ref, version):
            async with self._asking:  # one request answers all who wait here for blocks of a group
                if member := self._whom_to_ask(ref, version):
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
        block_size = self._file.attributes.block_size
        block, start = divmod(offset, block_size)
        if start + len(into) <= block_size:
            ref = self._file.known(block)
            place = self._places.get(ref.version) if ref is not None else None
            return ref is not None and place is not None and self.copy(ref, place, start, into)
        wanted: list[BlockCopy] = []
        for piece in layout.split(offset, len(into), block_size):
            ref = self._file.known(piece.block)
            place = self._places.get(ref.version) if ref is not None else None
            if ref is None or place is None:
                return False
            part = into[piece.at : piece.at + piece.length]
            wanted.append(BlockCopy(ref, place, piece.start, piece.length, part))
        return self._copy(wanted)

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

        What this client touches for the first time is compared with its CRC where it arrives: all
        of a block, or of a part the chunks, if their CRCs make up that of the block. False: the
        copy is corrupt, what is in ``into`` is nothing, and the place is not used again. The reader
        then asks the node for it, finds it corrupt there too, and reports it.
        """
        length = len(into)
        if start + length <= ref.length:
            if place.checked and length <= PLAIN_BYTES:
                place.descriptor.read_into(place.offset + start, into)
                return True
            if length < ref.length and _comparable(ref, place):
                return self._copy_part(ref, place, start, into)
        return self._copy([BlockCopy(ref, place, start, length, into)])

    def copy_out(self, wanted: Sequence[BlockCopy]) -> int:
        """Make copies, and compare what is unchecked; how many, from the first on, are good."""
        good = 0
        for copy, agreed in zip(wanted, copy_blocks(wanted), strict=True):
            if copy.unchecked:
                place = copy.place._replace(checked=True) if agreed else None
                self._places.mark_checked(copy.ref.version, place)
            if not agreed:
                break
            good += 1
        return good

    def _copy(self, wanted: Sequence[BlockCopy]) -> bool:
        """As :meth:`copy`, of parts of several blocks, which may lie past their ends."""
        copies: list[BlockCopy] = []
        for copy in wanted:
            ref, into = copy.ref, copy.into
            assert into is not None, "into memory"
            length = max(0, min(copy.length, ref.length - copy.start))
            if length < copy.length:
                into[length:] = bytes(copy.length - length)
            place = copy.place
            if copy.unchecked and length < ref.length:
                if _comparable(ref, place):
                    if not self._copy_part(ref, place, copy.start, into[:length]):
                        return False
                    continue
                if not self.copy_out([BlockCopy(ref, place, 0, ref.length)]):
                    return False
                place = place._replace(checked=True)
            copies.append(copy._replace(place=place, length=length, into=into[:length]))
        return self.copy_out(copies) == len(copies)

    def _copy_part(self, ref: BlockRef, place: MemoryPlace, start: int, into: memoryview) -> bool:
        """As :meth:`copy`, comparing no more of the block than the chunks that are touched."""
        sums = place.sums
        assert sums is not None, "they were told"
        if not sums.copy(place.descriptor.read_into, place.offset, start, into):
            self._places.mark_checked(ref.version, None)
            return False
        if sums.complete:
            self._places.mark_checked(ref.version, place._replace(checked=True))
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
        """The block and what is known of its group: one request for all.

        Who goes on where the last request ended is a sequential reader, and asks for twice as much.
        """
        group = max(1, self._file.attributes.group_blocks)
        first = block - block % group
        going_on = first == self._asked_to > 0
        count = 2 * self._asked_blocks if going_on else group
        self._asked_blocks = min(max(group, ASKED_BLOCKS - ASKED_BLOCKS % group), count)
        self._asked_to = first + self._asked_blocks
        versions = [version]
        for number in range(first, self._asked_to):
            other = self._file.known(number)
            if other is not None and number != block and member in other.replicas:
                versions.append(other.version)
        return versions[:DESCRIPTORS_PER_REPLY]


def _comparable(ref: BlockRef, place: MemoryPlace) -> bool:
    """Whether parts of a block are to be compared, and can be."""
    sums = place.sums
    return not place.checked and bool(ref.generation) and sums is not None and sums.make_up(ref.crc)
