"""Blocks of nodes on the same host, read from the node's own memory.

Owns the descriptors that one open file has been given, and what is read or mapped through them.
Must not know readers or positions in files beyond block numbers. A copying read is one ``preadv``
from the node's memory (as fast as a read from tmpfs, and it lets other threads run); a view is
a mapping, without any copy. Neither is checked against the block's CRC: nothing lies between this
process and the memory that the node itself verifies, and checking would cost as much as copying.

Invariant: what a descriptor shows of a version never changes and outlives the version, because the
node seals the memory before it lends it; so a view stays valid after the file is gone. The memory
stays in use as long, which is why descriptors belong to an open file and end with it.
"""

from __future__ import annotations

import logging
import mmap
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from memfs.client import layout
from memfs.client.blockmap import BlockMap
from memfs.client.session import Session
from memfs.errors import MemfsError
from memfs.protocol.messages import BlockVersion, DescriptorsReply
from memfs.transport.descriptors import DESCRIPTORS_PER_REPLY, DescriptorClient
from memfs.types import BlockRef

log = logging.getLogger(__name__)

FETCH_SECONDS = 2.0
"""For microseconds of work: a node that takes longer is read through its connection."""
RETRY_SECONDS = 10.0
"""How long a node whose socket does not work is left alone."""
BLOCKS_PER_FILE = 4096
"""Places that one open file remembers, the longest unused are forgotten: 16 GiB of 4 MiB blocks."""


