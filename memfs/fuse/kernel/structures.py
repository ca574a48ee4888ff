"""How a record of the kernel's protocol lies in memory, and those that many messages share."""

from __future__ import annotations

import struct
from typing import Generic, NamedTuple, TypeVar

from memfs.types import Buffer

R = TypeVar("R", bound=NamedTuple)


class Structure(Generic[R]):
    """How a record lies in memory. ``c_name`` is its name in the header."""

    __slots__ = ("_struct", "c_name", "code", "record", "size")

    def __init__(self, c_name: str, record: type[R], code: str) -> None:
        """``code``: as of ``struct``, padding written out."""
        self.c_name = c_name
        self.record = record
        self.code = code
        self._struct = struct.Struct("=" + code)
        self.size = self._struct.size

    def unpack(self, raw: Buffer, offset: int = 0) -> R:
        """The record that begins at ``offset``. Raises struct.error when there are fewer bytes."""
        return self.record._make(self._struct.unpack_from(raw, offset))

    def pack(self, *values: object) -> bytes:
        """The bytes of a record with these values."""
        return self._struct.pack(*values)


# --- headers -----------------------------------------------------------------------------------


class InHeader(NamedTuple):
    """What every request begins with."""

    len: int
    opcode: int
    unique: int
    nodeid: int
    uid: int
    gid: int
    pid: int
    total_extlen: int
    """Of extensions at the end, in units of eight bytes."""


IN_HEADER = Structure("fuse_in_header", InHeader, "IIQQIIIH2x")


class OutHeader(NamedTuple):
    """What every reply begins with; a notification has no ``unique`` and its code as ``error``."""

    len: int
    error: int
    """0, or an errno below zero."""
    unique: int


OUT_HEADER = Structure("fuse_out_header", OutHeader, "IiQ")


class ExtHeader(NamedTuple):
    """What each extension of a request begins with."""

    size: int
    type: int


EXT_HEADER = Structure("fuse_ext_header", ExtHeader, "II")


# --- parts -------------------------------------------------------------------------------------


class Attr(NamedTuple):
    """What ``stat`` shows."""

    ino: int
    size: int
    blocks: int
    """Of 512 bytes."""
    atime: int
    mtime: int
    ctime: int
    atimensec: int
    mtimensec: int
    ctimensec: int
    mode: int
    """Type and permission bits."""
    nlink: int
    uid: int
    gid: int
    rdev: int
    blksize: int
    flags: int


ATTR = Structure("fuse_attr", Attr, "QQQQQQIIIIIIIIII")


class RangeLock(NamedTuple):
    """A byte-range lock; ``end`` is its last byte."""

    start: int
    end: int
    type: int
    """F_RDLCK, F_WRLCK or F_UNLCK."""
    pid: int


FILE_LOCK = Structure("fuse_file_lock", RangeLock, "QQII")
