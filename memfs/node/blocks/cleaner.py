"""The cleaner: reclaims dead bytes between small blocks by moving live records.

Owns the choice of segments and the progress through the one being emptied; after RAMCloud's cleaner
(Rumble et al., FAST '14, section 5, without its second level: here the log is not on disk).
Checksums are verified on the way; a damaged record is moved as it is and reported, since another
node has a good copy.

Invariant: versions stay unchanged, only their place changes.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Final

from memfs.checksum import crc32c
from memfs.errors import NoSpaceError
from memfs.node.blocks import packing
from memfs.node.blocks.block_records import extent_for
from memfs.node.blocks.index import BLOCK_MASK, INDEX_BITS, BlockIndex
from memfs.node.blocks.segments import MemorySegment, Segments
from memfs.protocol.messages import BlockVersion

DEAD_SHARE: Final = 1 / 16
"""Segments with a smaller share of dead bytes stay: for each byte gained 15 would be moved."""
DEAD_SEGMENTS: Final = 2
"""Dead bytes that are left alone, in segments."""
DAMAGED_MOST: Final = 1000
"""Damaged versions that are remembered until somebody asks."""


class Cleaner:
    """Empties sparse segments of a store."""

    def __init__(self, segments: Segments, index: BlockIndex) -> None:
        """``index`` knows the live records, and is updated when one moves."""
        self.moved = 0
        """Bytes of records moved so far."""
        self.damaged: deque[BlockVersion] = deque(maxlen=DAMAGED_MOST)
        """Versions that failed their checksum on the way."""
        self._segments = segments
        self._index = index
        self._number = -1
        """Segment that is being emptied."""
        self._at = 0

    @property
    def due(self) -> bool:
        """Whether there are more dead bytes than a store should keep."""
        segments = self._segments
        few = DEAD_SEGMENTS * segments.size
        return segments.dead > few and segments.dead > few + segments.live_bytes * DEAD_SHARE

    def step(self, records: int, count: int) -> int:
        """Process up to ``records`` records or ``count`` moved bytes; returns how many records.

        0: no segment is worth cleaning.
        """
        segment = self._current()
        if segment is None:
            return 0
        seen, enough = 0, self.moved + count
        for offset, extent in segment.records(self._at):
            self._at = offset + extent
            seen += 1
            try:
                self._clear(segment, offset, extent)
            except NoSpaceError:
                self._number = -1
                return 0
            if segment.number != self._number or not segment.live:
                break  # empty, and perhaps in use again
            if seen == records or self.moved >= enough:
                return seen
        self._number = -1
        return max(seen, 1)

    def reclaim(self, count: int) -> None:
        """Get dead bytes back now, ``count`` if there are so many worth it."""
        enough = self._segments.dead - count
        while self._segments.dead > enough and self.step(sys.maxsize, sys.maxsize):
            pass

    def _current(self) -> MemorySegment | None:
        segment = self._segments.used.get(self._number)
        if segment is None:
            segment = self._choose()
            if segment is not None:
                self._number, self._at = segment.number, 0
        return segment

    def _choose(self) -> MemorySegment | None:
        """The segment with the best ratio of benefit to cost.

        The dead share that is reclaimed stays stable for longer the older the data is; the cost is
        to read the segment and to write the live share (Rosenblum and Ousterhout, LFS, 1991).
        """
        best, best_value = None, 0.0
        newest = max(self._segments.used, default=0)
        for number, segment in self._segments.used.items():
            live = segment.live / segment.filled
            if 1 - live < DEAD_SHARE or self._segments.is_head(segment):
                continue
            value = (1 - live) * (newest - number + 1) / (1 + live)
            if value > best_value and not any(r.pinned for r in segment.regions.values()):
                best, best_value = segment, value
        return best

    def _clear(self, segment: MemorySegment, offset: int, extent: int) -> None:
        """Move the record away if it is live. Raises NoSpaceError: the system has no memory."""
        region = segment.regions.get(offset)
        if region is not None:
            self.moved += region.relocate()
            return
        header = self._index.find_record(segment, offset)
        if header is None:
            return
        crcs, data = packing.whole_record(segment, offset, header)
        if crc32c(data) != header.crc:
            inode, index = header.key >> INDEX_BITS, header.key & BLOCK_MASK
            self.damaged.append(BlockVersion(inode, index, header.generation, header.sequence))
        smallest = extent_for(header.length)
        target, place = self._segments.append(smallest, moved=True)
        moved = header._replace(extent=smallest)
        try:
            packing.move_record(target, place, moved, crcs, data)
        except NoSpaceError:
            self._segments.release(target, smallest)
            raise
        self._index.move_record(header.key, target, place)
        self.moved += smallest
        del crcs, data  # views, which would keep the segment from being recycled
        self._segments.release(segment, extent)
