"""The block versions of a node on its disk.

Owns the order in which stores and discards are written, and compaction: once the files exceed
``ratio`` times the live bytes, what is live in the oldest segment is appended again and the segment
is removed. Observes the block store; knows nothing of requests or acknowledgements.

Invariant: a version that was stored, awaited by :meth:`BlockLog.until_durable` and not forgotten
is found at recovery. A version that was forgotten may be found too (an orphan: no file refers to
it), even with wrong bytes, since its memory may have been reused while it was being written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

from memfs.errors import BlockNotFoundError
from memfs.limits import MIB
from memfs.logs import fields
from memfs.node.blocks.holdings import Stored
from memfs.node.journal import block_frames as records
from memfs.node.journal.block_frames import Shape
from memfs.node.journal.block_index import IndexPart, JournaledBlocks, JournaledCopy
from memfs.node.journal.commits import BATCH_BYTES, Commits, log
from memfs.node.journal.series import FoundRecord, LogRecord, LogSegment, Series
from memfs.protocol.messages import BlockVersion
from memfs.transport.disk import DiskFile
from memfs.transport.environment import Environment

PARTS_MAX: Final = 64
"""Most parts of one version. Then it is written whole again, a cost that 64 appends share."""
COMPACTION_BYTES: Final = 16 * MIB
"""Queued at once by a compaction, so that writes do not wait long behind it."""
SLACK_SEGMENTS: Final = 2
"""Segments that may exist in addition to what the ratio allows."""

ReadBlock = Callable[[BlockVersion], memoryview]
"""The bytes of a version that is held. Raises BlockNotFoundError."""


class _Store(NamedTuple):
    copy: JournaledCopy
    record: LogRecord
    base: tuple[IndexPart, ...]
    """Held for it."""


class _Forget(NamedTuple):
    version: BlockVersion


class _DropSegment(NamedTuple):
    """Remove the oldest segment."""

    segment: LogSegment


_Item: TypeAlias = _Store | _Forget | _DropSegment


class BlockLog:
    """The journal of a node's block versions."""

    def __init__(
        self,
        environment: Environment,
        directory: str,
        cluster: str,
        *,
        segment_bytes: int,
        ratio: float,
        no_room: Callable[[int], None] = lambda missed: None,
    ) -> None:
        """``ratio``: bytes on disk per live byte that start compaction; ``no_room`` is called
        with the number of bytes that a full disk refused."""
        self.index = JournaledBlocks()
        self.compacted = 0
        """Bytes that compactions wrote anew."""
        self.commits: Commits[_Item] = Commits(
            environment, "blocks", self._write, written=self._written, relieve=self._relieve
        )
        self._environment = environment
        self._directory = directory
        self._ratio = ratio
        self._segment_bytes = segment_bytes
        self._no_room = no_room
        self._placed: list[tuple[_Store, LogSegment, int]] = []
        self._series = Series(
            environment.disk,
            directory,
            kind=records.KIND,
            cluster=cluster,
            dice=environment.random,
            segment_bytes=segment_bytes,
            check_bodies=False,
        )

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self._series.size

    @property
    def written(self) -> int:
        """Bytes written since the start."""
        return self._series.written

    # --- what the block store tells ----------------------------------------------------------

    def stored(self, stored: Stored) -> None:
        """A version is held now."""
        version, data = stored.version, stored.data
        if version in self.index.copies:
            return  # it was loaded from here
        shape = Shape(len(data), stored.crc, stored.block_size, stored.group_blocks)
        copy = JournaledCopy(version, shape)
        self.index.add(copy)
        self.commits.add(self._store_item(copy, data, stored.base), len(data))

    def forgotten(self, version: BlockVersion) -> None:
        """A version is held no longer."""
        if self.index.drop(version) is not None:
            self.commits.add(_Forget(version), 0)

    async def until_durable(self) -> None:
        """Wait until all that was stored so far is on the disk. Raises NoSpaceError."""
        await self.commits.drain()

    def _store_item(
        self, copy: JournaledCopy, data: memoryview, base: BlockVersion | None
    ) -> _Store:
        known = self.index.copies.get(base) if base is not None else None
        if known is None or not 0 < len(known.parts) < PARTS_MAX:
            return _Store(copy, records.block(copy.version, copy.shape, data), ())
        more = data[known.shape.length :]
        record = records.extension(copy.version, copy.shape, known.version, more)
        self.index.hold(known.parts)
        return _Store(copy, record, known.parts)

    # --- writing -----------------------------------------------------------------------------

    def _write(self, items: list[_Item]) -> None:
        """Write and sync a batch; runs in a worker thread."""
        batch: list[LogRecord] = []
        stores: list[_Store] = []
        gone: list[BlockVersion] = []
        drops: list[_DropSegment] = []
        for item in items:
            if isinstance(item, _Forget):
                gone.append(item.version)
            elif isinstance(item, _DropSegment):
                drops.append(item)
            elif item.copy.alive:
                batch += _forgets(gone)
                gone = []
                batch.append(item.record)
                stores.append(item)
        batch += _forgets(gone)
        self._placed = self._commit(batch, stores)
        for drop in drops:
            if self._series.segments[0] is drop.segment:
                self._series.drop_oldest(1)

    def _commit(
        self, batch: list[LogRecord], stores: list[_Store]
    ) -> list[tuple[_Store, LogSegment, int]]:
        if not batch and self.commits.failure is not None:
            batch = [records.probe()]
        if not batch:
            return []
        places = self._series.commit(batch)
        bodies = [
            place
            for place, record in zip(places, batch, strict=True)
            if record.kind in (records.BLOCK, records.EXTENSION)
        ]
        return [(store, *place) for store, place in zip(stores, bodies, strict=True)]

    def _written(self, items: list[_Item]) -> None:
        placed, self._placed = self._placed, []
        for store, segment, at in placed:
            if store.copy.alive:
                part = IndexPart(segment, at, store.record.length)
                self.index.place(store.copy, (*store.base, part))
        for item in items:
            if isinstance(item, _Store):
                self.index.release(item.base)
            elif isinstance(item, _DropSegment):
                self.index.forget(item.segment)

    # --- room --------------------------------------------------------------------------------

    @property
    def wants_room(self) -> bool:
        """Whether compaction is due, or a whole segment is dead."""
        segments = self._series.segments
        if len(segments) < 2 or self.commits.failure is not None:
            return False
        slack = SLACK_SEGMENTS * self._segment_bytes
        return (
            self.index.live(segments[0]) == 0
            or self.size > self._ratio * self.index.live_bytes + slack
        )

    async def make_room(self, read: ReadBlock) -> bool:
        """Compact: append the live parts of the oldest segment again, then remove it.

        False: a write under way still refers to it, try again later.
        """
        segment = self._series.segments[0]
        if not self.index.users(segment):
            await self.until_durable()  # an extension that is not written yet may hold its base
        copies = self.index.users(segment)
        while copies:
            size = 0
            while copies and size < COMPACTION_BYTES:
                copy = copies.pop()
                if copy.alive and any(part.segment is segment for part in copy.parts):
                    size += await self._write_anew(copy, read)
            self.compacted += size
            await self.until_durable()
        if self.index.live(segment):
            return False
        self.commits.add(_DropSegment(segment), 0)
        await self.until_durable()
        return True

    def _relieve(self) -> bool:
        """The disk is full: remove dead segments; returns whether there were any."""
        segments = self._series.segments
        before = len(segments)
        try:
            while len(segments) > 1 and self.index.live(segments[0]) == 0:
                self.index.forget(segments[0])
                self._series.drop_oldest(1)
        except OSError as error:
            log.warning("no room could be made", extra=fields(reason=error))
        relieved = len(segments) < before
        if not relieved:
            self._no_room(min(self.commits.waiting_bytes, BATCH_BYTES))
        return relieved

    async def _write_anew(self, copy: JournaledCopy, read: ReadBlock) -> int:
        try:
            data = read(copy.version)
        except BlockNotFoundError:  # it did not fit into memory when the node started
            buffer = bytearray(copy.shape.length)
            await self.fetch([copy], [memoryview(buffer)])
            data = memoryview(buffer)
        if copy.alive:
            record = records.block(copy.version, copy.shape, data)
            self.commits.add(_Store(copy, record, ()), copy.shape.length)
        return copy.shape.length

    # --- recovery ----------------------------------------------------------------------------

    async def fetch(self, copies: Sequence[JournaledCopy], buffers: Sequence[memoryview]) -> bool:
        """Read versions into buffers, unverified; returns whether all were found."""
        parts = [part for copy in copies for part in copy.parts]
        return await self._environment.disk.run(lambda: self._read_parts(parts, buffers))

    def _read_parts(self, parts: Sequence[IndexPart], buffers: Sequence[memoryview]) -> bool:
        rest = list(buffers)
        files: dict[str, DiskFile] = {}
        try:
            for part in parts:
                path = part.segment.path
                if path not in files:
                    files[path] = self._environment.disk.open(path)
                mine, rest = _split(rest, part.length)
                if files[path].read_into(mine, part.at) < part.length:
                    return False
        finally:
            for file in files.values():
                file.close()
        return True

    async def recover(self) -> None:
        """Rebuild the index from the files. Raises DataLossError for damaged frames."""
        found = await self._environment.disk.run(self._survey)
        copies, parts = _latest(found)
        for copy, own, base in copies.values():
            chain = _resolve(own, base, parts)
            if chain is None:
                log.error("block without its base", extra=fields(block=copy.version))
                continue
            self.index.add(copy)
            self.index.place(copy, chain)
        for each in found:
            if each.torn:
                log.warning(
                    "torn tail cut off", extra=fields(path=each.segment.path, bytes=each.torn)
                )

    def _survey(self) -> list[FoundRecord]:
        self._environment.disk.make_directory(self._directory)
        return self._series.recover()

    async def begin(self) -> None:
        """Delete all journaled blocks, before there are new ones. Raises OSError."""
        self.index = JournaledBlocks()
        await self._environment.disk.run(self._series.clear)


