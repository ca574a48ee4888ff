"""How long a file that is being written may get, given the quotas above it now.

Writers learn it with their lease, so that excess bytes are refused before they are sent; a writer
asks again before it refuses any. The commit decides. Changes nothing.
"""

from __future__ import annotations

from memfs.errors import LeaseLostError, StaleHandleError
from memfs.node.namespace.rules.permissions import Caller
from memfs.node.namespace.rules.quotas import NONE, check_commit, check_growth, room_in
from memfs.node.namespace.tables.inodes import NOWHERE
from memfs.node.namespace.tables.volume import Volume
from memfs.protocol.messages import CheckGrowth, GrowthReply


def longest(volume: Volume, slot: int) -> int:
    """Bytes up to which a file with a name may grow, -1: there is no quota."""
    tree = volume.tree
    room = room_in(tree, tree.inodes.parent[slot])
    return NONE if room == NONE else tree.inodes.size[slot] + room // _copies(volume, slot)


def longest_draft(volume: Volume, caller: Caller, slot: int, base: int, path: bytes) -> int:
    """The same of a draft that is to be ``path``. Raises what ``Tree.locate`` raises."""
    tree = volume.tree
    if not tree.quotas:
        return NONE
    directory, old = _whereabouts(volume, caller, base, path)
    room = room_in(tree, directory)
    return NONE if room == NONE else (room + _space(volume, old)) // _copies(volume, slot)


def check_size(volume: Volume, caller: Caller, request: CheckGrowth) -> GrowthReply:
    """May a leased file get so long? Raises SpaceQuotaError, StaleHandleError, LeaseLostError."""
    tree = volume.tree
    slot = tree.inodes.slot_of(request.inode)
    if slot not in volume.sessions.writers:
        raise StaleHandleError("the file was deleted, or nobody writes it any more")
    if slot not in tree.nameless:
        holder = volume.sessions.holders.get(slot)
        if holder is not None and holder.user != caller.user and not caller.superuser:
            raise LeaseLostError("somebody else writes the file now")
        check_commit(tree, slot, request.size)
        return GrowthReply(longest(volume, slot))
    directory, old = _whereabouts(volume, caller, request.base, request.path)
    growth = request.size * _copies(volume, slot) - _space(volume, old)
    check_growth(tree, directory, 0, growth, request.path)
    return GrowthReply(longest_draft(volume, caller, slot, request.base, request.path))


class _MissingDirectory(Exception):
    """A path leads through directories that do not exist."""

    def __init__(self, slot: int) -> None:
        """``slot``: the last that does."""
        self.slot = slot


def _whereabouts(volume: Volume, caller: Caller, base: int, path: bytes) -> tuple[int, int]:
    """The directory in which a file of that path counts, and the file that is there, 0: none.

    Of directories that are missing yet, the lowest that exists above them.
    """

    def missing(parent: int, _name: bytes, _rest: list[bytes]) -> int:
        raise _MissingDirectory(parent)

    tree = volume.tree
    try:
        parent, _, slot = tree.locate(caller, base, path, make=missing)
    except _MissingDirectory as found:
        return found.slot, NOWHERE
    return (tree.inodes.parent[slot] if slot else parent), slot


def _copies(volume: Volume, slot: int) -> int:
    return volume.tree.layouts.values[volume.tree.inodes.layout[slot]][2]


def _space(volume: Volume, slot: int) -> int:
    """What a file counts for, replicas included."""
    return volume.tree.weight(slot)[1] if slot else 0
