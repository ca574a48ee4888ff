"""Attributes of the cluster in the kernel's form. Pure but for the names of users.

Owns which numbers a program sees in ``stat``: times to the nanosecond, blocks of 512 bytes, users
by number.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from itertools import islice
from typing import Final

from memfs import limits
from memfs.fuse.kernel.protocol import ATTR, ATTR_OUT, ENTRY_OUT
from memfs.fuse.numbers import Numbers
from memfs.types import Attributes, FileKind

TYPE_BITS: Final[dict[int, int]] = {kind: kind.type_bits for kind in FileKind}
PREFERRED_BYTES: Final = 128 * limits.KIB
"""The preferred size of reads and writes (st_blksize): each request of the kernel costs a
wake-up."""
REMEMBERED: Final = 65_536
DROPPED: Final = REMEMBERED // 16
"""... of which so many are forgotten at once."""
DIRECTORY_BYTES: Final = 4096
_SECTOR: Final = 512
_BILLION: Final = 1_000_000_000

_ENTRY: Final = struct.Struct("=" + ENTRY_OUT.code + ATTR.code)
_ATTRIBUTES: Final = struct.Struct("=" + ATTR_OUT.code + ATTR.code)


class Validity:
    """How long the kernel may believe something, in seconds: whole ones, and nanoseconds."""

    __slots__ = ("nanoseconds", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds, self.nanoseconds = divmod(int(seconds * _BILLION), _BILLION)


NEVER: Final = Validity(0)


class Shapes:
    """How one mount shows attributes."""

    def __init__(
        self,
        numbers: Numbers,
        attributes: Validity,
        entries: Validity,
        withheld: Collection[int] = (),
    ) -> None:
        """``attributes`` and ``entries``: where nothing else is said; ``withheld``: inodes of which
        no attributes may be believed."""
        self._numbers = numbers
        self._withheld = withheld
        self.attributes = attributes
        self.entries = entries
        self.has_list: dict[int, bool] = {}
        """Whether inodes have an access control list, as last shown; the least recently shown
        first."""

    def _fields(self, found: Attributes) -> tuple[int, ...]:
        kind = found.kind
        if self.has_list.get(found.inode) is not found.acl:
            self._remember(found)
        accessed, accessed_ns = divmod(found.accessed_ns, _BILLION)
        modified, modified_ns = divmod(found.modified_ns, _BILLION)
        changed, changed_ns = divmod(found.changed_ns, _BILLION)
        size = DIRECTORY_BYTES if kind == FileKind.DIRECTORY else found.size
        return (
            found.inode,
            size,
            -(-size // _SECTOR),
            accessed & _U64,
            modified & _U64,
            changed & _U64,
            accessed_ns,
            modified_ns,
            changed_ns,
            TYPE_BITS[kind] | found.mode,
            found.links,
            self._numbers.uid(found.owner),
            self._numbers.gid(found.group),
            found.device,
            PREFERRED_BYTES,
            0,
        )

    def _remember(self, found: Attributes) -> None:
        """Whether it has an access control list."""
        self.has_list.pop(found.inode, None)
        self.has_list[found.inode] = found.acl
        if len(self.has_list) > REMEMBERED:
            for inode in list(islice(self.has_list, DROPPED)):
                del self.has_list[inode]

    def attr(self, found: Attributes, validity: Validity | None = None) -> bytes:
        """The reply to GETATTR and SETATTR."""
        valid = self.attributes if validity is None else validity
        if found.inode in self._withheld:
            valid = NEVER
        return _ATTRIBUTES.pack(valid.seconds, valid.nanoseconds, *self._fields(found))

    def entry(
        self,
        node: int,
        found: Attributes,
        validity: Validity | None = None,
        named: Validity | None = None,
    ) -> bytes:
        """The reply to LOOKUP and to what makes a name; ``validity``: of the attributes, ``named``:
        of the name."""
        valid = self.attributes if validity is None else validity
        if found.inode in self._withheld:
            valid = NEVER
        entries = self.entries if named is None else named
        return _ENTRY.pack(
            node,
            0,  # inode ids are never used again
            entries.seconds,
            valid.seconds,
            entries.nanoseconds,
            valid.nanoseconds,
            *self._fields(found),
        )

    def absent(self, validity: Validity) -> bytes:
        """The reply to LOOKUP that lets the kernel remember that there is no such name."""
        return _ENTRY.pack(
            0, 0, validity.seconds, 0, validity.nanoseconds, 0, *([0] * len(ATTR.record._fields))
        )


_U64: Final = (1 << 64) - 1