_Latest: TypeAlias = dict[BlockVersion, tuple[JournaledCopy, IndexPart, BlockVersion | None]]
_Parts: TypeAlias = dict[BlockVersion, tuple[IndexPart, BlockVersion | None]]


def _latest(found: list[FoundRecord]) -> tuple[_Latest, _Parts]:
    """The versions that are held, and the parts of all versions found."""
    copies: _Latest = {}
    parts: _Parts = {}
    for each in found:
        for frame in each.frames:
            if frame.kind in (records.BLOCK, records.EXTENSION):
                stored = records.stored(frame)
                part = IndexPart(each.segment, frame.body_at, frame.length)
                copies[stored.version] = (
                    JournaledCopy(stored.version, stored.shape),
                    part,
                    stored.base,
                )
                parts[stored.version] = (part, stored.base)
            elif frame.kind == records.FORGET:
                for version in records.forgotten(frame):
                    copies.pop(version, None)
    return copies, parts


def _resolve(
    own: IndexPart, base: BlockVersion | None, parts: _Parts
) -> tuple[IndexPart, ...] | None:
    """The parts of a version, first to last; None when a base is missing."""
    chain = [own]
    while base is not None:
        known = parts.get(base)
        if known is None:
            return None
        chain.append(known[0])
        base = known[1]
    return tuple(reversed(chain))


def _forgets(versions: list[BlockVersion]) -> list[LogRecord]:
    step = records.FORGOTTEN_PER_RECORD
    return [records.forget(versions[at : at + step]) for at in range(0, len(versions), step)]


def _split(buffers: Sequence[memoryview], length: int) -> tuple[list[memoryview], list[memoryview]]:
    """The first ``length`` bytes of scattered buffers, and the rest."""
    first: list[memoryview] = []
    for number, buffer in enumerate(buffers):
        if length <= len(buffer):
            return [*first, buffer[:length]], [buffer[length:], *buffers[number + 1 :]]
        first.append(buffer)
        length -= len(buffer)
    return first, []
