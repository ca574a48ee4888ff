"""Upper bounds of encoded records, so that a page ends before it exceeds the limit of a record.

Arithmetic over msgpack's widths: an integer takes at most 9 bytes, a text its bytes and up to 5
more. The bounds hold for the values that the namespace itself produces.
"""

from __future__ import annotations

from typing import Final

from memfs import limits
from memfs.types import Attributes, BlockRef

RECORD_ROOM: Final = limits.RECORD_BYTES - 64
"""For the contents of a reply; the rest is for its own array headers and counters."""

# Array 3, inode 9, kind 1, mode 3, links 5, size 9, three times 27, block size 5, group 5,
# replication 1, generation 5, change 9, children 5, leased 1, acl 1, device 5, object state 1,
# two texts 2 each.
_ATTRIBUTES: Final = 3 + 9 + 1 + 3 + 5 + 9 + 27 + 5 + 5 + 1 + 5 + 9 + 5 + 1 + 1 + 5 + 1 + 2 * 2
NAME: Final = 2  # its header; of at most 255 bytes
ENTRY: Final = 1 + 2  # of a directory entry: array, name's header
SUBDIRECTORY: Final = 1 + 2 + 9  # array, name's header, inode
FILE_WEIGHT: Final = 1 + 3 * 9
SUMMARY_PAGE: Final = 1 + 4 * 9 + 2 * 3 + 2 + limits.NAME_BYTES + 1  # but for both lists
"""Of a reply to SummarisePage, and of what its lists hold."""
_BLOCK: Final = 1 + 9 + 5 + 5 + 5 + 5 + 5 + 1


class ReplyRoom:
    """The bytes that a reply of many results has for what may be left out of them."""

    def __init__(self, results: int, least: int) -> None:
        """Each of the ``results`` has ``least`` bytes without what may be left out."""
        self._left = RECORD_ROOM - results * least

    def takes(self, size: int) -> bool:
        """Is there room for so many bytes? Then they are taken."""
        if size > self._left:
            return False
        self._left -= size
        return True


def attributes_bytes(attributes: Attributes) -> int:
    """Most bytes that these attributes take."""
    owner, group = attributes.owner, attributes.group
    characters = len(owner) + len(group)
    return _ATTRIBUTES + (characters if owner.isascii() and group.isascii() else 4 * characters)


def text_bytes(text: str) -> int:
    """Most bytes of a text without its header."""
    return len(text) if text.isascii() else 4 * len(text)


def blocks_bytes(blocks: tuple[BlockRef, ...]) -> int:
    """Most bytes that these references take."""
    return 3 + sum(_BLOCK + 9 * len(block.replicas) for block in blocks)
