"""Messages 64-127: questions to the namespace.

Every ``path`` is UTF-8 bytes relative to the directory inode ``base`` (``ROOT_INODE`` for absolute
paths), and empty for ``base`` itself.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from memfs.protocol.messages.registry import Empty, Lane, message
from memfs.types import (
    ROOT_INODE,
    AclEntry,
    Attributes,
    BlockRef,
    BlockVersion,
    ContentSummary,
    DirectoryEntry,
)


class LookupReply(NamedTuple):
    """Attributes of one inode."""

    attributes: Attributes


@message(64)
class Lookup(NamedTuple):
    """stat (``follow``) or lstat."""

    path: bytes
    follow: bool = True
    base: int = ROOT_INODE
    settled: bool = False
    """Answer only when no command that a former primary took can still come to be carried out: for
    who gives up a command by what the answer says. Refused (UnavailableError) until then."""

    @staticmethod
    def reply() -> type[LookupReply]:
        return LookupReply


class BlocksReply(NamedTuple):
    """A page of a file's block map: refs of blocks ``first``, ``first + 1``, ...

    What was skipped before ``first`` are holes.
    """

    attributes: Attributes
    first: int
    blocks: tuple[BlockRef, ...]
    capability: bytes = b""
    """For reading these blocks, and all of the inode."""


@message(65)
class GetBlocks(NamedTuple):
    """Open for reading: needs read permission. At most ``limits.BLOCKS_PER_RECORD`` come back."""

    path: bytes
    first: int = 0
    count: int = 700  # type: ignore[assignment]
    base: int = ROOT_INODE
    skip_holes: bool = False
    """Begin with the first block from ``first`` on that is no hole."""

    @staticmethod
    def reply() -> type[BlocksReply]:
        return BlocksReply


class FileReply(NamedTuple):
    """One file of a :class:`ReadFiles`: an error, or attributes with either data or blocks."""

    code: int
    """0, or the error's code."""
    message: str
    attributes: Attributes | None = None
    length: int = -1
    """Bytes of this file in the payload (its parts follow one another), -1: fetch the blocks."""
    crc: int = 0
    blocks: tuple[BlockRef, ...] = ()
    capability: bytes = b""
    """As of BlocksReply; in a batch it has one for all."""


class ReadFilesReply(NamedTuple):
    """Answers in the order of the paths; may be fewer: ask again for the rest."""

    files: tuple[FileReply, ...]
    capability: bytes = b""
    """For reading the blocks of all."""


@message(66, lane=Lane.BULK)
class ReadFiles(NamedTuple):
    """Many small files at once; what the primary holds itself comes in the payload."""

    paths: tuple[bytes, ...]
    inline: int
    """Largest file to send inline, bytes."""

    @staticmethod
    def reply() -> type[ReadFilesReply]:
        return ReadFilesReply


class ReadManyReply(NamedTuple):
    """Answers in the order of the paths, in columns; may be fewer: ask again for the rest."""

    lengths: tuple[int, ...]
    """Bytes of each file; -1: the next one of ``others`` tells of it."""
    crcs: tuple[int, ...]
    """CRC32C of each file's bytes."""
    others: tuple[FileReply, ...] = ()
    """Errors, and files whose bytes are to be fetched. One without attributes is one block, which
    is all of it."""
    places: tuple[int, ...] = ()
    """Where each file's record begins in the lender's memory, as segment << 32 | offset; -1: its
    bytes are in the payload, where such parts follow one another. Empty: so are those of all."""
    lender: int = 0
    """Incarnation of the node whose memory it is."""
    capability: bytes = b""
    """For reading the blocks of ``others``."""


@message(93, lane=Lane.BULK)
class ReadMany(NamedTuple):
    """The bytes of many small files at once, and nothing else of them."""

    paths: tuple[bytes, ...]
    inline: int
    """Largest file to send inline, bytes."""
    lend: bool = False
    """The client maps segments of the primary: tell where files lie there."""

    @staticmethod
    def reply() -> type[ReadManyReply]:
        return ReadManyReply


class ListReply(NamedTuple):
    """A page of a directory, ordered by name's bytes."""

    entries: tuple[DirectoryEntry, ...]
    remaining: int
    """Entries after this page; at least so many while a store's listing is under way."""
    names: tuple[bytes, ...] = ()
    """In place of ``entries``, where nothing but names was asked for."""


@message(67)
class List(NamedTuple):
    """List a directory (or a file: one entry with an empty name) after a name."""

    path: bytes
    after: bytes = b""
    limit: int = 1000
    base: int = ROOT_INODE
    names_only: bool = False
    """Of a directory; a file is an entry all the same."""

    @staticmethod
    def reply() -> type[ListReply]:
        return ListReply


class ReadLinkReply(NamedTuple):
    """The text of a symlink."""

    target: bytes


@message(68)
class ReadLink(NamedTuple):
    """readlink."""

    path: bytes
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[ReadLinkReply]:
        return ReadLinkReply


class Xattr(NamedTuple):
    """One extended attribute."""

    name: str
    value: bytes


class XattrsReply(NamedTuple):
    """Extended attributes, ordered by name."""

    xattrs: tuple[Xattr, ...]
    lengths: tuple[int, ...] = ()
    """Of the values, in order, where these are too long for the record: they are the payload."""


@message(69)
class GetXattrs(NamedTuple):
    """All extended attributes, or those named (a missing one is an error)."""

    path: bytes
    names: tuple[str, ...] = ()
    follow: bool = True
    base: int = ROOT_INODE
    values: bool = True
    """False: names only, which takes no permission of the file itself."""

    @staticmethod
    def reply() -> type[XattrsReply]:
        return XattrsReply


