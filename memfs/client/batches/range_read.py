"""Reading ranges of many files: small ones that one member holds come in one answer.

Owns what is asked of whom. Must not know how a range is read by itself (reader): what lies on this
host, is large, crosses blocks or failed in a batch is left to that. Invariant: all ranges of one
file are of one version of it, and bytes that are returned have passed their CRC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from memfs import limits
from memfs.client.batches.batch_read import BatchReader, BlockPiece, read_pieces
from memfs.client.batches.batching import PARALLEL, named
from memfs.client.calls.wire import WirePath
from memfs.client.context import ClientContext
from memfs.client.reading import layout
from memfs.client.reading.block_map import BlockMap
from memfs.client.reading.reader import FileReader
from memfs.concurrency import run_all
from memfs.errors import MemfsError, StaleHandleError


class FileRange(NamedTuple):
    """``content[start:stop]`` of a file, with Python's meaning of None and negative numbers."""

    path: WirePath
    start: int | None
    stop: int | None

    def within(self, size: int) -> tuple[int, int]:
        """Offset and length in a file of that size."""
        first, last, _ = slice(self.start, self.stop).indices(size)
        return first, max(0, last - first)


class FileRangeReader:
    """Reads ranges for one session."""

    def __init__(self, context: ClientContext, batches: BatchReader) -> None:
        self._context = context
        self._batches = batches
        self._session = context.session

    async def read(
        self, ranges: Sequence[FileRange], timeout: float | None
    ) -> list[bytes | MemfsError]:
        """Bytes or errors, in order."""
        patience = self._session.deadline(timeout)  # with files that change all the time
        results: list[bytes | MemfsError] = [b""] * len(ranges)
        left: dict[bytes, list[int]] = {}
        for number, wanted in enumerate(ranges):
            left.setdefault(wanted.path.raw, []).append(number)
        while left:
            files = await self._open(ranges, left, results, timeout)
            try:
                await self._read_files(files, timeout)
            finally:
                for file in files:
                    await file.reader.close()
            left = {}
            for file in files:
                if file.changed and self._session.remaining(patience):
                    left[file.raw] = list(file.results)  # no mixture: all of it once more
                else:
                    for number, result in file.results.items():
                        results[number] = result
        return results

    async def _open(
        self,
        ranges: Sequence[FileRange],
        left: dict[bytes, list[int]],
        results: list[bytes | MemfsError],
        timeout: float | None,
    ) -> list[_File]:
        """Open the files that are not small; results of small ones are entered at once."""
        paths = [ranges[numbers[0]].path for numbers in left.values()]
        maps = await self._batches.open_many(paths, timeout)
        files: list[_File] = []
        for (raw, numbers), found in zip(left.items(), maps, strict=True):
            if isinstance(found, BlockMap):
                reader = FileReader(self._context, found)
                files.append(_File(raw, reader, {n: ranges[n] for n in numbers}))
                continue
            for number in numbers:
                part = slice(ranges[number].start, ranges[number].stop)
                results[number] = found[part] if isinstance(found, bytes) else found
        return files

    async def _read_files(self, files: Sequence[_File], timeout: float | None) -> None:
        """Read in batches where possible, then the remaining ranges one by one."""
        by_member: dict[int, list[tuple[_File, int, BlockPiece]]] = {}
        members = self._session.known.members
        for file in files:
            for number in file.results:
                piece = await file.piece(number, self._session.deadline(timeout))
                if piece is not None:
                    holders = (each for each in piece.ref.replicas if each in members)
                    by_member.setdefault(next(holders, 0), []).append((file, number, piece))
        by_member.pop(0, None)
        await run_all(
            (self._read_batch(member, work, timeout) for member, work in by_member.items()),
            PARALLEL,
        )
        await run_all(
            (file.read(number, timeout) for file in files for number in sorted(file.missing)),
            PARALLEL,
        )

    async def _read_batch(
        self, member: int, work: Sequence[tuple[_File, int, BlockPiece]], timeout: float | None
    ) -> None:
        pieces = [piece for _, _, piece in work]
        found = await read_pieces(self._session, member, pieces, timeout)
        for (file, number, _), data in zip(work, found, strict=True):
            if data is not None:
                file.enter(number, data)


class _File:
    """The ranges of one file and their results."""

    def __init__(self, raw: bytes, reader: FileReader, ranges: dict[int, FileRange]) -> None:
        self.raw = raw
        self.reader = reader
        self.results: dict[int, bytes | MemfsError] = dict.fromkeys(ranges, b"")
        self.missing = set(ranges)
        size = reader.file.size
        self._wanted = {number: wanted.within(size) for number, wanted in ranges.items()}
        self._paths = {number: wanted.path for number, wanted in ranges.items()}
        self._change = reader.file.attributes.change
        self._gone = False

    @property
    def changed(self) -> bool:
        """Whether the results may come from different versions of the file."""
        return self._gone or self.reader.file.attributes.change != self._change

    async def piece(self, number: int, deadline: float) -> BlockPiece | None:
        """A small range of one block; None: it is read by itself, or nothing is to be read."""
        offset, length = self._wanted[number]
        if not length:
            self.enter(number, b"")
        elif length <= limits.SMALL_FILE_BYTES:
            first, *more = layout.split(offset, length, self.reader.file.attributes.block_size)
            ref = None if more else await self.reader.elsewhere(first.block, deadline)
            return BlockPiece(ref, first.start, length) if ref else None
        return None

    async def read(self, number: int, timeout: float | None) -> None:
        offset, length = self._wanted[number]
        try:
            self.enter(number, await self.reader.read(offset, length, timeout))
        except StaleHandleError:  # replaced meanwhile: look again what the path names
            self._gone = True
        except MemfsError as error:
            self.enter(number, named(error, self._paths[number]))

    def enter(self, number: int, result: bytes | MemfsError) -> None:
        """Enter the result of a range."""
        self.results[number] = result
        self.missing.discard(number)
