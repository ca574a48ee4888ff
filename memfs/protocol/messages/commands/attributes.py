"""Commands on attributes: mode, owner, times, extended attributes, access lists, quotas."""

from __future__ import annotations

import enum
from typing import NamedTuple

from memfs.protocol.messages.reads import LookupReply
from memfs.protocol.messages.registry import Empty, message
from memfs.types import ROOT_INODE, AclEntry, XattrMode


@message(138, command=True)
class SetAttributes(NamedTuple):
    """chmod, chown, utimens, setrep; None leaves a field alone."""

    path: bytes
    mode: int | None = None
    owner: str | None = None
    group: str | None = None
    modified_ns: int | None = None
    accessed_ns: int | None = None
    replication: int | None = None
    now: bool = False
    """Set both times to the primary's time (``touch``): needs write permission only."""
    follow: bool = True
    base: int = ROOT_INODE
    by_writers: bool = False
    """Times may be set by whoever may write the file, as in HDFS, and not by its owner only."""
    modified_now: bool = False
    """Set this time to the primary's (UTIME_NOW of one time only), likewise the next."""
    accessed_now: bool = False

    @staticmethod
    def reply() -> type[LookupReply]:
        return LookupReply


@message(141, command=True)
class SetXattr(NamedTuple):
    """setxattr. Names start with ``user.``, or with ``trusted.`` for the superuser.

    A value that is too long for the record is the payload.
    """

    path: bytes
    name: str
    value: bytes
    mode: int = XattrMode.SET
    follow: bool = True
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(142, command=True)
class RemoveXattr(NamedTuple):
    """removexattr."""

    path: bytes
    name: str
    follow: bool = True
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


class AclChange(enum.IntEnum):
    """What :class:`ChangeAcl` does with the entries given."""

    SET = 0
    """They replace those of their scope (access or default); none: as REMOVE_ALL."""
    MODIFY = 1
    """They are added, or replace those about the same."""
    REMOVE = 2
    """Those about the same are removed, whatever their permissions."""
    REMOVE_DEFAULT = 3
    """The default list is removed."""
    REMOVE_ALL = 4
    """All but what the mode bits say is removed."""


@message(152, command=True)
class ChangeAcl(NamedTuple):
    """setfacl, as HDFS: a mask that is not given is computed anew when entries change."""

    path: bytes
    change: int
    """An :class:`AclChange`."""
    entries: tuple[AclEntry, ...] = ()
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[LookupReply]:
        return LookupReply


@message(153, command=True)
class SetQuota(NamedTuple):
    """Limit what may lie below a directory; superuser. None leaves a quota alone, -1 clears it."""

    path: bytes
    names: int | None = None
    """Names, the directory's own included."""
    space: int | None = None
    """Bytes times wanted replicas."""
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[Empty]:
        return Empty
