"""Views of many whole files at once: a request per batch and node, and no copy.

Owns what is asked of whom, and the views. Must not know open files; what can be had in no other way
is read like any batch. Invariant: the bytes of a view have passed their CRC when it is handed out.
They stay what they are, since a node overwrites no byte of a segment that it has lent, and what
came over a connection is received into memory of its own.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from memfs import limits
from memfs.checksum import crc32c, crcs32c
from memfs.client.batches.batch_read import BatchReader
from memfs.client.batches.batching import PARALLEL, named, path_batches
from memfs.client.batches.whole_replies import check_columns, only_block
from memfs.client.calls.wire import WirePath
from memfs.client.context import ClientContext
from memfs.concurrency import run_all
from memfs.errors import MemfsError, RetryableError, UnsupportedError, from_wire
from memfs.protocol import messages as m
from memfs.protocol.segment_records import (
    EXTENT,
    EXTENT_OFFSET,
    OFFSET_BITS,
    OFFSET_MASK,
    RECORD_HEADER_BYTES,
    data_offset,
)
from memfs.types import BlockRef

log = logging.getLogger(__name__)

Found: TypeAlias = dict[int, memoryview | MemfsError]
"""By the files' numbers; the rest is read like any batch."""


class BatchMapper:
    """Views of whole files, for one session."""

    def __init__(self, context: ClientContext, batches: BatchReader) -> None:
        self._session = context.session
        self._local = context.local
        self._batches = batches

    async def map(
        self, files: Sequence[WirePath], timeout: float | None
    ) -> list[memoryview | MemfsError]:
        """Views of the contents or errors, in order."""
        found: Found = {}
        batches = list(path_batches([path.raw for path in files]))
        await run_all(
            (self._map_batch(files, batch, found, timeout) for batch in batches), PARALLEL
        )
        left = [number for number in range(len(files)) if number not in found]
        if left:
            read = await self._batches.read_many([files[number] for number in left], timeout)
            for number, content in zip(left, read, strict=True):
                found[number] = content if isinstance(content, MemfsError) else memoryview(content)
        return [found[number] for number in range(len(files))]

    async def _map_batch(
        self, files: Sequence[WirePath], batch: range, found: Found, timeout: float | None
    ) -> None:
        """Views of the files numbered ``batch``, as far as they come in batches."""
        session, local = self._session, self._local
        blocks: dict[int, list[tuple[int, BlockRef]]] = {}
        left = list(batch)
        while left:
            paths = tuple([files[number].raw for number in left])
            lend = local.lends(session.known.primary_number)
            request = m.ReadMany(paths, limits.WHOLE_READ_BYTES, lend)
            try:
                answer = await session.primary.call(request, None, session.deadline(timeout))
            except UnsupportedError:  # of a release that answers with a record for each file only
                return
            reply = answer.record
            check_columns(reply, len(left))
            segments = await self._segments(reply.lender, reply.places)
            payload, at, others = answer.payload.toreadonly(), 0, iter(reply.others)
            if (views := _all_of(reply, payload, segments)) is not None:
                found.update(zip(left, views, strict=False))
                left = left[len(views) :]
                continue
            places = reply.places or (-1,) * len(reply.lengths)
            for number, length, crc, place in zip(
                left, reply.lengths, reply.crcs, places, strict=False
            ):
                if place >= 0:
                    _take(found, number, view_of(segments, place, length), length, crc)
                elif length >= 0:
                    _take(found, number, payload[at : at + length], length, crc)
                    at += length
                else:
                    file = next(others)
                    if file.code:
                        error = from_wire(file.code, file.message, files[number].given)
                        found[number] = named(error, files[number])
                    elif (ref := _block(file)) is not None:
                        self._from_a_node(ref, number, blocks)
            left = left[len(reply.lengths) :]
        await run_all(
            (self._map_blocks(node, wanted, found, timeout) for node, wanted in blocks.items()),
            PARALLEL,
        )

    def _from_a_node(
        self, ref: BlockRef, number: int, blocks: dict[int, list[tuple[int, BlockRef]]]
    ) -> None:
        """Note whom to ask for a file that is one block: a node of this host if there is one."""
        members = [node for node in ref.replicas if node in self._session.known.members]
        if members:
            near = next((node for node in members if self._local.lends(node)), members[0])
            blocks.setdefault(near, []).append((number, ref))

    async def _map_blocks(
        self,
        member: int,
        wanted: Sequence[tuple[int, BlockRef]],
        found: Found,
        timeout: float | None,
    ) -> None:
        """Views of blocks that ``member`` holds; those that do not come are left."""
        lend = self._local.lends(member)
        while wanted:
            part = wanted[: limits.BLOCKS_PER_BATCH]
            ranges = tuple([m.BlockRange(*ref.version, 0, ref.length) for _, ref in part])
            request = m.ReadBlocks(ranges, lend=lend)
            deadline = self._session.deadline(timeout)
            try:
                answer = await self._session.ask_member(member, request, deadline=deadline)
            except RetryableError:
                return
            outcomes: tuple[m.RangeResult, ...] = answer.record.results
            if not outcomes:
                return
            segments = await self._segments(answer.record.lender, answer.record.places)
            payload, at = answer.payload.toreadonly(), 0
            places = answer.record.places or (-1,) * len(outcomes)
            for (number, ref), outcome, place in zip(part, outcomes, places, strict=False):
                crc = ref.crc if ref.generation else outcome.crc
                if place >= 0:
                    view = view_of(segments, place, outcome.length)
                else:
                    view = payload[at : at + outcome.length]
                    at += outcome.length
                if not outcome.code:
                    _take(found, number, view, ref.length, crc)
            wanted = wanted[len(outcomes) :]

    async def _segments(self, lender: int, places: Sequence[int]) -> Mapping[int, memoryview]:
        """The segments that places are in, mapped."""
        if not places:
            return {}
        found, unknown = self._local.mapped(lender, places)
        return await self._local.segments(lender, places) if unknown else found


