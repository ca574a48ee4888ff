"""Load block versions from disk into memory, several at a time, verifying each.

Owns the order and the pace of loading. A copy that fails its checksum is left out: healing replaces
it from another node. One that does not fit into memory waits for room.
Invariant (WriterFence): of one inode, versions are loaded in the order of their generations.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from memfs import limits
from memfs.concurrency import run_all
from memfs.errors import CorruptBlockError, MemfsError, NoSpaceError
from memfs.logs import fields
from memfs.node.blocks import BlockStore
from memfs.node.journal.block_index import JournaledCopy
from memfs.node.journal.block_log import BlockLog
from memfs.protocol.messages import SmallBlock, WriteBlock, WriteBlocks

log = logging.getLogger(__name__)

READS_AT_ONCE: Final = 4
PROGRESS_BYTES: Final = 1 * limits.GIB
"""A line in the log for each."""


class JournalLoader:
    """Loads what a journal holds into a store."""

    def __init__(self, journal: BlockLog, store: BlockStore) -> None:
        """Nothing happens before :meth:`run`."""
        self.blocks = 0
        self.bytes = 0
        self.corrupt = 0
        """Copies that failed their checksum."""
        self.waiting: list[JournaledCopy] = []
        """Copies that did not fit into memory."""
        self._journal = journal
        self._store = store
        self._total = 0
        self._told = 0

    async def run(self) -> None:
        """Load all versions; those that cannot be loaded are counted, logged and left out."""
        copies = list(self._journal.index)
        self._total = sum(copy.shape.length for copy in copies)
        await run_all(map(self._lane, _lanes(copies)), READS_AT_ONCE)
        if copies:
            log.info(
                "blocks loaded",
                extra=fields(
                    blocks=self.blocks,
                    bytes=self.bytes,
                    corrupt=self.corrupt,
                    waiting=len(self.waiting),
                ),
            )

    async def retry(self) -> None:
        """Load what did not fit before, as far as there is room now."""
        copies, self.waiting = self.waiting, []
        for copy in copies:
            if copy.alive:
                await self._load([copy])

    async def _lane(self, copies: Sequence[JournaledCopy]) -> None:
        for group in _groups(copies):
            await self._load(group)

    async def _load(self, copies: Sequence[JournaledCopy]) -> None:
        try:
            if copies[0].shape.block_size:
                await self._load_block(copies[0])
            else:
                await self._load_small(copies)
        except NoSpaceError:
            if not self.waiting:
                log.error("blocks of the journal do not fit into memory: raise the limit")
            self.waiting += copies
        except (MemfsError, OSError) as error:
            await self._refused(copies, error)
        else:
            self._progress(copies)

    async def _refused(self, copies: Sequence[JournaledCopy], error: OSError) -> None:
        """Load the copies of a refused batch one by one: a bad copy must not keep the others out.

        A crash leaves some that never counted: forgotten while they were being written, from memory
        that held something else before they were on the disk.
        """
        if len(copies) > 1:
            for copy in copies:
                await self._load([copy])
            return
        self.corrupt += 1
        version = copies[0].version
        log.warning("copy on the disk is not usable", extra=fields(block=version, reason=error))
        self._journal.forgotten(version)

    async def _load_block(self, copy: JournaledCopy) -> None:
        shape = copy.shape
        write = self._store.begin(
            WriteBlock(
                *copy.version,
                shape.length,
                shape.crc,
                (),
                shape.block_size,
                shape.group_blocks,
            )
        )
        try:
            await self._fill([copy], write.buffers())
            write.received(shape.length)
        except BaseException:
            write.abort()
            raise
        write.finish()

    async def _load_small(self, copies: Sequence[JournaledCopy]) -> None:
        blocks = tuple(SmallBlock(*c.version, c.shape.length, c.shape.crc) for c in copies)
        total = sum(block.length for block in blocks)
        write = self._store.begin_many(WriteBlocks(blocks, ()), total)
        try:
            await self._fill(copies, write.buffers())
        except BaseException:
            write.abort()
            raise
        write.finish()

    async def _fill(self, copies: Sequence[JournaledCopy], buffers: Sequence[memoryview]) -> None:
        if not await self._journal.fetch(copies, buffers):
            raise CorruptBlockError("the file is cut short")

    def _progress(self, copies: Sequence[JournaledCopy]) -> None:
        self.blocks += len(copies)
        self.bytes += sum(copy.shape.length for copy in copies)
        if self.bytes - self._told >= PROGRESS_BYTES:
            self._told = self.bytes
            log.info("loading blocks", extra=fields(bytes=self.bytes, of=self._total))


def _lanes(copies: Iterable[JournaledCopy]) -> list[list[JournaledCopy]]:
    """Copies that may be loaded concurrently; several generations of one inode may not."""
    inodes: dict[int, list[JournaledCopy]] = {}
    for copy in copies:
        inodes.setdefault(copy.version.inode, []).append(copy)
    lanes: list[list[JournaledCopy]] = []
    small: list[JournaledCopy] = []
    for own in inodes.values():
        if len({copy.version.generation for copy in own}) == 1:
            small += [copy for copy in own if copy.shape.block_size == 0]
            lanes += [[copy] for copy in own if copy.shape.block_size]
        else:
            own.sort(key=lambda copy: (*copy.version[2:], copy.version.index))
            lanes.append(own)
    step = limits.BLOCKS_PER_BATCH
    lanes += [small[at : at + step] for at in range(0, len(small), step)]
    return lanes


def _groups(copies: Sequence[JournaledCopy]) -> list[list[JournaledCopy]]:
    """The copies loaded by one write: a block, or many small ones."""
    groups: list[list[JournaledCopy]] = []
    room = 0
    for copy in copies:
        small = copy.shape.block_size == 0
        fits = groups and small and groups[-1][0].shape.block_size == 0
        if fits and len(groups[-1]) < limits.BLOCKS_PER_BATCH and copy.shape.length <= room:
            groups[-1].append(copy)
        else:
            groups.append([copy])
            room = limits.BATCH_PAYLOAD_BYTES
        room -= copy.shape.length
    return groups
