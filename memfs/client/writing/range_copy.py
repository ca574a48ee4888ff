"""Copying ranges from one file into another without their bytes passing this client.

Owns how a range is cut at the blocks of both files, and which pieces nodes copy among themselves;
small ones, those that do not fit and those that nodes refuse go through this client. Must not know
leases or how blocks are stored (:mod:`memfs.client.writing.writer` is asked for that).
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from memfs import limits
from memfs.client.calls.deadline import ended
from memfs.client.reading.reader import FileReader
from memfs.client.writing.pending import Copied
from memfs.client.writing.writer import PUBLISH_BLOCKS, FileWriter
from memfs.types import BlockRef

COPIED_FROM_BYTES: Final = 64 * limits.KIB
"""Below it a message between nodes costs more than the bytes."""


class CopiedPiece(NamedTuple):
    """Bytes that lie in one block of either file."""

    start: int
    """In the source."""
    offset: int
    """In the target."""
    length: int


class RangeCopy:
    """From the file of a reader into that of a writer, which nobody else uses meanwhile."""

    def __init__(self, reader: FileReader, writer: FileWriter, *, publishing: bool = True) -> None:
        """Published by and by, unless the file must change as a whole (``publishing``)."""
        if reader.taken is None:
            reader.taken = {}
        self._taken: dict[int, BlockRef] = reader.taken
        self._reader = reader
        self._source = reader.file
        self._writer = writer
        self._publishing = publishing
        self._begun: dict[asyncio.Task[None], CopiedPiece] = {}

    async def copy(
        self, start: int, offset: int, length: int, timeout: float | None = None
    ) -> None:
        """Copy ``length`` bytes from byte ``start`` to byte ``offset``; the source has them."""
        writer, end = self._writer, offset + length
        await writer.prepare(offset, end, timeout)
        while offset < end:
            source, target = self._source.attributes.block_size, writer.block_size
            room = min(source - start % source, target - offset % target, end - offset)
            await self._copy(CopiedPiece(start, offset, room), timeout)
            start, offset = start + room, offset + room
            if len(self._begun) >= PUBLISH_BLOCKS:
                await self._finish(timeout)
                if self._publishing:
                    await writer.publish_stored(timeout)
        await self._finish(timeout)

    async def _copy(self, piece: CopiedPiece, timeout: float | None) -> None:
        session = self._source.session
        block, within = divmod(piece.start, self._source.attributes.block_size)
        ref = await self._source.ref(block, session.deadline(timeout))
        self._taken[block] = ref
        stored = max(0, min(piece.length, ref.length - within))
        if stored < piece.length:
            end = piece.offset + piece.length
            await self._writer.zero(piece.offset + stored, end, timeout)
            self._writer.file.grow(end)
        if not stored:
            return
        part, task = piece._replace(length=stored), None
        if stored >= COPIED_FROM_BYTES:
            task = await self._writer.copy(piece.offset, Copied(ref, within, stored), timeout)
        if task is None:
            await self._through(part, timeout)
        else:
            self._begun[task] = part

    async def _finish(self, timeout: float | None) -> None:
        """Wait for what nodes copy; what they refused goes through here."""
        begun, self._begun = self._begun, {}
        await ended(begun.keys(), timeout)
        for task, piece in begun.items():
            if task in self._writer.refused:
                self._writer.refused.discard(task)
                await self._through(piece, timeout)
            else:
                self._writer.file.grow(piece.offset + piece.length)

    async def _through(self, piece: CopiedPiece, timeout: float | None) -> None:
        content = memoryview(bytearray(piece.length))
        await self._reader.fetch(piece.start, content, timeout)
        await self._writer.write(piece.offset, content, timeout)