def _all_of(
    reply: m.ReadManyReply, payload: memoryview, segments: Mapping[int, memoryview]
) -> list[memoryview] | None:
    """Views of the files of a reply if all came along, in one place, and undamaged.

    That is nearly always so, and then each step is one for all files. None: look at each.
    """
    lengths, places = reply.lengths, reply.places
    if reply.others:
        return None
    if places:
        mapped = [
            view_of(segments, place, length) if place >= 0 else None
            for place, length in zip(places, lengths, strict=True)
        ]
        views = [view for view in mapped if view is not None]
        if tuple(map(len, views)) != lengths:
            return None
    else:
        ends = list(itertools.accumulate(lengths))
        if ends[-1] != len(payload):
            return None
        views = [payload[end - size : end] for end, size in zip(ends, lengths, strict=True)]
    return views if crcs32c(views) == list(reply.crcs) else None


def view_of(segments: Mapping[int, memoryview], place: int, length: int) -> memoryview | None:
    """``length`` bytes of the block at ``place``; None: it is in no segment that is known.

    Fewer where they are not in the segment. What they are shows their CRC only.
    """
    segment, start = segments.get(place >> OFFSET_BITS), place & OFFSET_MASK
    if segment is None or start + RECORD_HEADER_BYTES > len(segment):
        return None
    start += data_offset(EXTENT.unpack_from(segment, start + EXTENT_OFFSET)[0])
    return segment[start : start + length]


def _take(found: Found, number: int, view: memoryview | None, length: int, crc: int) -> None:
    """Hand out ``view``; one that is not what it should be is read like any file."""
    if view is None:
        return
    if len(view) == length and crc32c(view) == crc:
        found[number] = view
    else:
        log.warning("a file of a batch arrived damaged: reading it from its replicas")


def _block(file: m.FileReply) -> BlockRef | None:
    """The block that is all of a file."""
    if file.attributes is not None:
        return only_block(m.BlocksReply(file.attributes, 0, file.blocks))
    return file.blocks[0] if file.blocks else None
