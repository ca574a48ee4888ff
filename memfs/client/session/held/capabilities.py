"""The capabilities that a session was given, shown with every request for blocks.

Owns which one goes with which request, and how a new one is obtained when a node wants it: for
reading by asking for the file's map again, for writing by
:class:`~memfs.protocol.messages.Authorize`. Nobody else in the client knows of capabilities. A
forgotten capability costs one request.

Look-ups may come from any thread: each is one operation on a dictionary.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeVar, cast

from memfs.client.session.held.opens import SessionOpens
from memfs.client.session.primary_requests import PrimaryRequests
from memfs.errors import UnsupportedError
from memfs.protocol import messages as m
from memfs.security.capabilities import READ, WRITE, gives
from memfs.types import Attributes, BlockRef

log = logging.getLogger(__name__)
Q = TypeVar("Q")
T = TypeVar("T")

KEPT: Final = 65_536
"""Inodes of each kind: some 15 MiB at most. The oldest go first."""
SHOWN: Final = 12
"""Capabilities of one request: with most grants each, 48 KiB of its record."""


class _Origin(NamedTuple):
    """The file that has a block which bears another inode, after a concat."""

    file: int
    position: int


class KnownCapabilities:
    """Those of one session."""

    def __init__(self, primary: PrimaryRequests, opens: SessionOpens) -> None:
        self._primary = primary
        self._opens = opens
        self._read: dict[int, bytes] = {}
        self._write: dict[int, bytes] = {}
        self._origins: dict[int, _Origin] = {}

    # --- what the primary gave out ----------------------------------------------------------

    def note(self, request: object, record: object) -> None:
        """Keep what came with a reply of the primary."""
        if isinstance(record, m.BlocksReply):
            self._file(record.capability, record.attributes, record.blocks, record.first)
        elif isinstance(record, m.FileReply):
            self._file(record.capability, record.attributes, record.blocks)
        elif isinstance(record, m.ReadFilesReply):
            for file in record.files if record.capability else ():
                if file.length < 0:
                    self._file(record.capability, file.attributes, file.blocks)
        elif isinstance(record, m.ReadManyReply):
            for file in record.others if record.capability else ():
                self._file(record.capability, file.attributes, file.blocks)
        elif isinstance(record, m.LeaseReply):
            inode = record.attributes.inode
            if gives(record.capability, READ):
                _keep(self._read, inode, record.capability)
            if gives(record.capability, WRITE):
                _keep(self._write, inode, record.capability)
            last = record.last
            if last is not None and last.inode != inode:
                end = max(0, record.attributes.size - 1) // record.attributes.block_size
                _keep(self._origins, last.inode, _Origin(inode, end))
        elif isinstance(record, m.ReserveReply):
            for inode in record.inodes if record.capability else ():
                _keep(self._write, inode, record.capability)
        elif isinstance(record, m.AuthorizeReply) and isinstance(request, m.Authorize):
            for inode in request.inodes if record.capability else ():
                _keep(self._write, inode, record.capability)

    def _file(
        self,
        capability: bytes,
        attributes: Attributes | None,
        blocks: Sequence[BlockRef],
        first: int = 0,
    ) -> None:
        if not capability:
            return
        own = attributes.inode if attributes is not None else 0
        if own:
            _keep(self._read, own, capability)
        if {ref.inode for ref in blocks} <= {own}:
            return
        for position, ref in enumerate(blocks, first):
            if ref.inode != own:
                _keep(self._read, ref.inode, capability)
                if own:
                    _keep(self._origins, ref.inode, _Origin(own, position))

    # --- what nodes are shown ---------------------------------------------------------------

    def shown(self, request: Q) -> Q:
        """The request with the capabilities that it needs, as far as there are any."""
        return cast(Q, self._shown(request))

    def _shown(self, request: object) -> object:
        if isinstance(request, m.ReadBlock):
            capability = self._read.get(request.inode)
            return request._replace(capability=capability) if capability else request
        if isinstance(request, m.WriteBlock):
            capability = self._write.get(request.inode)
            return request._replace(capability=capability) if capability else request
        if isinstance(request, m.ReadBlocks):
            return request._replace(capabilities=self.for_reading(request.ranges))
        if isinstance(request, m.WriteBlocks):
            inodes = [block.inode for block in request.blocks]
            return request._replace(capabilities=_of(self._write, inodes))
        if isinstance(request, m.CopyRange):
            return request._replace(
                capability=self._read.get(request.source.inode, b""),
                target=self.shown(request.target),
            )
        return request

    def for_reading(self, blocks: Iterable[m.BlockRange | m.BlockVersion]) -> tuple[bytes, ...]:
        """Capabilities for many blocks, each once."""
        return _of(self._read, [block.inode for block in blocks])

    # --- another one ------------------------------------------------------------------------

    async def renew(self, request: object, deadline: float) -> None:
        """Get capabilities for a request that a node refused for the lack of one.

        Raises what the primary answers: StaleHandleError, AccessDeniedError, LeaseLostError, ...
        """
        if isinstance(request, m.ReadBlocks):
            await self.renew_reading([each.inode for each in request.ranges], deadline)
        elif isinstance(request, m.ReadBlock):
            await self.renew_reading([request.inode], deadline)
        elif isinstance(request, m.CopyRange):
            await self.renew_reading([request.source.inode], deadline)
            await self._renew_writing((request.target.inode,), deadline)
        elif isinstance(request, m.WriteBlock):
            await self._renew_writing((request.inode,), deadline)
        elif isinstance(request, m.WriteBlocks):
            await self._renew_writing(tuple([each.inode for each in request.blocks]), deadline)

    async def _renew_writing(self, inodes: tuple[int, ...], deadline: float) -> None:
        try:
            await self._primary.ask(m.Authorize(inodes), None, deadline)
        except UnsupportedError:  # of an older release: the node will hear that from it, too
            log.debug("the primary knows no capabilities")

    async def renew_reading(self, inodes: Sequence[int], deadline: float) -> None:
        """Ask for the maps of what the first inode's capability was for, as far as it is named."""
        former = self._read.get(inodes[0])
        for inode in dict.fromkeys(inodes):
            if inode == inodes[0] or self._read.get(inode) in (None, former):
                await self._ask_for(inode, deadline)

    async def _ask_for(self, inode: int, deadline: float) -> None:
        file, position = self._origins.get(inode, (inode, 0))
        request = m.GetBlocks(b"", position, 1 if file != inode else 0, file)
        await self._opens.by_handle(lambda: self._primary.ask(request, None, deadline))


def _of(held: dict[int, bytes], inodes: Iterable[int]) -> tuple[bytes, ...]:
    found = dict.fromkeys([held.get(inode) for inode in inodes])
    found.pop(None, None)
    return tuple([each for each in found if each is not None][:SHOWN])


def _keep(held: dict[int, T], inode: int, what: T) -> None:
    held[inode] = what
    if len(held) > KEPT:
        for old in list(itertools.islice(held, max(1, KEPT // 8))):
            del held[old]
