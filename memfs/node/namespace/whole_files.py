"""Many small files by their paths: the block of each, without an object per file.

Owns the short way for the usual file: a name in a directory that was found before in the same
batch, one block, readable. Whatever is not usual goes the way of every other query (``queries``),
which also says what is wrong with it. Invariant: both ways lead to the same file, or refuse it
alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from memfs import limits
from memfs.errors import MemfsError
from memfs.node.namespace.queries import check_batch, file_bytes, file_reply
from memfs.node.namespace.rules.permissions import HAS_ACL, READ, SEARCH, Caller
from memfs.node.namespace.tables.inodes import DIRECTORY, FILE
from memfs.node.namespace.tables.sizes import RECORD_ROOM
from memfs.node.namespace.tables.volume import Volume
from memfs.protocol.messages import FileReply, ReadMany
from memfs.types import ROOT_INODE, WholeBlock

_ALL_MAY_READ: Final = 0o444
_READ_BITS: Final = _ALL_MAY_READ | HAS_ACL
_EMPTY: Final[WholeBlock] = (0, 0, 0, 0, 0, ())
_OTHER: Final[WholeBlock] = (0, 0, 0, -1, 0, ())
_BLOCK_BYTES: Final = 5 + 5 + 9 + 64  # length, CRC, place; or a reply with a reference
_REPLICA_BYTES: Final = 9

_HEAD_BYTES: Final = limits.PATH_BYTES - limits.NAME_BYTES - 1
"""With any name appended, a directory's path of so many bytes is still a valid path."""

_Names: TypeAlias = Callable[[bytes], int]


class WholeFiles(NamedTuple):
    """What a :class:`ReadMany` finds. Its service turns it into the reply."""

    blocks: list[WholeBlock]
    """Of each file in order."""
    others: list[FileReply]
    """Answers for the files of length -1, in order."""


def read_many(volume: Volume, caller: Caller, request: ReadMany) -> WholeFiles:
    """The only block of each file of at most ``inline`` bytes, else what ``ReadFiles`` answers.

    Fewer answers than paths when the record is full.
    """
    check_batch(request.paths)
    tree = volume.tree
    kinds, modes, extra = tree.inodes.kind, tree.inodes.mode, tree.inodes.extra
    whole, rows, row_bytes = tree.inodes.wholes
    sets, most = volume.blocks.replica_sets.values, request.inline
    mounts = volume.mounts if volume.mounts else None
    superuser = caller.superuser
    blocks: list[WholeBlock] = []
    others: list[FileReply] = []
    directories: dict[bytes, _Names] = {}
    room = RECORD_ROOM
    for path in request.paths:  # a microsecond a file: everything that is called is paid for
        head, _, name = path.rpartition(b"/")
        names = directories.get(head)
        if names is None:
            names = directories[head] = _names_in(volume, caller, head)
        slot = names(name)
        if (
            slot
            and kinds[slot] == FILE
            and not extra[slot]  # its blocks are not in a table
            and (
                superuser
                or modes[slot] & _READ_BITS == _ALL_MAY_READ
                or tree.may(caller, slot, READ)
            )
            and (mounts is None or not mounts.is_external(slot))
        ):
            incarnation, size, generation, sequence, length, crc, replicas = whole(
                rows, slot * row_bytes
            )
            if length == size <= most and replicas:
                holders = sets[replicas]
                inode = incarnation << 32 | slot
                blocks.append((inode, generation, sequence, length, crc, holders))
                room -= _BLOCK_BYTES + _REPLICA_BYTES * len(holders)
                if room >= 0:
                    continue
                blocks.pop()
                break
            if not size:
                blocks.append(_EMPTY)
                room -= _BLOCK_BYTES
                continue
        file = file_reply(volume, caller, path)
        room -= file_bytes(file)
        if room < 0 and blocks:
            break
        blocks.append(_OTHER)
        others.append(file)
    return WholeFiles(blocks, others)


def _names_in(volume: Volume, caller: Caller, path: bytes) -> _Names:
    """Looks names up in a directory that the caller may search; finds nothing in anything else."""
    tree = volume.tree
    if len(path) > _HEAD_BYTES:
        return _nothing
    try:
        slot = tree.find(caller, ROOT_INODE, path)
    except MemfsError:
        return _nothing
    if tree.inodes.kind[slot] != DIRECTORY:
        return _nothing
    if not caller.superuser and not tree.may(caller, slot, SEARCH):
        return _nothing
    return tree.directory(slot).finder


def _nothing(_name: bytes) -> int:
    return 0
