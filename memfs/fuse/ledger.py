"""What the next worker of a mount has to know of this one, in memory that outlives it.

Owns the form of that memory: who this mount is to the cluster, what is open, who may hold locks,
and which commands were sent for requests of the kernel that are not answered; what programs have
written lies beside it (:mod:`memfs.fuse.kept`). The keeper holds the
memory, a worker maps it and writes into it before it acts. Must not know the cluster or the
kernel's protocol. Invariant: a worker may be killed between any two instructions. A row counts by
its last field, which is written last; what was noted too early does no harm, what was never noted
the kernel asks for again.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
from collections.abc import Collection
from typing import Final, NamedTuple

from memfs.client.session.held.locks import Holding
from memfs.client.session.request_ids import ERRAND
from memfs.client.session.succession import Former
from memfs.fuse import kept
from memfs.fuse.kept import KeptWrites

log = logging.getLogger(__name__)

ROWS: Final = 64 * 1024
"""Of each kind; of what is beyond the next worker does not hear."""
_NOWHERE: Final = -1
_UNUSED: Final = 64
"""Rows in a row that nobody ever used are the last ones: they are used in order, and a worker that
was killed leaves one empty at most."""
# Native numbers: each is stored at once, so a worker that is killed leaves none half written.
_NUMBER: Final = struct.Struct("@Q")
FORM: Final = 1
"""Of all that follows and of :mod:`memfs.fuse.kept`: another number for each other form, since a
worker may be of a newer release than the keeper and the workers before it."""
_HEAD: Final = struct.Struct("@QQQ")
"""Client, how many workers there were, the next command's request id."""
_HEAD_AT: Final = _NUMBER.size
_NEXT_AT: Final = _HEAD_AT + 2 * _NUMBER.size
_ROWS_AT: Final = 4096
_OPENED: Final = struct.Struct("@QQQ")
_LOCKED: Final = struct.Struct("@QQQQ")
_SENT: Final = struct.Struct("@QQ")
SIZE: Final = _ROWS_AT + ROWS * (_OPENED.size + _LOCKED.size + _SENT.size)
"""Bytes of the notes, of which those are in memory that were ever used."""
_KEPT_AT: Final = -(-SIZE // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
"""Behind them lies what programs have written."""
_BYTES: Final = _KEPT_AT + kept.SIZE


class OpenDescriptor(NamedTuple):
    """An open descriptor."""

    handle: int
    """What the kernel calls it."""
    request: int
    """The request that has opened it."""
    inode: int


class Locked(NamedTuple):
    """An owner who holds locks on a file, or may."""

    owner: int
    kind: int
    handle: int
    """Through which descriptor they were asked for."""
    inode: int


class MountLedger:
    """The notes of one mount, of all its workers in turn."""

    def __init__(self, memory: memoryview, kept: KeptWrites | None = None) -> None:
        """``memory``: SIZE bytes, zeros at first."""
        self._memory = memory
        self.kept = kept or KeptWrites.alone()
        at = _ROWS_AT
        self._opened = _Rows(memory, at, _OPENED, 1)
        at += ROWS * _OPENED.size
        self._locked = _Rows(memory, at, _LOCKED, 4)
        at += ROWS * _LOCKED.size
        self._sent = _Rows(memory, at, _SENT, 1)
        self._of: dict[Holding, set[Locked]] = {}
        """Rows of one owner on one file."""
        for row in self.locked:
            self._of.setdefault(_holding(row), set()).add(row)

    @classmethod
    def of_descriptor(cls, descriptor: int) -> MountLedger:
        """In memory that a keeper has made by :func:`make`; elsewhere if it has another form."""
        if os.fstat(descriptor).st_size == _BYTES:
            mapped = mmap.mmap(descriptor, _BYTES)
            (form,) = _NUMBER.unpack_from(mapped)
            if form in (0, FORM):
                _NUMBER.pack_into(mapped, 0, FORM)
                return cls(memoryview(mapped), KeptWrites(mapped, _KEPT_AT))
        log.warning("another release began this mount: what its workers held is not taken over")
        return cls.alone()

    @classmethod
    def alone(cls) -> MountLedger:
        """Of a worker that has no successor."""
        return cls(memoryview(mmap.mmap(-1, SIZE)))

    # --- from one worker to the next ----------------------------------------------------------

    def former(self) -> Former | None:
        """What the former worker has left, None: there was none."""
        client, turn, next_command = _HEAD.unpack_from(self._memory, _HEAD_AT)
        if not turn:
            return None
        sent = sorted(self._sent.rows(), key=lambda row: row[1])
        return Former(
            client,
            turn,
            next_command,
            tuple(dict.fromkeys(each.inode for each in self.opened)),
            tuple(self._of),
            tuple((key, number) for key, number in sent),
        )

    def begin(self, client: int) -> None:
        """A worker begins, as this client of the cluster."""
        _, turn, next_command = _HEAD.unpack_from(self._memory, _HEAD_AT)
        _HEAD.pack_into(self._memory, _HEAD_AT, client, turn + 1, next_command)

    def clear(self) -> None:
        """Nothing goes on from here."""
        for rows in (self._opened, self._locked, self._sent):
            rows.clear()
        self._of.clear()
        _HEAD.pack_into(self._memory, _HEAD_AT, 0, 0, 0)

    # --- what is open and locked ---------------------------------------------------------------

    @property
    def opened(self) -> list[OpenDescriptor]:
        """Open descriptors."""
        return [OpenDescriptor(*row) for row in self._opened.rows()]

    @property
    def locked(self) -> list[Locked]:
        """Owners of locks."""
        return [Locked(*row) for row in self._locked.rows()]

    @property
    def left_locked(self) -> list[Holding]:
        """Owners of locks whose descriptors are all closed: nobody else will unlock."""
        opened = {each.handle for each in self.opened}
        return [
            where
            for where, rows in self._of.items()
            if opened.isdisjoint(row.handle for row in rows)
        ]

    def open(self, opened: OpenDescriptor) -> None:
        """A descriptor is open once the request is answered."""
        self._opened.put(opened)

    def close(self, handle: int) -> bool:
        """A descriptor is closed; False: it was before."""
        return self._opened.drop((handle,))

    def lock(self, locked: Locked) -> None:
        """Somebody asks for a lock."""
        self._locked.put(locked)
        self._of.setdefault(_holding(locked), set()).add(locked)

    def unlock(self, inode: int, owner: int, kind: int) -> None:
        """Somebody holds none there."""
        for row in self._of.pop(Holding(inode, kind, owner), ()):
            self._locked.drop(row)

    # --- commands ------------------------------------------------------------------------------

    def note(self, number: int) -> None:
        """A command is about to be sent, under this request id."""
        _NUMBER.pack_into(self._memory, _NEXT_AT, number + 1)
        errand = ERRAND.get()
        if errand is not None and not errand.sent:
            errand.sent = True
            self._sent.put((errand.key, number))

    def answered(self, request: int) -> None:
        """A request of the kernel is answered, or nothing was done for it."""
        self._sent.drop((request,))

    def keep_sent(self, requests: Collection[int]) -> None:
        """Only for these requests of the kernel something was done."""
        for request, _ in self._sent.rows():
            if request not in requests:
                self.answered(request)


class _Rows:
    """Rows of one form; their first fields, as many as ``keys``, tell them apart."""

    def __init__(self, memory: memoryview, start: int, shape: struct.Struct, keys: int) -> None:
        self._memory = memory
        self._start = start
        self._shape = shape
        self._keys = keys
        self._at: dict[tuple[int, ...], int] = {}
        """_NOWHERE: there was no room for it."""
        self._free: list[int] = []
        self._used = 0
        """Rows that are, or were, in use: all others are behind them."""
        self._load()

    def _load(self) -> None:
        unused = 0
        for number in range(ROWS):
            fields = self._shape.unpack_from(self._memory, self._start + number * self._shape.size)
            unused = 0 if any(fields) else unused + 1
            if unused == _UNUSED:
                break
            if fields[-1]:
                self._at[fields[: self._keys]] = number
        self._used = max(self._at.values(), default=-1) + 1
        self._free = sorted(set(range(self._used)) - set(self._at.values()), reverse=True)

    def rows(self) -> list[tuple[int, ...]]:
        """All fields of all rows in use."""
        size = self._shape.size
        return [
            self._shape.unpack_from(self._memory, self._start + number * size)
            for number in self._at.values()
            if number != _NOWHERE
        ]

    def put(self, fields: tuple[int, ...]) -> None:
        """Add a row, or replace the one with the same key."""
        key = fields[: self._keys]
        number = self._at.get(key)
        if number is None:
            number = self._free.pop() if self._free else self._used
            if number >= ROWS:
                log.warning("more is open or locked than another worker could be told")
                self._at[key] = _NOWHERE
                return
            self._used = max(self._used, number + 1)
            self._at[key] = number
        if number == _NOWHERE:
            return
        self._shape.pack_into(self._memory, self._start + number * self._shape.size, *fields)

    def drop(self, key: tuple[int, ...]) -> bool:
        """Remove a row; False: there is none with that key."""
        number = self._at.pop(key, None)
        if number is None or number == _NOWHERE:
            return number is not None
        last = self._start + (number + 1) * self._shape.size - _NUMBER.size
        _NUMBER.pack_into(self._memory, last, 0)
        self._free.append(number)
        return True

    def clear(self) -> None:
        """Remove all."""
        for key in list(self._at):
            self.drop(key)


def _holding(row: Locked) -> Holding:
    return Holding(row.inode, row.kind, row.owner)


def make() -> int:
    """Memory for a ledger; its descriptor."""
    descriptor = os.memfd_create("memfs-mount", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, _BYTES)
    return descriptor
