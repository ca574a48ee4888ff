"""Messages 192-223: block versions, written, read, listed, discarded."""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.registry import Empty, Lane, message
from memfs.types import BlockVersion as BlockVersion


class Extent(NamedTuple):
    """A changed range of a derived block; its bytes lie in the payload, in order."""

    offset: int
    length: int


class WriteBlockReply(NamedTuple):
    """What every node of the chain now holds."""

    length: int
    crc: int


@message(192, lane=Lane.BLOCKS)
class WriteBlock(NamedTuple):
    """Store a block version on each node of ``chain``; forwarded while it still arrives.

    Whole: no ``base_generation``, payload = the block, ``crc`` its CRC32C. Derived: from version
    (``base_generation``, ``base_sequence``), which every node of the chain must hold: ``length``
    bytes, of which ``extents`` come from the payload, others from the base (zeros past its end).
    ``crc`` is then the payload's.
    """

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int
    length: int
    crc: int
    chain: tuple[int, ...]
    """Member numbers still to store it, the receiver first."""
    block_size: int
    group_blocks: int
    base_generation: int = -1
    base_sequence: int = -1
    extents: tuple[Extent, ...] = ()
    forget: tuple[int, ...] = ()
    """Sequences of the same block and generation that the writer will not publish; they make room
    first. A node heeds it for what the same client has stored."""
    writer: int = 0
    """The client that it comes from; of what clients send the node fills it in."""
    capability: bytes = b""
    """For writing (:mod:`memfs.security.capabilities`); nodes need none."""

    @staticmethod
    def reply() -> type[WriteBlockReply]:
        return WriteBlockReply

    @property
    def version(self) -> BlockVersion:
        """Which version it is."""
        return BlockVersion(*self[:4])


class SmallBlock(NamedTuple):
    """One whole block of a :class:`WriteBlocks`."""

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int
    length: int
    crc: int

    @property
    def version(self) -> BlockVersion:
        """Which version it is."""
        return BlockVersion(*self[:4])


@message(193, lane=Lane.BLOCKS)
class WriteBlocks(NamedTuple):
    """Store many small whole blocks, all or none; their bytes follow one another in the payload."""

    blocks: tuple[SmallBlock, ...]
    chain: tuple[int, ...]
    capabilities: tuple[bytes, ...] = ()
    """For writing; together they cover all blocks."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


class ReadBlockReply(NamedTuple):
    """The payload holds the range."""

    crc: int
    """CRC32C of the payload, computed from chunks that were checked."""


@message(194, lane=Lane.BLOCKS)
class ReadBlock(NamedTuple):
    """A range of a block version. A whole block is sent unchecked: the reader knows its CRC."""

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int
    offset: int
    length: int
    capability: bytes = b""
    """For reading."""
    whole: bool = False
    """The caller reads all of the block, in parts: a node asks a store for it at once."""

    @staticmethod
    def reply() -> type[ReadBlockReply]:
        return ReadBlockReply

    @property
    def version(self) -> BlockVersion:
        """Which version it is."""
        return BlockVersion(*self[:4])


class BlockRange(NamedTuple):
    """One range of a :class:`ReadBlocks`."""

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int
    offset: int
    length: int

    @property
    def version(self) -> BlockVersion:
        """Which version it is."""
        return BlockVersion(*self[:4])


class RangeResult(NamedTuple):
    """Outcome of one range: an error code, or its length in the payload."""

    code: int
    length: int
    crc: int


class ReadBlocksReply(NamedTuple):
    """Outcomes in order; may be fewer than asked when the payload is full."""

    results: tuple[RangeResult, ...]
    places: tuple[int, ...] = ()
    """As of ReadManyReply: where in segments whole blocks lie instead of in the payload."""
    lender: int = 0


@message(195, lane=Lane.BLOCKS)
class ReadBlocks(NamedTuple):
    """Many small ranges in one request."""

    ranges: tuple[BlockRange, ...]
    capabilities: tuple[bytes, ...] = ()
    """For reading; the answer ends before the first range that none of them covers."""
    lend: bool = False
    """The client maps segments of this node: tell where whole blocks lie there."""

    @staticmethod
    def reply() -> type[ReadBlocksReply]:
        return ReadBlocksReply


@message(196, peer=True)
class DiscardBlocks(NamedTuple):
    """Forget block versions; unknown ones are no error. Only the primary of the receiver's view."""

    versions: tuple[BlockVersion, ...]
    order: int = 0
    """Grows with every decision of a primary: a copy asked for later is not meant, and stays."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


class StoredBlock(NamedTuple):
    """A block version that a node holds."""

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int
    length: int
    crc: int

    @property
    def version(self) -> BlockVersion:
        """Which version it is."""
        return BlockVersion(*self[:4])


class ListBlocksReply(NamedTuple):
    """A page, ordered by (inode, index, generation, sequence)."""

    blocks: tuple[StoredBlock, ...]
    more: bool


@message(197, privileged=True)
class ListBlocks(NamedTuple):
    """What a node holds after ``after`` (fsck, orphan sweep); superuser or nodes."""

    after: BlockVersion | None = None
    limit: int = 1000

    @staticmethod
    def reply() -> type[ListBlocksReply]:
        return ListBlocksReply


@message(198)
class ReportCorrupt(NamedTuple):
    """Tell the primary that a member's copy failed its checksum; it verifies and drops it."""

    block: BlockVersion
    member: int

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


