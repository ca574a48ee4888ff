"""What the primary commands on its own: freeing deleted trees, ending sessions, moving replicas.

The service lets only nodes send these; nothing here asks who does. Each step is bounded.
"""

from __future__ import annotations

from typing import Final

from memfs import limits
from memfs.errors import StaleHandleError
from memfs.node.namespace.content import check_replicas
from memfs.node.namespace.inodes import DIRECTORY, NOWHERE
from memfs.node.namespace.volume import Command, Volume
from memfs.protocol.messages import BlockVersion, Empty, ExpireSession, Reclaim, SetReplicas

_BLOCKS_PER_STEP: Final = 16
"""Dropped block references that count as much as one inode."""


def reclaim(volume: Volume, command: Command, request: Reclaim) -> Empty:
    """Free up to ``count`` inodes of deleted trees, or sixteen times as many dropped blocks.

    One command does INODES_PER_RECLAIM at most.
    """
    steps = min(max(request.count, 0), limits.INODES_PER_RECLAIM)
    rows = volume.blocks.release_dropped(steps * _BLOCKS_PER_STEP, command.discards)
    steps -= -(-rows // _BLOCKS_PER_STEP)
    while steps > 0 and volume.reclaim:
        _free_one(volume, command)
        steps -= 1
    return Empty()


def _free_one(volume: Volume, command: Command) -> None:
    """Take one name out of the newest detached directory, or free that when it is empty."""
    tree = volume.tree
    top = volume.reclaim[-1]
    directory = tree.directory(top)
    if not directory.count:
        volume.reclaim.pop()
        tree.forget(top)
        return
    _, slot = directory.pop()
    if tree.inodes.kind[slot] == DIRECTORY:
        tree.inodes.parent[slot] = NOWHERE
        volume.reclaim.append(slot)
    else:
        volume.unlink(command, top, slot)


def expire_session(volume: Volume, command: Command, request: ExpireSession) -> Empty:
    """End a client's leases at what it committed last, and free what it had reserved.

    Its recorded results stay: it may not be dead, and a late retry must still be recognised.
    """
    held = volume.sessions.expire(request.client)
    for slot in held.leases:
        volume.tree.inodes.change[slot] = command.index
    for slot in held.reserved:
        volume.tree.inodes.free(slot)
    return Empty()


def set_replicas(volume: Volume, command: Command, request: SetReplicas) -> Empty:
    """Name the holders of a current block version anew.

    Members that are no longer among them get the version as a discard. Raises StaleHandleError
    when no file refers to the version (any more): whoever copied it must drop the copies.
    """
    check_replicas(request.replicas)
    version = BlockVersion(request.inode, request.index, request.generation, request.sequence)
    old = volume.blocks.set_replicas(version, request.replicas)
    if old is None:
        raise StaleHandleError("the block version is not current")
    gone = tuple([member for member in old.replicas if member not in request.replicas])
    if gone:
        command.discards.append(old._replace(replicas=gone))
    return Empty()
