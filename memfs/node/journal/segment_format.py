"""The format of segment files, and how a torn tail is told from damage.

Owns the layout and the rule that tells an interrupted write from damage. Does not interpret the
content of frames, and reads through a function only. Integers are big-endian.

::

    segment = header (72 bytes) | frame | frame | ...
    header  = magic (8) | kind, version (2 each) | cluster (16) | sequence, first, salt, previous,
              previous end (8 each) | CRC32C of it all (4)
    frame   = salt, batch (8 each) | kind, length of meta (2 each) | length and CRC32C of body
              (4 each) | CRC32C of position, these fields and meta (4) | meta | body

``batch`` is the position at which the batch begins that the frame was written with. A batch is
synced before the next one is written, so only the last batch of the last segment can be torn.
Invariant (of :func:`survey`): what was synced is found whole or refused with a DataLossError; what
was not synced may be cut off.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from memfs.checksum import crc32c
from memfs.errors import DataLossError
from memfs.limits import MIB

Read = Callable[[int, int], bytes]
"""Bytes of a file: position and length; fewer at its end."""

VERSION: Final = 1
MAGIC: Final = b"memfsjnl"
_HEADER: Final = struct.Struct(">8sHH16sQQQQQ")
_CRC: Final = struct.Struct(">I")
HEADER_BYTES: Final = 72
_FRAME: Final = struct.Struct(">QQHHII")
FRAME_BYTES: Final = _FRAME.size + _CRC.size
_POSITION: Final = struct.Struct(">Q")
_SALT: Final = struct.Struct(">Q")
META_BYTES: Final = 4096
assert _HEADER.size + _CRC.size == HEADER_BYTES


class RecordHeader(NamedTuple):
    """The header of a segment."""

    kind: int
    cluster: str
    """Id of the cluster."""
    sequence: int
    """Its place in the series."""
    first: int
    """What it begins with; the log's index of the first entry."""
    salt: int
    """Random: marks the frames of this segment and no other."""
    previous: int
    """Sequence of the segment before, 0: there was none."""
    previous_end: int
    """Where that one ends; whatever lies behind was never acknowledged."""


class Frame(NamedTuple):
    """One frame as found in a segment."""

    at: int
    batch: int
    kind: int
    meta: bytes
    length: int
    """Of the body."""
    crc: int

    @property
    def body_at(self) -> int:
        """Where its body lies."""
        return self.at + FRAME_BYTES + len(self.meta)

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.body_at + self.length


class LogSurvey(NamedTuple):
    """The frames of a segment."""

    frames: list[Frame]
    end: int
    """Where they end."""
    torn: int
    """Bytes behind that, of a write that never ended."""


def pack_header(header: RecordHeader) -> bytes:
    """The first bytes of a segment."""
    raw = _HEADER.pack(
        MAGIC, header.kind, VERSION, header.cluster.encode().ljust(16, b"\0"), *header[2:]
    )
    return raw + _CRC.pack(crc32c(raw))


def unpack_header(raw: bytes, path: str) -> RecordHeader | None:
    """The header of a segment, None when it is torn. Raises DataLossError for another version."""
    if len(raw) < HEADER_BYTES or _CRC.unpack_from(raw, _HEADER.size)[0] != crc32c(
        raw[: _HEADER.size]
    ):
        return None
    magic, kind, version, cluster, *numbers = _HEADER.unpack_from(raw)
    if magic != MAGIC or version != VERSION:
        raise DataLossError(
            f"a journal of format version {version}; this memfs reads version {VERSION}", path=path
        )
    try:
        name = cluster.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        raise DataLossError("a journal of no cluster: its header was forged", path=path) from None
    return RecordHeader(kind, name, *numbers)


def pack_frame(
    salt: int, at: int, batch: int, kind: int, meta: bytes, length: int, crc: int
) -> bytes:
    """The head of a frame at position ``at``; its body follows."""
    assert len(meta) <= META_BYTES and batch <= at
    fields = _FRAME.pack(salt, batch, kind, len(meta), length, crc)
    return fields + _CRC.pack(_frame_crc(at, fields, meta)) + meta


