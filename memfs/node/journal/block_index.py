"""Where on disk the bytes of each block version are, and which segments are still needed.

Owns the index of copies and their parts, and counts each segment's live bytes. Pure: no I/O.
Invariant: a part is held by every copy that consists of it and by every extension under way; a
segment is needed while a part of it is held.
"""

from __future__ import annotations

from collections.abc import Iterator

from memfs.node.journal.block_frames import Shape
from memfs.node.journal.segment_format import FRAME_BYTES
from memfs.node.journal.series import LogSegment
from memfs.protocol.messages import BlockVersion

OVERHEAD = FRAME_BYTES + 44
"""Bytes of a frame beside its body."""


class IndexPart:
    """The body of one frame."""

    __slots__ = ("at", "holders", "length", "segment")

    def __init__(self, segment: LogSegment, at: int, length: int) -> None:
        self.segment = segment
        self.at = at
        self.length = length
        self.holders = 0


class JournaledCopy:
    """The journal's index entry of one block version."""

    __slots__ = ("alive", "parts", "shape", "version")

    def __init__(self, version: BlockVersion, shape: Shape) -> None:
        self.version = version
        self.shape = shape
        self.parts: tuple[IndexPart, ...] = ()
        """In order; empty while it is not on the disk."""
        self.alive = True
        """The node holds it."""


class JournaledBlocks:
    """The index of journaled versions, and the live bytes of each segment."""

    def __init__(self) -> None:
        self.copies: dict[BlockVersion, JournaledCopy] = {}
        self.live_bytes = 0
        """Of all segments."""
        self._users: dict[LogSegment, dict[JournaledCopy, None]] = {}
        self._live: dict[LogSegment, int] = {}

    def add(self, copy: JournaledCopy) -> None:
        """Add a version that is queued but not written yet."""
        self.copies[copy.version] = copy

    def place(self, copy: JournaledCopy, parts: tuple[IndexPart, ...]) -> None:
        """Record where the version is on disk, replacing its former place if it had one."""
        self.hold(parts)
        before, copy.parts = copy.parts, parts
        for part in before:
            self._users[part.segment].pop(copy, None)
        for part in parts:
            self._users[part.segment][copy] = None
        self.release(before)

    def drop(self, version: BlockVersion) -> JournaledCopy | None:
        """Remove a version that the node no longer holds."""
        copy = self.copies.pop(version, None)
        if copy is not None:
            copy.alive = False
            for part in copy.parts:
                self._users[part.segment].pop(copy, None)
            parts, copy.parts = copy.parts, ()
            self.release(parts)
        return copy

    def hold(self, parts: tuple[IndexPart, ...]) -> None:
        """Add a reference to each part, so that its segment is kept."""
        for part in parts:
            if part.holders == 0:
                self._users.setdefault(part.segment, {})
                self._count(part, 1)
            part.holders += 1

    def release(self, parts: tuple[IndexPart, ...]) -> None:
        """Drop a reference to each part."""
        for part in parts:
            part.holders -= 1
            assert part.holders >= 0, "a part that nobody held"
            if part.holders == 0:
                self._count(part, -1)

    def live(self, segment: LogSegment) -> int:
        """Live bytes of a segment."""
        return self._live.get(segment, 0)

    def users(self, segment: LogSegment) -> list[JournaledCopy]:
        """Copies that have parts in a segment."""
        return list(self._users.get(segment, ()))

    def forget(self, segment: LogSegment) -> None:
        """Remove a segment that was deleted."""
        assert not self.live(segment), "a segment that is needed"
        self._users.pop(segment, None)
        self._live.pop(segment, None)

    def check_invariants(self) -> None:
        """Recount everything. For tests."""
        parts: dict[IndexPart, int] = {}
        for copy in self.copies.values():
            for part in copy.parts:
                parts[part] = parts.get(part, 0) + 1
                assert copy in self._users[part.segment]
        for part, count in parts.items():
            assert part.holders >= count
        assert self.live_bytes == sum(self._live.values())
        assert self.live_bytes >= sum(part.length + OVERHEAD for part in parts)

    def __iter__(self) -> Iterator[JournaledCopy]:
        return iter(self.copies.values())

    def _count(self, part: IndexPart, sign: int) -> None:
        size = sign * (part.length + OVERHEAD)
        self._live[part.segment] = self._live.get(part.segment, 0) + size
        self.live_bytes += size
