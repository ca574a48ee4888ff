"""Commands of the primary itself: freeing deleted trees, moving replicas.

The service accepts them from nodes only; there is no further check here. Each step is bounded.
"""

from __future__ import annotations

from typing import Final

from memfs import limits
from memfs.errors import InvalidArgumentError, StaleHandleError
from memfs.node.namespace.commands.file_removal import FileRemoval
from memfs.node.namespace.rules import mounted
from memfs.node.namespace.rules.published_content import check_replicas
from memfs.node.namespace.tables.inodes import DIRECTORY, NOWHERE
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.protocol.messages import (
    BlockVersion,
    Empty,
    ExpectOpens,
    FreeUnlinked,
    Reclaim,
    SetManyReplicas,
    SetReplicas,
)

_BLOCKS_PER_STEP: Final = 16
"""Dropped block references that count as much as one inode."""


def reclaim(volume: Volume, command: Command, request: Reclaim) -> Empty:
    """Free up to ``count`` inodes of deleted trees, or sixteen times as many dropped blocks.

    One command does INODES_PER_RECLAIM at most.
    """
    steps = min(max(request.count, 0), limits.INODES_PER_RECLAIM)
    rows = volume.blocks.release_dropped(steps * _BLOCKS_PER_STEP, command.discards)
    steps -= -(-rows // _BLOCKS_PER_STEP)
    removal = FileRemoval(volume, command)
    while steps > 0 and volume.reclaim:
        _free_one(volume, command, removal)
        steps -= 1
    removal.finish()
    return Empty()


def _free_one(volume: Volume, command: Command, removal: FileRemoval) -> None:
    """Take one name out of the newest detached directory, or free that when it is empty."""
    tree = volume.tree
    top = volume.reclaim[-1]
    if not tree.directory(top).count:
        removal.finish()
        volume.reclaim.pop()
        volume.forget(command, top)
        return
    name, slot = tree.pop_name(top)
    if volume.mounts.buried:
        mounted.reclaimed(volume, command, top, name, slot)
    if tree.inodes.kind[slot] == DIRECTORY:
        tree.inodes.set_parent(slot, NOWHERE)
        volume.reclaim.append(slot)
    else:
        removal.drop(top, slot)


def expect_opens(volume: Volume, command: Command, request: ExpectOpens) -> Empty:
    """Remember that a client has files open. Raises BusyError when there are too many clients."""
    volume.check_session(command, client=request.client, user=request.user)
    volume.sessions.expect_opens(request.client, request.user)
    return Empty()


def free_unlinked(volume: Volume, command: Command, request: FreeUnlinked) -> Empty:
    """Free files without a name that nobody has open any more; others are left."""
    tree = volume.tree
    for inode in request.inodes[: limits.INODES_PER_RECLAIM]:
        slot = tree.inodes.slot_of(inode)
        if slot in tree.unlinked and not volume.is_in_use(command, slot):
            tree.end_unlinked(slot)
            volume.free(command, slot)
    return Empty()


def set_replicas(volume: Volume, command: Command, request: SetReplicas) -> Empty:
    """Replace the list of holders of a current block version.

    Former holders get the version as a discard. Raises StaleHandleError when no file refers to the
    version (any more): the copies have to be dropped.
    """
    check_replicas(request.replicas)
    version = BlockVersion(request.inode, request.index, request.generation, request.sequence)
    if not volume.blocks.set_replicas((version,), (request.replicas,), command.discards):
        raise StaleHandleError("the block version is not current")
    return Empty()


def set_many_replicas(volume: Volume, command: Command, request: SetManyReplicas) -> Empty:
    """Replace the lists of holders of many block versions; those not current are left out.

    Raises InvalidArgumentError, and then changes nothing.
    """
    if len(request.versions) != len(request.replicas):
        raise InvalidArgumentError("as many lists of replicas as versions")
    if len(request.versions) > limits.REPLICAS_PER_COMMAND:
        raise InvalidArgumentError(f"at most {limits.REPLICAS_PER_COMMAND} versions a command")
    for replicas in set(request.replicas):
        check_replicas(replicas)
    volume.blocks.set_replicas(request.versions, request.replicas, command.discards)
    return Empty()
