"""Access control lists as the kernel carries them: ``system.posix_acl_access`` and ``..._default``.

Owns the bytes of these extended attributes (``linux/posix_acl_xattr.h``) and what setting or
removing one means for the cluster's list, which has entries by name where the kernel has numbers.
Pure: the caller passes the functions from names to numbers and back.

::

    blob  = version 2 (4 bytes) | entry | entry | ...
    entry = tag (2 bytes) | rwx bits (2) | number of a user or group, all ones: none (4)

Integers are little-endian. Entries come in the order of their tags, those of one tag by number.

What a mount does (FUSE_POSIX_ACL negotiated, so that the kernel decides by the list, too):

* getxattr: :func:`encode` of what ``GetAcl`` answers; None becomes ENODATA.
* setxattr, removexattr: :func:`replacement` says which entries are set instead.
* listxattr: both names where ``Attributes.acl`` says that there is a list, as far as
  :func:`encode` is not None.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable
from typing import Final

from memfs.errors import InvalidArgumentError, UnsupportedError
from memfs.types import AclEntry, AclKind

ACCESS: Final = "system.posix_acl_access"
DEFAULT: Final = "system.posix_acl_default"
NAMES: Final = (ACCESS, DEFAULT)

_VERSION: Final = 2
_HEAD: Final = struct.Struct("<I")
_ENTRY: Final = struct.Struct("<HHI")
_NO_NUMBER: Final = (1 << 32) - 1
_BITS: Final = 7


class Tag(enum.IntEnum):
    """``e_tag`` of an entry."""

    USER_OBJ = 0x01
    USER = 0x02
    GROUP_OBJ = 0x04
    GROUP = 0x08
    MASK = 0x10
    OTHER = 0x20


_TAGS: Final = {
    (AclKind.USER, False): Tag.USER_OBJ,
    (AclKind.USER, True): Tag.USER,
    (AclKind.GROUP, False): Tag.GROUP_OBJ,
    (AclKind.GROUP, True): Tag.GROUP,
    (AclKind.MASK, False): Tag.MASK,
    (AclKind.OTHER, False): Tag.OTHER,
}
"""By kind, and whether it is about somebody by name."""
_KINDS: Final = {tag: kind for kind, tag in _TAGS.items()}

Number = Callable[[str], int]
"""The number of a user's or group's name."""
Name = Callable[[int], str]
"""The name of a number."""


def encode(entries: Iterable[AclEntry], name: str, uid: Number, gid: Number) -> bytes | None:
    """The blob of attribute ``name`` of a list; None: it has none.

    That is so of an access list which says no more than the mode bits, and of no default list.
    """
    chosen = [entry for entry in entries if entry.default == (name == DEFAULT)]
    if not chosen or (name == ACCESS and not _is_extended(chosen)):
        return None
    rows = []
    for entry in chosen:
        number = _NO_NUMBER
        if entry.name:
            number = (uid if entry.kind == AclKind.USER else gid)(entry.name)
        rows.append((_TAGS[AclKind(entry.kind), bool(entry.name)], entry.permission, number))
    rows.sort(key=lambda row: (row[0], row[2]))
    return _HEAD.pack(_VERSION) + b"".join(_ENTRY.pack(*row) for row in rows)


def decode(blob: bytes, name: str, user: Name, group: Name) -> tuple[AclEntry, ...]:
    """The entries of a blob of attribute ``name``. Raises InvalidArgumentError, UnsupportedError.

    The cluster checks whether they make a valid list together.
    """
    if len(blob) < _HEAD.size or (len(blob) - _HEAD.size) % _ENTRY.size:
        raise InvalidArgumentError("an access control list of the wrong length")
    if _HEAD.unpack_from(blob)[0] != _VERSION:
        raise UnsupportedError("an access control list of another version")
    found = []
    for tag, bits, number in _ENTRY.iter_unpack(blob[_HEAD.size :]):
        if tag not in Tag._value2member_map_ or bits & ~_BITS:
            raise InvalidArgumentError("an entry of no known kind, or with no known permissions")
        kind, named = _KINDS[Tag(tag)]
        who = ""
        if named:
            if number == _NO_NUMBER:
                raise InvalidArgumentError("an entry about nobody")
            who = (user if kind == AclKind.USER else group)(number)
        found.append(AclEntry(int(kind), who, bits, name == DEFAULT))
    return tuple(found)


def replacement(
    name: str, blob: bytes | None, mode: int, user: Name, group: Name
) -> tuple[AclEntry, ...]:
    """The entries to set when attribute ``name`` is set, or removed (None).

    No entries: the default list is removed. ``mode``: the inode's mode bits now, which stay as they
    are when its access list goes. Raises as :func:`decode`.
    """
    entries = decode(blob, name, user, group) if blob is not None else ()
    if not entries and name == ACCESS:
        kinds = ((AclKind.USER, 6), (AclKind.GROUP, 3), (AclKind.OTHER, 0))
        entries = tuple(AclEntry(int(kind), "", mode >> shift & _BITS) for kind, shift in kinds)
    return entries


def _is_extended(entries: list[AclEntry]) -> bool:
    return any(entry.name or entry.kind == AclKind.MASK for entry in entries)
