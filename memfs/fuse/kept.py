"""What programs have written and the cluster may not have yet, in memory that outlives the worker.

Owns the memory that writes are received into, and how long their bytes stay: until nobody sends
them any more, and until what they changed is published. The next worker finds them here and writes
them again. Must not know the cluster or the kernel's protocol. Invariant: what the cluster has of a
file, and the kept writes of it in their order on top of that, are what programs have written. So
the writes of a file are forgotten in their order, and a worker may be killed between any two
instructions: a row counts by its last field, which is written last.

Writes are received one behind the other into segments; a segment is used again when nobody needs
a write of it. What finds no room is received elsewhere, and published before it is answered.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Final, NamedTuple

from memfs import limits

ROOM_BYTES: Final = limits.MIB
"""Most bytes of one write."""
SEGMENT_BYTES: Final = 4 * limits.MIB
SEGMENTS: Final = 64
"""256 MiB: what eight files have on their way to nodes when all are written at full speed."""
PRESSED_SEGMENTS: Final = 8
"""In use, from which on files are published to make room: a writer that nodes keep up with has less
on its way, and memory that is used again soon is still in the processor's cache."""
WARM_SEGMENTS: Final = 32
"""Free ones that keep their memory; that of others goes back to the machine."""
ROWS: Final = 64 * 1024
"""Writes that can be kept at a time."""
PRESSED_ROWS: Final = ROWS // 2
SPARE_ROOMS: Final = 8
"""Kept for writes that find no room."""
_PAGE: Final = mmap.PAGESIZE
_LINE: Final = 64
_NUMBER_BYTES: Final = 8
_FIELDS: Final = struct.Struct("@4Q")
"""Inode, offset in the file, offset in the memory, and in one number, which changes as one, the
length and above it the request; their order is behind them."""
_ROW_NUMBERS: Final = 5
_EXTENT: Final = 3
_ORDER: Final = 4
_LENGTH_BITS: Final = SEGMENT_BYTES.bit_length()
_REQUESTS: Final = (1 << 64 - _LENGTH_BITS) - 1
"""Bits of a request's number that tell it from others: 2 ** 40 requests of one mount."""
_UNUSED: Final = 64
"""So many rows that nobody ever used are the last ones, see :mod:`memfs.fuse.ledger`."""
_SEGMENTS_AT: Final = -(-ROWS * _ROW_NUMBERS * _NUMBER_BYTES // _PAGE) * _PAGE
SIZE: Final = _SEGMENTS_AT + SEGMENTS * SEGMENT_BYTES
"""Bytes, of which those are in memory that were used lately."""


class KeptWrite(NamedTuple):
    """A write that a former worker has noted."""

    offset: int
    """In the file."""
    data: memoryview


class _Noted:
    """A write that is kept, or several, each behind the one before in the file and here."""

    __slots__ = ("answered", "end", "inode", "offset", "order", "position", "row")

    def __init__(
        self, row: int, inode: int, offset: int, end: int, position: int, order: int
    ) -> None:
        self.row = row
        self.inode = inode
        self.offset = offset
        self.end = end
        self.position = position
        self.order = order
        self.answered = False
        """Who asked knows that it is done: the kernel does not ask for it again."""


class Payload:
    """The bytes of a write, in memory that is lent until :meth:`give_back`."""

    __slots__ = (
        "_kept",
        "_memory",
        "data",
        "extends",
        "length",
        "lent",
        "noted",
        "position",
        "request",
        "segment",
    )

    def __init__(
        self, kept: KeptWrites, memory: memoryview, length: int, segment: int, position: int
    ) -> None:
        self._kept = kept
        self._memory = memory
        self.data = memory[:length]
        self.length = length
        self.segment = segment
        """None's: -1."""
        self.position = position
        self.request = 0
        """The kernel's number for it."""
        self.noted: _Noted | None = None
        self.extends = False
        """It was noted with the one before."""
        self.lent = False
        """The handler gives it back, however the request ends."""

    def lend(self) -> Callable[[], None]:
        """Keep the bytes valid after the request, until the returned function is called."""
        self.lent = True
        return self.give_back

    def give_back(self) -> None:
        """Nobody refers to the bytes any more; a request that has not lent them is answered."""
        self.data.release()
        self._kept._given_back(self, self._memory)


class KeptWrites:
    """The writes of one mount, of all its workers in turn."""

    def __init__(self, memory: mmap.mmap, start: int = 0) -> None:
        """``memory``: SIZE bytes from ``start`` on, zeros at first."""
        self._mapped = memory
        self._start = start
        self._memory = memoryview(memory)[start : start + SIZE]
        self._rows = self._memory[:_SEGMENTS_AT].cast("Q")
        self._free_rows: list[int] = []
        self._used_rows = 0
        """Rows that are, or were, in use: all others are behind them."""
        self._order = 1
        self._of: dict[int, deque[_Noted]] = {}
        """Of an inode, in their order."""
        self._published: dict[int, int] = {}
        """Up to which of them all are published."""
        self._done: dict[int, _Noted] = {}
        """What former workers have noted, by its request: the kernel may ask for it again."""
        self._users = [0] * SEGMENTS
        """Who needs a segment: writes that are lent or kept."""
        self.pressed: Callable[[], None] = _nothing
        """Called when much is kept, to have files published."""
        self._load()
        self._lost = set(self._of)
        """Inodes of which another worker has what is kept only here."""
        self._free = [each for each in reversed(range(SEGMENTS)) if not self._users[each]]
        self._cold = set(self._free)
        """Segments without memory."""
        self._segment = -1
        """That is received into..."""
        self._at = SEGMENT_BYTES
        """... from here on."""
        self._room: memoryview | None = None
        self._spare: list[memoryview] = []

    @classmethod
    def alone(cls) -> KeptWrites:
        """Of a worker that has no successor."""
        return cls(mmap.mmap(-1, SIZE))

    # --- receiving ----------------------------------------------------------------------------

    def room(self) -> memoryview:
        """Where to receive the next write: ROOM_BYTES at least."""
        if self._room is None:
            self._room = self._find_room()
        return self._room

    def _find_room(self) -> memoryview:
        if self._at + ROOM_BYTES > SEGMENT_BYTES and not self._begin_segment():
            return self._spare.pop() if self._spare else memoryview(mmap.mmap(-1, ROOM_BYTES))
        at = _SEGMENTS_AT + self._segment * SEGMENT_BYTES
        return self._memory[at + self._at : at + SEGMENT_BYTES]

    def _begin_segment(self) -> bool:
        """Receive into another segment; False: all are in use."""
        full, self._segment, self._at = self._segment, -1, SEGMENT_BYTES
        if full >= 0 and not self._users[full]:
            self._free.append(full)
        if SEGMENTS - len(self._free) >= PRESSED_SEGMENTS:
            self.pressed()
        if not self._free:
            return False
        self._segment, self._at = self._free.pop(), 0
        self._cold.discard(self._segment)
        return True

    def take(self, length: int) -> Payload:
        """A write was received where :meth:`room` has said."""
        room, self._room = self.room(), None
        if self._segment < 0:
            return Payload(self, room, length, -1, 0)
        self._users[self._segment] += 1
        at, self._at = self._at, self._at + length
        # Large ones begin with a page: the kernel copies page by page.
        self._at += -self._at % (_PAGE if length >= _PAGE else _LINE)
        position = self._segment * SEGMENT_BYTES + at
        return Payload(self, room, length, self._segment, position)

    def received(self, data: bytes) -> Payload:
        """As :meth:`take`, of what came some other way."""
        self.room()[: len(data)] = data
        return self.take(len(data))

    def _given_back(self, payload: Payload, memory: memoryview) -> None:
        noted = payload.noted
        if noted is not None and not payload.lent:
            noted.answered = True
            self._forget_published(noted.inode)
        if payload.segment >= 0:
            self._leave(payload.segment)
        elif len(self._spare) < SPARE_ROOMS:
            self._spare.append(memory)

    def _leave(self, segment: int) -> None:
        """Somebody needs a segment no more."""
        self._users[segment] -= 1
        if self._users[segment]:
            return
        if segment == self._segment:
            self._at, self._room = 0, None
            return
        self._free.append(segment)
        if len(self._free) - len(self._cold) > WARM_SEGMENTS:
            coldest = next(each for each in self._free if each not in self._cold)
            self._cold.add(coldest)
            at = self._start + _SEGMENTS_AT + coldest * SEGMENT_BYTES
            with contextlib.suppress(OSError):  # it stays in memory, then
                self._mapped.madvise(mmap.MADV_REMOVE, at, SEGMENT_BYTES)

    # --- keeping ------------------------------------------------------------------------------

    def can_keep(self, payload: Payload) -> bool:
        """Whether :meth:`note` can keep it; otherwise it has to be published before the answer."""
        return payload.segment >= 0 and (bool(self._free_rows) or self._used_rows < ROWS)

    def note(self, payload: Payload, inode: int, offset: int, *, answered: bool = False) -> None:
        """Keep a write for the next worker. ``answered``: nothing is waited for before that."""
        queue = self._of.get(inode)
        if answered and queue is not None and self._extend(queue[-1], payload, offset):
            return
        if self._free_rows:
            row = self._free_rows.pop()
        else:
            row = self._used_rows
            self._used_rows += 1
        if self._rows_in_use >= PRESSED_ROWS:
            self.pressed()
        order = self._order
        self._order = order + 1
        length, position = payload.length, payload.position
        at = row * _ROW_NUMBERS
        extent = length | (payload.request >> 1 & _REQUESTS) << _LENGTH_BITS
        _FIELDS.pack_into(self._memory, at * _NUMBER_BYTES, inode, offset, position, extent)
        self._rows[at + _ORDER] = order
        noted = _Noted(row, inode, offset, offset + length, position, order)
        noted.answered = answered
        payload.noted = noted
        self._users[payload.segment] += 1
        if queue is None:
            queue = self._of[inode] = deque()
        queue.append(noted)

    def _extend(self, last: _Noted, payload: Payload, offset: int) -> bool:
        """Note a write with the one before, if it is behind that in the file and here."""
        length = last.end - last.offset
        if (
            offset != last.end
            or payload.position != last.position + length
            or not last.answered
            or not payload.position % SEGMENT_BYTES
            or last.order < self._published.get(last.inode, 0)
        ):
            return False
        payload.noted, payload.extends = last, True
        last.end += payload.length
        self._rows[last.row * _ROW_NUMBERS + _EXTENT] = (
            length + payload.length | (payload.request >> 1 & _REQUESTS) << _LENGTH_BITS
        )
        return True

    def take_back(self, payload: Payload) -> None:
        """A write that was noted has failed."""
        noted, payload.noted = payload.noted, None
        queue = self._of.get(noted.inode) if noted is not None else None
        if noted is None or queue is None:
            return
        if payload.extends:  # the request before it was answered
            noted.end -= payload.length
            self._rows[noted.row * _ROW_NUMBERS + _EXTENT] = noted.end - noted.offset
            return
        if queue[-1] is noted:
            queue.pop()
        else:
            queue.remove(noted)
        self._drop(noted)
        self._forget_published(noted.inode)

    def publish(self, inode: int, block_size: int, pending: Collection[int]) -> None:
        """Others see what was written to a file, but for blocks that are ``pending``."""
        queue = self._of.get(inode)
        if queue is None or inode in self._lost:
            return
        until = self._order
        if pending:
            for each in queue:
                first, last = each.offset // block_size, (each.end - 1) // block_size
                if first in pending or any(block in pending for block in range(first, last + 1)):
                    until = each.order
                    break
        self._published[inode] = until
        self._forget_published(inode)

    def forget(self, inode: int) -> None:
        """All that was written to a file is published, or lost, and somebody was told."""
        self._lost.discard(inode)
        self.publish(inode, 1, ())

    def _forget_published(self, inode: int) -> None:
        queue = self._of.get(inode)
        if queue is None:
            return
        until = self._published.get(inode, 0)
        while queue and queue[0].answered and queue[0].order < until:
            self._drop(queue.popleft())
        if not queue:
            del self._of[inode]
            self._published.pop(inode, None)

    def _drop(self, noted: _Noted) -> None:
        self._rows[noted.row * _ROW_NUMBERS + _ORDER] = 0
        self._free_rows.append(noted.row)
        self._leave(noted.position // SEGMENT_BYTES)

    # --- making room --------------------------------------------------------------------------

    @property
    def much(self) -> bool:
        """Whether files should be published to make room."""
        return SEGMENTS - len(self._free) >= PRESSED_SEGMENTS or self._rows_in_use >= PRESSED_ROWS

    @property
    def short(self) -> bool:
        """Whether there is little room left."""
        return 2 * len(self._free) < SEGMENTS or self._rows_in_use >= PRESSED_ROWS

    @property
    def _rows_in_use(self) -> int:
        return self._used_rows - len(self._free_rows)

    def oldest(self) -> list[int]:
        """Files that have kept writes, the one with the oldest first."""
        return sorted(self._of, key=lambda inode: self._of[inode][0].order)

    # --- from one worker to the next ----------------------------------------------------------

    def _load(self) -> None:
        found = []
        unused = 0
        free = []
        for row in range(ROWS):
            at = row * _ROW_NUMBERS
            fields = self._rows[at : at + _ROW_NUMBERS].tolist()
            unused = 0 if any(fields) else unused + 1
            if unused == _UNUSED:
                break
            if fields[-1]:
                found.append((fields[-1], row, fields))
                self._used_rows = row + 1
            else:
                free.append(row)
        self._free_rows = [row for row in reversed(free) if row < self._used_rows]
        for order, row, (inode, offset, position, extent, _) in sorted(found):
            end = offset + (extent & (1 << _LENGTH_BITS) - 1)
            noted = _Noted(row, inode, offset, end, position, order)
            self._users[position // SEGMENT_BYTES] += 1
            self._of.setdefault(inode, deque()).append(noted)
            self._done[extent >> _LENGTH_BITS] = noted
            self._order = order + 1

    @property
    def left(self) -> list[int]:
        """Files with writes that a former worker has left, and of which :meth:`forget` was not
        called since."""
        return sorted(self._lost)

    def writes(self, inode: int) -> Iterator[KeptWrite]:
        """What is kept of a file, in its order."""
        for each in list(self._of.get(inode, ())):
            at = _SEGMENTS_AT + each.position
            yield KeptWrite(each.offset, self._memory[at : at + each.end - each.offset])

    def was_noted(self, request: int) -> bool:
        """Whether a former worker has noted this request, which the kernel repeats."""
        return request >> 1 & _REQUESTS in self._done

    def all_repeated(self) -> None:
        """The kernel has repeated what it repeats: what else was noted is answered."""
        if self._done:
            done, self._done = self._done, {}
            for noted in done.values():
                noted.answered = True
            for inode in {each.inode for each in done.values()}:
                self._forget_published(inode)


def _nothing() -> None:
    """Nobody makes room."""