def _frame_crc(at: int, fields: bytes, meta: bytes) -> int:
    return crc32c(meta, crc32c(fields, crc32c(_POSITION.pack(at))))


def frame_at(read: Read, salt: int, at: int, end: int) -> Frame | None:
    """The frame that begins at ``at``, its body unchecked; None: there is none."""
    raw = read(at, FRAME_BYTES)
    if len(raw) < FRAME_BYTES:
        return None
    found, batch, kind, meta_length, length, crc = _FRAME.unpack_from(raw)
    if found != salt or meta_length > META_BYTES or not HEADER_BYTES <= batch <= at:
        return None
    meta = read(at + FRAME_BYTES, meta_length)
    if _CRC.unpack_from(raw, _FRAME.size)[0] != _frame_crc(at, raw[: _FRAME.size], meta):
        return None
    frame = Frame(at, batch, kind, meta, length, crc)
    return frame if frame.end <= end else None


def intact(read: Read, frame: Frame) -> bool:
    """Whether the body of a frame matches its checksum."""
    crc, at = 0, frame.body_at
    while at < frame.end:
        data = read(at, min(MIB, frame.end - at))
        if not data:
            return False
        crc, at = crc32c(data, crc), at + len(data)
    return crc == frame.crc


def survey(
    read: Read, size: int, header: RecordHeader, path: str, *, end: int | None, bodies: bool
) -> LogSurvey:
    """All frames of a segment, in order.

    ``end``: where this segment ends according to the header of the next one; None for the last
    segment, whose last batch may be torn. ``bodies``: verify all bodies and stop at the first bad
    one; otherwise verify those of the last batch only. Raises DataLossError for damage.
    """
    stop = size if end is None else end
    frames, broken = _chain(read, header.salt, stop, bodies)
    if end is not None:
        if broken < end:
            raise _damaged(path, broken)
        return LogSurvey(frames, end, 0)
    if not bodies:
        frames = _check_last_batch(read, frames)
    if broken < size and _continues(read, header.salt, broken, size):
        raise _damaged(path, broken)
    return LogSurvey(frames, broken, size - broken)


def _chain(read: Read, salt: int, stop: int, bodies: bool) -> tuple[list[Frame], int]:
    """Frames up to the first incomplete one, and its position."""
    frames: list[Frame] = []
    at = HEADER_BYTES
    while at < stop:
        frame = frame_at(read, salt, at, stop)
        if frame is None or (bodies and not intact(read, frame)):
            return frames, at
        frames.append(frame)
        at = frame.end
    return frames, at


def _check_last_batch(read: Read, frames: list[Frame]) -> list[Frame]:
    """Drop the frames of the last batch whose bodies do not match.

    Only those: the batch may have been synced with one body that changed while it was written,
    since its version had been discarded; the other frames are valid.
    """
    last = frames[-1].batch if frames else 0
    return [frame for frame in frames if frame.batch != last or intact(read, frame)]


def _continues(read: Read, salt: int, broken: int, size: int) -> bool:
    """Whether an intact frame of a later batch follows: then what is broken had been synced."""
    return any(
        frame.batch > broken and intact(read, frame)
        for frame in frames_behind(read, salt, broken, size)
    )


def frames_behind(read: Read, salt: int, after: int, size: int) -> Iterator[Frame]:
    """Everything behind a position that looks like a frame of the segment."""
    mark = _SALT.pack(salt)
    at = after + 1
    while at < size:
        window = read(at, MIB)
        found = window.find(mark)
        while found >= 0:
            frame = frame_at(read, salt, at + found, size)
            if frame is not None:
                yield frame
            found = window.find(mark, found + 1)
        if len(window) < MIB:
            return
        at += len(window) - len(mark) + 1


def _damaged(path: str, at: int) -> DataLossError:
    return DataLossError(
        f"the journal is damaged at byte {at}: restore the file from a copy, or move the journal "
        "directory away and start without it, so that the cluster heals from the other nodes",
        path=path,
    )