class VerifyBlocksReply(NamedTuple):
    """Per version: 0, or the code of BlockNotFoundError or CorruptBlockError."""

    codes: tuple[int, ...]


@message(199, privileged=True)
class VerifyBlocks(NamedTuple):
    """Re-read copies against their CRCs; the reply ends early when they are too many."""

    versions: tuple[BlockVersion, ...]

    @staticmethod
    def reply() -> type[VerifyBlocksReply]:
        return VerifyBlocksReply


class Segment(NamedTuple):
    """Where a block version lies in the descriptor passed beside the reply."""

    descriptor: int
    """Index into the descriptors of this reply, -1: not in shared memory, read it otherwise."""
    offset: int
    length: int
    sums: bytes = b""
    """CRC32C of each chunk of 64 KiB, the last may be short; 4 bytes each, little-endian. Empty:
    not told."""


class DescriptorsReply(NamedTuple):
    """One segment per version asked for."""

    segments: tuple[Segment, ...]
    lent: tuple[int, ...] = ()
    """For each of ``small``, an index into the descriptors; -1: the segment is gone."""


@message(200)
class GetDescriptors(NamedTuple):
    """Descriptors of block versions, over the node's unix socket only (SCM_RIGHTS)."""

    versions: tuple[BlockVersion, ...]
    capabilities: tuple[bytes, ...] = ()
    """For reading; a version that none of them covers has no segment."""
    client: int = 0
    """Whose capabilities these are: this socket has no handshake."""
    user: str = ""
    small: tuple[int, ...] = ()
    """Segments of small blocks, by their numbers in the places that were told."""

    @staticmethod
    def reply() -> type[DescriptorsReply]:
        return DescriptorsReply


class CopyBlock(NamedTuple):
    """One version of a :class:`CopyBlocks`."""

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int
    length: int
    crc: int
    block_size: int
    group_blocks: int

    @property
    def version(self) -> BlockVersion:
        """Which version it is."""
        return BlockVersion(*self[:4])


class CopyBlocksReply(NamedTuple):
    """Per version: 0 when it is held now, else an error code."""

    codes: tuple[int, ...]


@message(201, peer=True)
class CopyBlocks(NamedTuple):
    """Copy block versions from another member, checked; only the primary of the receiver's view.

    Codes: BlockNotFoundError and CorruptBlockError speak of the source's copy, UnavailableError of
    the way to it, NoSpaceError of the receiver.
    """

    source: int
    blocks: tuple[CopyBlock, ...]
    order: int
    """As of :class:`DiscardBlocks`."""

    @staticmethod
    def reply() -> type[CopyBlocksReply]:
        return CopyBlocksReply


@message(202, lane=Lane.BLOCKS)
class CopyRange(NamedTuple):
    """Store a block version made of bytes that the receiver holds: they do not pass the client.

    ``target`` is as if it were sent with the bytes of ``source`` as its payload, but for the CRC of
    that, which the receiver fills in. Its chain need not begin with the receiver.
    """

    source: BlockRange
    target: WriteBlock
    capability: bytes = b""
    """For reading the source."""

    @staticmethod
    def reply() -> type[WriteBlockReply]:
        return WriteBlockReply