class SummaryReply(NamedTuple):
    """Totals of a subtree."""

    summary: ContentSummary
    names_quota: int = -1
    """Of the directory itself, -1: none. Likewise the next."""
    space_quota: int = -1


@message(70)
class Summarise(NamedTuple):
    """du: O(1) whatever the size of the tree.

    TreeTooLargeError says that to see whether the caller may read all of it takes too long; it can
    be counted by SummarisePage.
    """

    path: bytes
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[SummaryReply]:
        return SummaryReply


class Subdirectory(NamedTuple):
    """One of a directory."""

    name: bytes
    inode: int


class FileWeight(NamedTuple):
    """What one file adds to totals."""

    inode: int
    length: int
    space: int


class SummarisePageReply(NamedTuple):
    """What a page of a directory's own names adds to its totals; with the first one, itself."""

    summary: ContentSummary
    below: tuple[Subdirectory, ...]
    """Of the page; their totals are asked for one by one."""
    several: tuple[FileWeight, ...]
    """Files that have several names in the directory: in no summary, each counts once."""
    last: bytes
    """Name after which the next page begins."""
    more: bool


@message(79)
class SummarisePage(NamedTuple):
    """du of one directory without those below, for a tree that is too large for Summarise."""

    path: bytes
    after: bytes = b""
    limit: int = 1000
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[SummarisePageReply]:
        return SummarisePageReply


@message(77)
class CheckRemoval(NamedTuple):
    """May the caller empty a directory: of the whole tree (``deep``), or of its own names?

    TreeTooLargeError says that the whole tree is too much to look at, so that a client asks for
    its directories one by one, and removes them so.
    """

    path: bytes
    deep: bool = True
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(71)
class Access(NamedTuple):
    """access(2): may the caller read (4), write (2), execute (1)? And is there room?"""

    path: bytes
    mask: int
    base: int = ROOT_INODE
    names: int = 0
    """So many more would lie in this directory: would its quotas, and those above, allow it?"""
    space: int = 0
    """The same of bytes times copies; of a file, those that it would grow by."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


class GrowthReply(NamedTuple):
    """There is room."""

    most: int = -1
    """As of LeaseReply."""


@message(74)
class CheckGrowth(NamedTuple):
    """May a file that is leased to this user get so long? Raises SpaceQuotaError."""

    inode: int
    size: int
    path: bytes = b""
    """Of a file without a name: the one that it is to get."""
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[GrowthReply]:
        return GrowthReply


class VersionState(enum.IntEnum):
    """What the namespace says of a block version."""

    UNKNOWN = 0
    """No file has it, and nobody who has a lease could publish it now."""
    NAMED = 1
    """A file has it."""
    PENDING = 2
    """The writer who has the lease may publish it."""


class CheckVersionsReply(NamedTuple):
    """A :class:`VersionState` for each, in order."""

    states: bytes


@message(78, peer=True)
class CheckVersions(NamedTuple):
    """A node asks what becomes of versions of one inode that ``user`` has stored on it."""

    versions: tuple[BlockVersion, ...]
    user: str

    @staticmethod
    def reply() -> type[CheckVersionsReply]:
        return CheckVersionsReply


class AuthorizeReply(NamedTuple):
    """A capability for writing."""

    capability: bytes


@message(94)
class Authorize(NamedTuple):
    """A client asks anew for capabilities of inodes that it may write: leased to it, or reserved.

    LeaseLostError, or UploadLostError, when one of them is not (any more).
    """

    inodes: tuple[int, ...]

    @staticmethod
    def reply() -> type[AuthorizeReply]:
        return AuthorizeReply


class FileSystemReply(NamedTuple):
    """statfs: bytes over the live nodes, and counts of the namespace."""

    capacity: int
    used: int
    files: int
    directories: int
    replication: int
    """Copies of a new file unless it says otherwise."""
    block_size: int
    group_blocks: int


@message(72)
class StatFileSystem(NamedTuple):
    """statfs."""

    @staticmethod
    def reply() -> type[FileSystemReply]:
        return FileSystemReply


class LookupManyReply(NamedTuple):
    """Answers in order: attributes, or None where the path does not exist or may not be seen."""

    attributes: tuple[Attributes | None, ...]


@message(73)
class LookupMany(NamedTuple):
    """stat of up to ``limits.FILES_PER_BATCH`` paths."""

    paths: tuple[bytes, ...]
    follow: bool = True

    @staticmethod
    def reply() -> type[LookupManyReply]:
        return LookupManyReply


class AclReply(NamedTuple):
    """An access control list in order, the entries that the mode bits stand for included."""

    attributes: Attributes
    entries: tuple[AclEntry, ...]


@message(80)
class GetAcl(NamedTuple):
    """getfacl: needs search permission on the way only."""

    path: bytes
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[AclReply]:
        return AclReply


class QuotaReply(NamedTuple):
    """Quotas of a directory and what counts against them; -1: no quota."""

    names_quota: int
    space_quota: int
    names: int
    """Names below the directory, its own included."""
    space: int
    """Bytes times wanted replicas of the files below it."""


@message(81)
class GetQuota(NamedTuple):
    """Quotas and usage of a directory: O(1) whatever the size of the tree."""

    path: bytes
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[QuotaReply]:
        return QuotaReply


class VerifyTokenReply(NamedTuple):
    """For whom a delegation token speaks."""

    owner: str
    renewer: str
    real_user: str
    """Who asked for it on the owner's behalf; empty: the owner."""
    expires_ms: int


@message(82)
class VerifyToken(NamedTuple):
    """Is this delegation token good? InvalidTokenError when it is not (any more)."""

    identifier: bytes
    password: bytes

    def __repr__(self) -> str:
        return f"VerifyToken({self.identifier!r})"

    @staticmethod
    def reply() -> type[VerifyTokenReply]:
        return VerifyTokenReply
