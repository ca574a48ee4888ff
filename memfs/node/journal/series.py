"""A series of segment files: appended to at its end, removed from its beginning.

Owns the list of segments, where each ends, and the handling of failed writes and syncs. Its methods
block: they are run by one worker at a time. Does not interpret the content of frames.
Invariant: every segment but the current one has an end that the header of the next one repeats; a
segment whose sync failed gets no more frames; what recovery finds is made durable first.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from memfs.errors import ConfigError, DataLossError
from memfs.node.journal import segment_format
from memfs.node.journal.segment_format import Frame, RecordHeader
from memfs.transport.disk import Disk, DiskFile
from memfs.types import Buffer

_NAME: Final = re.compile(r"\d{10}-[0-9a-f]{16}\.segment")


class LogRecord(NamedTuple):
    """The content of one frame."""

    kind: int
    meta: bytes
    body: Sequence[Buffer]
    length: int
    """Bytes of ``body``."""
    crc: int
    """CRC32C of ``body``."""


class LogSegment:
    """One file of a series."""

    def __init__(self, path: str, header: RecordHeader, end: int) -> None:
        """``end`` 0: the file has yet to be written."""
        self.path = path
        self.header = header
        self.end = end

    @property
    def sequence(self) -> int:
        """Its place in the series."""
        return self.header.sequence


class FoundRecord(NamedTuple):
    """A segment with its frames, at recovery."""

    segment: LogSegment
    frames: list[Frame]
    torn: int
    """Bytes that were cut off its end."""


class Series:
    """The segments of one kind in one directory."""

    def __init__(
        self,
        disk: Disk,
        directory: str,
        *,
        kind: int,
        cluster: str,
        dice: random.Random,
        segment_bytes: int,
        check_bodies: bool,
        prefix: str = "",
    ) -> None:
        """Nothing is written before the first commit. ``prefix``: of the files' names.

        ``check_bodies``: recovery verifies all bodies, not only those that may be torn.
        """
        self.segments: list[LogSegment] = []
        """Oldest first, the current one last."""
        self.written = 0
        """Bytes written since the start."""
        self._disk = disk
        self._directory = directory
        self._kind = kind
        self._cluster = cluster
        self._dice = dice
        self._segment_bytes = segment_bytes
        self._check_bodies = check_bodies
        self._prefix = prefix
        self._file: DiskFile | None = None
        self._sequence = 0

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(segment.end for segment in self.segments)

    @property
    def rotated(self) -> bool:
        """Whether the next commit begins a new segment."""
        return self._file is None

    # --- writing -----------------------------------------------------------------------------

    def commit(self, records: Sequence[LogRecord], first: int = 0) -> list[tuple[LogSegment, int]]:
        """Write records as one batch and sync it; the segment and position of each body.

        ``first``: what a new segment's header names as its first item. After an OSError nothing
        of the batch counts: the segment of a failed sync is abandoned, and the next commit begins
        another one.
        """
        segment, file = self._current(first)
        start = segment.end or segment_format.HEADER_BYTES
        buffers, places, at = _lay_out(records, segment, start)
        try:
            if segment.end == 0:
                file.write([segment_format.pack_header(segment.header), *buffers], 0)
            else:
                file.write(buffers, start)
        except OSError:
            self._remove_tail(segment, file)
            raise
        try:
            file.sync()
            if segment.end == 0:
                self._disk.sync_directory(self._directory)
        except OSError:
            self._give_up(segment)
            raise
        self.written += at - segment.end
        segment.end = at
        if at >= self._segment_bytes:
            self.rotate()
        return places

    def rotate(self) -> None:
        """Let the next commit begin a new segment."""
        if self._file is not None and self.segments[-1].end:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _current(self, first: int) -> tuple[LogSegment, DiskFile]:
        if self._file is None:
            self._sequence += 1
            salt = self._dice.getrandbits(64)
            previous, end = 0, 0
            if self.segments:
                previous, end = self.segments[-1].sequence, self.segments[-1].end
            header = RecordHeader(
                self._kind, self._cluster, self._sequence, first, salt, previous, end
            )
            path = self._path(f"{self._sequence:010d}-{salt:016x}.segment")
            self._file = self._disk.open(path, create=True)
            self.segments.append(LogSegment(path, header, 0))
        return self.segments[-1], self._file

    def _remove_tail(self, segment: LogSegment, file: DiskFile) -> None:
        """Truncate what a failed write left."""
        try:
            file.truncate(segment.end)
        except OSError:
            self._give_up(segment)

    def _give_up(self, segment: LogSegment) -> None:
        """Abandon the current segment: after a failed sync the state of its end is unknown."""
        self._close()
        if segment.end == 0:
            self.segments.remove(segment)
            try:
                self._disk.remove(segment.path)
            except OSError:
                pass  # it has no acknowledged frame, and the next header says so

    def _path(self, name: str) -> str:
        return f"{self._directory}/{self._prefix}{name}"

    def _names(self) -> list[str]:
        """The files of the series without their prefix, oldest first."""
        found = (
            name.removeprefix(self._prefix)
            for name in self._disk.names(self._directory)
            if name.startswith(self._prefix)
        )
        return [name for name in found if _NAME.fullmatch(name)]

    # --- the beginning -----------------------------------------------------------------------

    def drop_oldest(self, count: int) -> None:
        """Remove the first ``count`` segments; never the current one."""
        assert count < len(self.segments) or self._file is None
        for segment in self.segments[:count]:
            self._disk.remove(segment.path)
        if count:
            self._disk.sync_directory(self._directory)
            del self.segments[:count]

    def clear(self) -> None:
        """Remove everything."""
        self._close()
        for name in self._names():
            self._disk.remove(self._path(name))
        self.segments.clear()
        self._disk.sync_directory(self._directory)

    # --- recovery ----------------------------------------------------------------------------

    def recover(self) -> list[FoundRecord]:
        """Find the segments; writing continues in a new one.

        What is found is durable when this returns. Raises DataLossError for damage, ConfigError
        for another cluster's files, OSError.
        """
        found: list[FoundRecord] = []
        for name in reversed(self._names()):
            sequence = int(name[:10])
            self._sequence = max(self._sequence, sequence)
            after = found[0].segment.header if found else None
            if after is not None and after.previous < sequence:
                self._disk.remove(self._path(name))  # given up when it was made
                continue
            if after is not None and after.previous > sequence:
                raise DataLossError(
                    f"journal segment {after.previous} is missing", path=self._directory
                )
            each = self._examine(self._path(name), after)
            if each is not None:
                found.insert(0, each)
        self.segments = [each.segment for each in found]
        if found:
            self._write_anew(found[-1])
        return found

    def _write_anew(self, last: FoundRecord) -> None:
        """Write and sync the last batch again: it may have been read from the page cache only.

        That happens after a failed sync, and to the last batch only: earlier ones were synced.
        """
        start = last.frames[-1].batch if last.frames else 0
        if start == segment_format.HEADER_BYTES:
            start = 0  # the header was written with it
        file = self._disk.open(last.segment.path)
        try:
            file.write([file.read(start, last.segment.end - start)], start)
            file.sync()
        finally:
            file.close()
        self._disk.sync_directory(self._directory)

    def _examine(self, path: str, after: RecordHeader | None) -> FoundRecord | None:
        file = self._disk.open(path)
        try:
            size, read = file.size(), buffered(file.read)
            header = segment_format.unpack_header(read(0, segment_format.HEADER_BYTES), path)
            if header is None:
                salt = int(path[-24:-8], 16)
                if after is None and not _was_synced(read, salt, size):
                    self._disk.remove(path)  # it was being made
                    return None
                raise DataLossError("the header of the journal segment is damaged", path=path)
            if header.cluster != self._cluster or header.kind != self._kind:
                raise ConfigError(f"{path}: of cluster {header.cluster}, not {self._cluster}")
            end = None if after is None else after.previous_end
            survey = segment_format.survey(
                read, size, header, path, end=end, bodies=self._check_bodies
            )
        finally:
            file.close()
        return FoundRecord(LogSegment(path, header, survey.end), survey.frames, survey.torn)


def _was_synced(read: segment_format.Read, salt: int, size: int) -> bool:
    """Whether a second batch was written: then the header had been synced."""
    return any(
        frame.batch > segment_format.HEADER_BYTES
        for frame in segment_format.frames_behind(read, salt, segment_format.HEADER_BYTES - 1, size)
    )


def _lay_out(
    records: Sequence[LogRecord], segment: LogSegment, start: int
) -> tuple[list[Buffer], list[tuple[LogSegment, int]], int]:
    """Buffers of a batch that begins at ``start``, positions of its bodies, and its end."""
    buffers: list[Buffer] = []
    places: list[tuple[LogSegment, int]] = []
    at = start
    for record in records:
        head = segment_format.pack_frame(
            segment.header.salt,
            at,
            start,
            record.kind,
            record.meta,
            record.length,
            record.crc,
        )
        buffers += (head, *record.body)
        places.append((segment, at + len(head)))
        at += len(head) + record.length
    return buffers, places, at


def buffered(read: Callable[[int, int], bytes], window: int = 1 << 18) -> segment_format.Read:
    """``read`` through a one-window cache: nearby headers cost one call."""
    begin, data = 0, b""

    def windowed(at: int, length: int) -> bytes:
        nonlocal begin, data
        if length > window:
            return read(at, length)
        if not (begin <= at and at + length <= begin + len(data)):
            begin, data = at, read(at, window)
        return data[at - begin : at - begin + length]

    return windowed
