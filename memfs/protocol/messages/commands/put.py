"""Commands that publish whole small files, many at once, and reserve inode ids for them."""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.registry import Empty, message
from memfs.types import Attributes, BlockRef


class NewFile(NamedTuple):
    """A small file, its blocks written already under a reserved inode."""

    path: bytes
    inode: int
    size: int
    blocks: tuple[BlockRef, ...]
    mode: int = 0o644
    exclusive: bool = False
    parents: bool = False
    replication: int = 0
    block_size: int = 0
    group_blocks: int = 0
    unmasked: int | None = None
    """As of :class:`Create`."""


class PutResult(NamedTuple):
    """Outcome for one file of a :class:`PutFiles`."""

    code: int
    message: str
    attributes: Attributes | None = None
    replaced: int = 0
    """The inode that the name meant before; 0: there was none, or it is not told."""


class PutFilesReply(NamedTuple):
    """Outcomes in order."""

    results: tuple[PutResult, ...]


@message(132, command=True)
class PutFiles(NamedTuple):
    """Publish whole files; each atomically replaces what its name held (as rename would).

    A replaced file hands on its owner, group, mode, access list and extended attributes.
    """

    files: tuple[NewFile, ...]

    @staticmethod
    def reply() -> type[PutFilesReply]:
        return PutFilesReply


class ReserveReply(NamedTuple):
    """Inode ids for :class:`PutFiles`, the session's until used or expired."""

    inodes: tuple[int, ...]
    capability: bytes = b""
    """For writing them."""


@message(133, command=True)
class ReserveInodes(NamedTuple):
    """Reserve up to ``limits.INODES_PER_RESERVATION`` inode ids."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which no record needs

    @staticmethod
    def reply() -> type[ReserveReply]:
        return ReserveReply


@message(147, command=True)
class ReleaseInodes(NamedTuple):
    """Give reserved inode ids back: what was written under them can never become a file.

    Ids that are not reserved by the session (any more), say since they were published, are left.
    """

    inodes: tuple[int, ...]
    withdrawn: tuple[BlockRef, ...] = ()
    """What was written under them, as far as the caller knows: nodes forget it."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty
