"""A client's copy of one file's attributes and block map, fetched page by page.

Owns what is known of the inode: ``attributes`` and, per block index, the current version. Readers
refresh it; a writer, who alone may change the file under its lease, enters what it stored. Must
not know data. Invariant: all pages belong to the same ``attributes.change``, or were entered by the
writer since. An answer that was given before is asked for again, and what a writer has cut does not
come back, though the primary has it until the next commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from memfs import limits
from memfs.checksum import combine, crc32c, crc_of_zeros
from memfs.client.calls.deadline import turn
from memfs.client.reading import layout
from memfs.client.session.session import Session
from memfs.errors import CorruptBlockError, ProtocolError, from_wire
from memfs.protocol import messages as m
from memfs.types import ROOT_INODE, Attributes, BlockRef, Buffer

PAGE = limits.BLOCKS_PER_RECORD
INLINE_BYTES = limits.SMALL_FILE_BYTES
"""Content up to here comes with the answer to an open: sending it costs less than a round trip."""


_NOTHING = limits.BLOCKS_PER_FILE
"""A block from which on there is none."""


def hole(inode: int, index: int) -> BlockRef:
    """The reference of a block that was never written: it reads as zeros."""
    return BlockRef(inode, index, 0, 0, 0, 0, ())


class BlockMap:
    """Attributes and block references of one inode.

    References are kept by position: after a concat a block still bears the inode and index under
    which it was written. ``complete`` says that every block is known: an absent one is a hole.
    """

    def __init__(
        self, session: Session, path: str, attributes: Attributes, *, complete: bool = False
    ) -> None:
        self.session = session
        self.path = path
        self.attributes = attributes
        self.size = attributes.size
        """Bytes of the file: what was published, and a writer's own bytes on top."""
        self.seen = session.commits
        """The session's commit count when the primary was last asked."""
        self.content: bytes | None = None
        """All of it, when it came with the attributes."""
        self._complete = complete
        self._refs: dict[int, BlockRef] = {}
        self._own: dict[int, BlockRef] = {}  # a writer's: they win over what pages say
        self._pages: set[int] = set()
        self._cut = _NOTHING
        """From here on a block that is not the writer's own is a hole, until the next commit."""
        self._loading = asyncio.Lock()
        self.writing = False
        self.external = False
        """The content of a writer's file is in an external store only, and is taken over whole."""
        self.most = -1
        """Bytes up to which quotas let a writer's file grow, as far as is known; -1: no quota."""

    @classmethod
    def leased(cls, session: Session, path: str, reply: m.LeaseReply) -> BlockMap:
        """The map of a file that has just been opened for writing, or created."""
        file = cls(session, path, reply.attributes, complete=reply.attributes.size == 0)
        file.most = reply.most
        if reply.last is not None and reply.last.length and not reply.last.generation:
            file.external = True
        elif reply.last is not None:
            file.put_last(reply.last)
        return file

    @classmethod
    async def open(cls, session: Session, path: str, raw: bytes, deadline: float) -> BlockMap:
        """As :meth:`fetch`, with the content where the primary has it and it is small."""
        seen = session.commits
        answer = await session.primary.call(m.ReadFiles((raw,), INLINE_BYTES), path, deadline)
        return cls._with_content(session, path, answer.record.files[0], answer.payload, seen)

    @classmethod
    async def open_to_stay(
        cls, session: Session, path: str, raw: bytes, deadline: float, base: int = ROOT_INODE
    ) -> BlockMap:
        """As :meth:`open`; the file stays, deleted or not, until ``session.opens.close``."""
        seen = session.commits
        answer = await session.opens.open(raw, path, deadline, base=base, inline=INLINE_BYTES)
        return cls._with_content(session, path, answer.record, answer.payload, seen)

    @classmethod
    def _with_content(
        cls, session: Session, path: str, file: m.FileReply, payload: Buffer, seen: int
    ) -> BlockMap:
        if file.code or file.attributes is None:
            raise from_wire(file.code, file.message, path)
        found = cls.from_reply(session, path, m.BlocksReply(file.attributes, 0, file.blocks), seen)
        if file.length >= 0 and crc32c(payload) == file.crc:
            found.content = bytes(payload)
        return found

    @classmethod
    async def fetch(cls, session: Session, path: str, raw: bytes, deadline: float) -> BlockMap:
        """Open ``raw`` (wire path) for reading: one request for attributes and the first page."""
        seen = session.commits
        reply = await session.ask(m.GetBlocks(raw), path, deadline)
        return cls.from_reply(session, path, reply, seen)

    @classmethod
    def from_reply(cls, session: Session, path: str, reply: m.BlocksReply, seen: int) -> BlockMap:
        """What a first page says; ``seen`` is the session's commit count before it was asked."""
        fresh = cls(session, path, reply.attributes)
        fresh.seen = seen
        if reply.blocks:  # a batch leaves out what it thinks it has sent, or what does not fit
            fresh._enter(reply)
        return fresh

    @property
    def of_store(self) -> bool:
        """Whether the content is in an external store only, as far as is known."""
        first = self._refs.get(0)
        return first is not None and first.length > 0 and not first.generation

    def known(self, index: int) -> BlockRef | None:
        """The version of block ``index`` if it is known without asking, a hole included."""
        found = self._own.get(index) or self._refs.get(index)
        if found is None and (
            self._complete
            or index >= self._cut
            or index // PAGE in self._pages
            or index >= layout.block_count(self.attributes.size, self.attributes.block_size)
        ):
            return hole(self.attributes.inode, index)
        return found

    async def ref(self, index: int, deadline: float) -> BlockRef:
        """The version of block ``index``; asks the primary for a missing page."""
        found = self.known(index)
        while found is None:
            async with turn(
                self._loading, deadline
            ):  # many blocks of one page are asked for at once
                found = self.known(index)
                if found is None:
                    await self._load(index // PAGE, deadline)
                    found = self.known(index)
        return found

    async def stored(self, index: int, deadline: float) -> int | None:
        """The first block from ``index`` on that is no hole, None: there is none."""
        block_size = self.attributes.block_size
        while index < layout.block_count(self.size, block_size):
            found = self.known(index)
            if found is None:
                async with self._loading:
                    index = max(index, await self._skip(index // PAGE, deadline))
            elif found.length:
                return index
            else:
                index += 1
        return None

    async def data_from(self, offset: int, deadline: float) -> int | None:
        """The first byte from ``offset`` on that is stored, None: all that follows is a hole."""
        block_size = self.attributes.block_size
        while offset < self.size:
            index = await self.stored(offset // block_size, deadline)
            if index is None:
                return None
            ref = await self.ref(index, deadline)
            offset = max(offset, index * block_size)
            if offset < min(self.size, index * block_size + ref.length):
                return offset
            offset = (index + 1) * block_size
        return None

    async def hole_from(self, offset: int, deadline: float) -> int | None:
        """The first byte from ``offset`` on that is not stored, or the size; None: not in it."""
        block_size = self.attributes.block_size
        if offset >= self.size:
            return None
        while offset < self.size:
            index = offset // block_size
            end = index * block_size + (await self.ref(index, deadline)).length
            if end < min(self.size, (index + 1) * block_size):
                return max(offset, end)
            offset = (index + 1) * block_size
        return self.size

    async def extents(self, start: int, end: int) -> AsyncIterator[tuple[int, int]]:
        """The ranges of bytes from ``start`` to ``end`` that are stored, in order: not the holes.

        They are cut on boundaries of blocks and none is longer than a page of blocks.
        """
        block_size, session = self.attributes.block_size, self.session
        last = start // block_size
        while (first := await self.stored(last, session.deadline())) is not None:
            last = first + 1
            while last - first < PAGE and (more := self.known(last)) is not None and more.length:
                last += 1
            if first * block_size >= end:
                return
            yield max(start, first * block_size), min(end, self.size, last * block_size)

    async def crc(self, timeout: float | None = None) -> int:
        """CRC32C of the content, from those that the namespace keeps of the blocks."""
        timeout = self.session.budget(timeout)
        total, end, block = 0, 0, 0
        while (found := await self.stored(block, self.session.deadline(timeout))) is not None:
            start, deadline = found * self.attributes.block_size, self.session.deadline(timeout)
            ref = await self.ref(found, deadline)
            stored = min(ref.length, self.size - start)
            if not ref.generation:
                ref = await self._with_crc(ref, deadline)
            total = combine(total, crc_of_zeros(start - end), start - end)
            total = combine(total, ref.crc, stored)
            end, block = start + stored, found + 1
        return combine(total, crc_of_zeros(self.size - end), self.size - end)

    async def _with_crc(self, ref: BlockRef, deadline: float) -> BlockRef:
        """A block of what an external store has, with the CRC32C that its node has computed."""
        request = m.ReadBlock(*ref.version, 0, ref.length)
        answer = await self.session.ask_member(ref.replicas[0], request, deadline=deadline)
        if crc32c(answer.payload) != answer.record.crc:
            raise CorruptBlockError(f"block {ref.index} arrived damaged")
        return ref._replace(crc=answer.record.crc)

    def put(self, ref: BlockRef) -> None:
        """Enter a version that the writer stored; it overrides what the primary said."""
        assert ref.inode == self.attributes.inode, "a writer stores under the inode it leased"
        self.writing = True
        self._own[ref.index] = ref

    def put_last(self, ref: BlockRef) -> None:
        """Enter the file's last block, which came with the lease."""
        end = layout.block_count(self.attributes.size, self.attributes.block_size)
        self._refs[end - 1] = ref

    def grow(self, size: int) -> None:
        """The writer's file has at least ``size`` bytes."""
        self.writing = True
        self.size = max(self.size, size)

    def published(self, attributes: Attributes) -> None:
        """The primary confirmed the writer's state."""
        self.attributes = attributes
        self._cut = _NOTHING
        if len(self._own) > PAGE:  # a long stream: what is published can be asked for again
            self._own.clear()
            self._refs.clear()
            self._pages.clear()
            self._complete = False

    def adopted(self, attributes: Attributes) -> None:
        """What only a store had is the cluster's now: other versions of the same bytes."""
        self.attributes = attributes
        self.external = False
        self._refs.clear()
        self._pages.clear()
        self._complete = False

    def cut(self, size: int) -> None:
        """Forget blocks wholly beyond ``size`` and take it as the file's size."""
        self.writing = True
        first = layout.block_count(size, self.attributes.block_size)
        self._cut = min(self._cut, first)
        for refs in (self._own, self._refs):
            for index in [index for index in refs if index >= first]:
                del refs[index]
        self.size = size

    async def refresh(self, deadline: float) -> bool:
        """Ask again from the start; returns whether the file has changed since."""
        before = self.attributes.change
        self.content = None
        assert not self.writing, "a writer knows its file better than anyone"
        self._refs.clear()
        self._pages.clear()
        self._complete = False
        await self._load(0, deadline)
        return self.attributes.change != before

    async def _load(self, page: int, deadline: float) -> None:
        """Fetch one page; its answer may come in several records."""
        start, end = page * PAGE, (page + 1) * PAGE
        first = start
        while True:
            reply = await self._ask(m.GetBlocks(b"", first, end - first), deadline)
            if first != start and reply.attributes.change != self.attributes.change:
                first = start  # the records before are of another version
            elif self._enter(reply):
                return
            else:
                first = reply.first + len(reply.blocks)

    async def _ask(self, request: m.GetBlocks, deadline: float) -> m.BlocksReply:
        """The primary's answer, which is no older than what is known."""
        session = self.session
        request = request._replace(base=self.attributes.inode)
        while True:
            seen = session.commits
            reply = await session.opens.by_handle(lambda: session.ask(request, self.path, deadline))
            if reply.attributes.change >= self.attributes.change:
                self.seen = seen
                return reply

    async def _skip(self, page: int, deadline: float) -> int:
        """Find the first block after the hole that a page may begin with."""
        request = m.GetBlocks(b"", page * PAGE, PAGE, skip_holes=True)
        reply = await self._ask(request, deadline)
        self._enter(reply)
        self._pages.update(range(page, reply.first // PAGE))
        return reply.first

    def _enter(self, reply: m.BlocksReply) -> bool:
        """Take over a reply; returns whether its page is now complete."""
        attributes = reply.attributes
        if attributes.change != self.attributes.change:
            self._refs.clear()
            self._pages.clear()
        self.attributes = attributes
        if not self.writing:
            self.size = attributes.size
        kept = reply.blocks[: max(0, self._cut - reply.first)]
        self._refs.update(enumerate(kept, reply.first))
        page = reply.first // PAGE
        reached = reply.first + len(reply.blocks)
        total = layout.block_count(attributes.size, attributes.block_size)
        if reached < min(total, (page + 1) * PAGE):
            if not reply.blocks:
                raise ProtocolError("the primary leaves blocks out", path=self.path)
            return False
        self._pages.add(page)
        return True