class Descriptor:
    """One borrowed descriptor, closed when nothing refers to it any more."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)

    def read_into(self, offset: int, into: memoryview) -> None:
        """Copy ``len(into)`` bytes from ``offset``."""
        done = 0
        while done < len(into):
            got = os.preadv(self.number, [into[done:]], offset + done)
            assert got, "a lent segment is longer than what it tells"
            done += got

    def map(self, offset: int, length: int) -> memoryview:
        """A read-only view of a range, valid as long as somebody holds it."""
        start = offset - offset % mmap.ALLOCATIONGRANULARITY
        mapping = mmap.mmap(
            self.number,
            offset - start + length,
            flags=mmap.MAP_SHARED,
            prot=mmap.PROT_READ,
            offset=start,
        )
        return memoryview(mapping)[offset - start :]


class Place(NamedTuple):
    """Where a block version lies."""

    descriptor: Descriptor
    offset: int


class LocalNodes:
    """The descriptor sockets of the nodes on this host; one for a session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._clients: dict[int, DescriptorClient] = {}
        self._broken: dict[int, float] = {}

    @property
    def enabled(self) -> bool:
        """Whether this client looks for nodes on its host at all."""
        return bool(self._session.machine) and self._session.config.local_descriptors

    def holder(self, ref: BlockRef) -> int:
        """A member on this host that holds ``ref`` and can be asked, 0: none."""
        for number in ref.replicas:
            if self._session.is_local(number) and self._usable(number):
                return number
        return 0

    def _usable(self, number: int) -> bool:
        if not self._session.members[number].socket:
            return False
        until = self._broken.get(number)
        return until is None or self._session.environment.clock.monotonic() >= until

    def client(self, number: int) -> DescriptorClient:
        """The connection to a member's descriptor socket."""
        found = self._clients.get(number)
        if found is None:
            path = self._session.members[number].socket + ".fd"
            found = self._clients[number] = DescriptorClient(path)
        return found

    def failed(self, number: int, error: MemfsError) -> None:
        """Leave a member alone for a while: another container's socket, or a node that is gone."""
        log.debug("no descriptors of member %d: %s", number, error)
        now = self._session.environment.clock.monotonic()
        self._broken[number] = now + RETRY_SECONDS

    def close(self) -> None:
        """Disconnect."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()


class LocalFile:
    """What one open file knows of its blocks on this host.

    Lookups may come from any thread; fetches of one file from one at a time are enough.
    """

    def __init__(self, nodes: LocalNodes, file: BlockMap) -> None:
        self._nodes = nodes
        self._file = file
        self._places: OrderedDict[BlockVersion, Place | None] = OrderedDict()

    def known(self, ref: BlockRef) -> Place | None:
        """Where ``ref`` lies, if that was fetched before."""
        return self._places.get(BlockVersion(*ref[:4]))

    async def find(self, block: int, ref: BlockRef) -> Place | None:
        """Where ``ref``, block number ``block``, lies on this host; None when it does not."""
        version = BlockVersion(*ref[:4])
        if version not in self._places:
            member, versions = self._wanted(block, ref)
            if member:
                try:
                    client = self._nodes.client(member)
                    self._enter(versions, *await client.fetch_async(versions, FETCH_SECONDS))
                except MemfsError as error:
                    self._nodes.failed(member, error)
        return self._places.get(version)

    def find_now(self, block: int, ref: BlockRef) -> Place | None:
        """As :meth:`find`, blocking for the microseconds that it takes."""
        version = BlockVersion(*ref[:4])
        if version not in self._places:
            member, versions = self._wanted(block, ref)
            if member:
                try:
                    client = self._nodes.client(member)
                    self._enter(versions, *client.fetch(versions, FETCH_SECONDS))
                except MemfsError as error:
                    self._nodes.failed(member, error)
        return self._places.get(version)

    def copy_known(self, offset: int, into: memoryview) -> bool:
        """Fill ``into`` from byte ``offset`` if all of it is known to lie on this host.

        Waits for nothing and may be called from any thread.
        """
        if not self._places:
            return False
        found: list[tuple[layout.Piece, BlockRef, Place]] = []
        for piece in layout.split(offset, len(into), self._file.attributes.block_size):
            ref = self._file.known(piece.block)
            place = self._places.get(BlockVersion(*ref[:4])) if ref is not None else None
            if ref is None or place is None:
                return False
            found.append((piece, ref, place))
        for piece, ref, place in found:
            copy(ref, place, piece.start, into[piece.at : piece.at + piece.length])
        return True

    async def find_all(self) -> None:
        """Find every block of a file that can lie together."""
        for block, ref in self._refs():
            if await self.find(block, ref) is None:
                return

    def find_all_now(self) -> None:
        """As :meth:`find_all`, blocking."""
        for block, ref in self._refs():
            if self.find_now(block, ref) is None:
                return

    def map_known(self) -> memoryview | None:
        """The whole file as one mapping; None when its blocks do not lie one after the other."""
        file = self._file
        block_size = file.attributes.block_size
        first: Place | None = None
        number = 0
        for number, ref in self._refs():
            place = self.known(ref)
            if place is None or ref.length != layout.stored_length(number, file.size, block_size):
                return None
            if first is None:
                first = place
            elif place != (first.descriptor, first.offset + number * block_size):
                return None
        if first is None or number + 1 != layout.block_count(file.size, block_size):
            return None
        return first.descriptor.map(first.offset, file.size)

    def _refs(self) -> Iterator[tuple[int, BlockRef]]:
        """Blocks of a file that is no larger than a group: only those can lie together."""
        attributes = self._file.attributes
        if layout.block_count(self._file.size, attributes.block_size) > attributes.group_blocks:
            return
        for block in range(layout.block_count(self._file.size, attributes.block_size)):
            ref = self._file.known(block)
            if ref is None:
                return
            yield block, ref

    def _wanted(self, block: int, ref: BlockRef) -> tuple[int, list[BlockVersion]]:
        """Whom to ask, and for what: the block and what is known of its group."""
        member = self._nodes.holder(ref) if self._nodes.enabled else 0
        if not member:
            return 0, []
        group = max(1, self._file.attributes.group_blocks)
        first = block - block % group
        versions = [BlockVersion(*ref[:4])]
        for number in range(first, first + min(group, DESCRIPTORS_PER_REPLY)):
            other = self._file.known(number)
            if other is not None and number != block and member in other.replicas:
                versions.append(BlockVersion(*other[:4]))
        return member, versions[:DESCRIPTORS_PER_REPLY]

    def _enter(
        self, versions: Sequence[BlockVersion], reply: DescriptorsReply, numbers: list[int]
    ) -> None:
        descriptors = [Descriptor(number) for number in numbers]
        for version, segment in zip(versions, reply.segments, strict=False):
            lent = 0 <= segment.descriptor < len(descriptors)
            self._places[version] = (
                Place(descriptors[segment.descriptor], segment.offset) if lent else None
            )
        while len(self._places) > BLOCKS_PER_FILE:
            self._places.popitem(last=False)

    def close(self) -> None:
        """Let go of the descriptors; views that were given out stay valid."""
        self._places.clear()


def copy(ref: BlockRef, place: Place, start: int, into: memoryview) -> None:
    """Fill ``into`` from byte ``start`` of a block, zeros past its length."""
    length = max(0, min(len(into), ref.length - start))
    if length:
        place.descriptor.read_into(place.offset + start, into[:length])
    if length < len(into):
        into[length:] = bytes(len(into) - length)
