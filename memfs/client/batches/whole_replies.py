"""What a reply to ReadMany says of its files. Pure."""

from __future__ import annotations

from typing import TypeAlias

from memfs import limits
from memfs.errors import ProtocolError, UnavailableError
from memfs.protocol import messages as m
from memfs.types import BlockRef

Elsewhere: TypeAlias = m.BlocksReply | BlockRef | None
"""What is known of a file that did not come with its batch: its block map, its only block, or
nothing."""


def check_columns(reply: m.ReadManyReply, asked: int) -> None:
    """Raise ProtocolError unless the columns fit one another and the ``asked`` paths."""
    count = len(reply.lengths)
    if not count:
        raise UnavailableError("the primary answered for no file")
    if (
        count > asked
        or count != len(reply.crcs)
        or len(reply.places) not in (0, count)
        or min(reply.lengths) < -1
        or reply.lengths.count(-1) != len(reply.others)
    ):
        raise ProtocolError(f"columns of {count} files for {asked} that do not fit one another")


def only_block(what: Elsewhere) -> BlockRef | None:
    """The block that is all of a small file; None: it is not one."""
    if not isinstance(what, m.BlocksReply):
        return what
    size = what.attributes.size
    if len(what.blocks) == 1 and what.blocks[0].length == size <= limits.WHOLE_READ_BYTES:
        return what.blocks[0]
    return None
