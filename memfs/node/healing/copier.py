"""The receiving end of healing: copies versions from another member, forgets what it is told to.

Owns what this node does on the primary's word, and the fence around it: only the primary of this
node's view may ask, and a decision to forget that is older than a request to copy does not touch
the copy (NoEarlyGC): requests travel on several connections and may overtake each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from memfs import errors, limits
from memfs.concurrency import run_all
from memfs.node.blocks import BlockStore
from memfs.node.blocks.arrival import BlockWrite
from memfs.node.membership.members import Membership
from memfs.node.membership.receiver_fence import check_from_primary
from memfs.protocol import messages as m
from memfs.transport.connection import Connection
from memfs.transport.pool import Pool
from memfs.transport.server import IncomingCall
from memfs.types import Buffer

STAMPS = 100_000
"""Copies whose order is remembered at least, and at most twice as many, 200 B each; an older one is
past every request in flight."""
READS_AT_ONCE = 2
"""Large blocks, and pages of small ones, asked for at a time: one travels while the other is
checked."""
STORED_AT_ONCE = 128
"""Small blocks looked for, or stored, between two turns of the event loop: a millisecond."""

_Order = tuple[int, int]
"""Term (its first epoch) and number of a decision of a primary."""

_tuple = tuple.__new__
"""Makes a named tuple in a third of the time that its name takes."""


class Copier:
    """Carries out CopyBlocks and DiscardBlocks on this node's store."""

    def __init__(
        self,
        store: BlockStore,
        membership: Membership,
        pool: Pool,
        until_durable: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """``pool`` reaches the sources; a copy counts when ``until_durable`` has returned."""
        self._store = store
        self._membership = membership
        self._pool = pool
        self._until_durable = until_durable
        self._stamps: dict[m.BlockVersion, _Order] = {}
        """The latest."""
        self._old_stamps: dict[m.BlockVersion, _Order] = {}

    # --- forgetting --------------------------------------------------------------------------

    def discard(self, call: IncomingCall[m.DiscardBlocks]) -> m.Empty:
        """Forget versions, on the word of the primary."""
        term = self.check_primary(call)
        self.forget(call.request.versions, term, call.request.order)
        return m.Empty()

    def forget(self, versions: Iterable[m.BlockVersion], term: int, order: int) -> None:
        """Forget versions, but not copies that were asked for after ``order`` of ``term``."""
        if self._stamps or self._old_stamps:
            versions = [each for each in versions if self._is_older(each, (term, order))]
        self._store.discard_many(versions)

    def _is_older(self, version: m.BlockVersion, decision: _Order) -> bool:
        """Was the latest request to copy a version made before a decision to forget it? Then
        nothing of the request is remembered."""
        stamp = self._stamps.get(version) or self._old_stamps.get(version)
        if stamp is not None and stamp >= decision:
            return False
        self._stamps.pop(version, None)
        self._old_stamps.pop(version, None)
        return True

    def check_primary(self, call: IncomingCall[object]) -> int:
        """The term of a decision about blocks, behind ReceiverFence. Raises StaleEpochError.

        The epoch does not tell their order: it is that of the sending, which may come late.
        """
        return check_from_primary(self._membership.latest, call).primary_since

    # --- copying -----------------------------------------------------------------------------

    async def copy(self, call: IncomingCall[m.CopyBlocks]) -> m.CopyBlocksReply:
        """Copy versions from one member; a code for each."""
        term = self.check_primary(call)
        request = call.request
        self._stamp(request.blocks, (term, request.order))
        codes: dict[m.CopyBlock, int] = {}
        wanted: list[m.CopyBlock] = []
        for start in range(0, len(request.blocks), STORED_AT_ONCE):
            some = request.blocks[start : start + STORED_AT_ONCE]
            if self._store.lacks([block[:2] for block in some]):
                wanted += some  # nearly always
                continue
            for block in some:
                if self._holds(block):
                    codes[block] = 0
                else:
                    wanted.append(block)
                if _is_large(block):
                    await asyncio.sleep(0)
            await asyncio.sleep(0)
        try:
            connection = await self._pool.blocks(self._membership.find(request.source))
            await self._fetch(connection, wanted, codes, call.remaining())
        except errors.MemfsError as error:
            codes |= {block: error.code for block in wanted if block not in codes}
        try:
            if self._until_durable is not None:
                await self._until_durable()
        except errors.NoSpaceError as error:
            codes = dict.fromkeys(request.blocks, error.code)
        return m.CopyBlocksReply(tuple([codes[block] for block in request.blocks]))

    def _stamp(self, blocks: Sequence[m.CopyBlock], order: _Order) -> None:
        if len(self._stamps) >= STAMPS:
            self._old_stamps, self._stamps = self._stamps, {}
        versions = [_tuple(m.BlockVersion, block[:4]) for block in blocks]
        self._stamps.update(dict.fromkeys(versions, order))

    def _holds(self, block: m.CopyBlock) -> bool:
        """Is it here, and intact? A corrupt copy is forgotten, and one of other bytes."""
        version = block.version
        code = self._store.verify(version)
        if code == errors.BlockNotFoundError.code:
            return False
        if code or self._store.identity(version) != (block.length, block.crc):
            self._store.discard(version)
            return False
        return True

    async def _fetch(
        self,
        source: Connection,
        wanted: Sequence[m.CopyBlock],
        codes: dict[m.CopyBlock, int],
        seconds: float,
    ) -> None:
        """Fetch blocks: small ones many at a time, large ones straight into their place."""
        deadline = asyncio.get_running_loop().time() + seconds
        large = [block for block in wanted if _is_large(block)]
        small = [block for block in wanted if not _is_large(block)]
        size = limits.BLOCKS_PER_BATCH
        pages = [small[start : start + size] for start in range(0, len(small), size)]

        async def fetch_large(block: m.CopyBlock) -> None:
            codes[block] = await self._fetch_large(source, block, deadline)

        async def fetch_page(left: list[m.CopyBlock]) -> None:
            try:
                while left:
                    left = await self._fetch_small(source, left, codes, deadline)
            except errors.MemfsError as error:
                codes.update({block: error.code for block in left if block not in codes})

        both = (map(fetch_large, large), map(fetch_page, pages))
        await run_all((run_all(each, READS_AT_ONCE) for each in both), len(both))

    async def _fetch_large(self, source: Connection, block: m.CopyBlock, deadline: float) -> int:
        try:
            write = self._begin(block)
        except errors.MemfsError as error:
            return error.code
        try:
            await source.call(
                m.ReadBlock(*block.version, 0, block.length),
                request_id=self._pool.next_request_id(),
                timeout=deadline - asyncio.get_running_loop().time(),
                epoch=self._membership.epoch,
                into=write.buffers(),
            )
            write.received(block.length)
            write.finish()
        except errors.MemfsError as error:
            write.abort()
            return error.code
        except BaseException:
            write.abort()
            raise
        return 0

    async def _fetch_small(
        self,
        source: Connection,
        blocks: list[m.CopyBlock],
        codes: dict[m.CopyBlock, int],
        deadline: float,
    ) -> list[m.CopyBlock]:
        """Fetch as many as one answer holds; returns the rest."""
        wanted = tuple([_tuple(m.BlockRange, (*block[:4], 0, block[4])) for block in blocks])
        answer = await source.call(
            m.ReadBlocks(wanted),
            request_id=self._pool.next_request_id(),
            timeout=deadline - asyncio.get_running_loop().time(),
            epoch=self._membership.epoch,
        )
        results: tuple[m.RangeResult, ...] = answer.record.results
        if not results:
            raise errors.UnavailableError("the source leaves blocks out")
        at = 0
        for start in range(0, len(results), STORED_AT_ONCE):
            part = results[start : start + STORED_AT_ONCE]
            some = blocks[start : start + len(part)]
            found = [result[0] for result in part]
            stop = at + sum([result[1] for result in part])
            codes.update(zip(some, found, strict=False))
            if any(found):
                some = [block for block, code in zip(some, found, strict=False) if not code]
            self._store_many(some, answer.payload[at:stop], codes)
            at = stop
            await asyncio.sleep(0)
        return blocks[len(results) :]

    def _store_many(
        self, blocks: list[m.CopyBlock], data: Buffer, codes: dict[m.CopyBlock, int]
    ) -> None:
        """Store blocks whose bytes follow one another in ``data``: all at once or, if that fails,
        those that can be."""
        try:
            self._store.put_copies([_tuple(m.SmallBlock, block[:6]) for block in blocks], data)
        except errors.MemfsError:  # one is damaged, or came twice, or there is not room for all
            at = 0
            for block in blocks:
                codes[block] = self._store_whole(block, data[at : at + block.length])
                at += block.length

    def _store_whole(self, block: m.CopyBlock, data: Buffer) -> int:
        if len(data) != block.length:
            return errors.CorruptBlockError.code
        try:
            write = self._begin(block)
            try:
                at = 0
                for buffer in write.buffers():
                    buffer[:] = data[at : at + len(buffer)]
                    at += len(buffer)
                write.received(block.length)
                write.finish()
            except BaseException:
                write.abort()
                raise
        except errors.MemfsError as error:
            return error.code
        return 0

    def _begin(self, block: m.CopyBlock) -> BlockWrite:
        return self._store.begin_copy(
            m.WriteBlock(*block[:6], (), block.block_size, block.group_blocks)
        )


def _is_large(block: m.CopyBlock) -> bool:
    return block.length > limits.SMALL_FILE_BYTES
