"""What is allowed below mounts, and what has to be sent to the store for it.

Owns the differences between directories below a mount and others. A store holds files and
directories by name and nothing else: links, special files and moves of content that only the store
has are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from memfs.errors import (
    CrossMountError,
    InvalidArgumentError,
    MountBusyError,
    StoreUnsupportedError,
)
from memfs.node.namespace.rules.refusals import text
from memfs.node.namespace.tables.inodes import DIRECTORY, FILE
from memfs.node.namespace.tables.mounts import MountPoint
from memfs.node.namespace.tables.tree import Place
from memfs.node.namespace.tables.unsaved import Tombstone
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.protocol.messages import Concat, Rename
from memfs.types import BlockRef, ObjectState, Residence

STATE: Final = "user.memfs.state"
IN_MEMORY: Final = "user.memfs.in_memory"
URL: Final = "user.memfs.mount"
VERSION: Final = "user.memfs.version"
SHOWN: Final = frozenset({STATE, IN_MEMORY, URL, VERSION})
"""Extended attributes that say how a file stands to its store; nobody sets them."""


def shown(volume: Volume, slot: int) -> dict[str, bytes]:
    """The attributes of :data:`SHOWN` that an inode has; empty: it is below no mount.

    Of what nodes have cached nothing is known here: it counts as nothing (see ``told``).
    """
    mounts = volume.mounts
    found = mounts.mount_of(volume.tree, slot) if mounts else None
    if found is None:
        return {}
    values = {URL: found.url.encode()}
    state, tag = mounts.state(slot), mounts.tags.get(slot)
    if state is not None:
        is_file = volume.tree.inodes.kind[slot] == FILE
        size = volume.tree.inodes.size[slot] if is_file else 0
        in_memory = 0 if state == ObjectState.CLEAN else size
        values |= told(Residence(state, size, in_memory), is_file)
    if tag:
        values[VERSION] = tag
    return values


def told(residence: Residence, is_file: bool = True) -> dict[str, bytes]:
    """The attributes that say how much of something is in memory."""
    values = {STATE: residence.name.encode()}
    if is_file:
        values[IN_MEMORY] = b"%d%%" % residence.percent
    return values


def check_kind(volume: Volume, slot: int, what: str, path: bytes) -> None:
    """Raise StoreUnsupportedError below a mount: no store has ``what``."""
    found = volume.mounts.mount_of(volume.tree, slot)
    if found is not None:
        raise StoreUnsupportedError(f"{found.url} cannot hold {what}", path=text(path))


def check_whole(volume: Volume, slot: int, puts: Mapping[int, BlockRef], size: int) -> None:
    """Raise InvalidArgumentError if content that only the store has would be lost."""
    if not volume.mounts.is_external(slot):
        return
    block_size = volume.tree.layouts.values[volume.tree.inodes.layout[slot]][0]
    kept = -(-min(size, volume.tree.inodes.size[slot]) // block_size)
    if any(position not in puts for position in range(kept)):
        raise InvalidArgumentError(
            "the file's content is in the store: it is changed as a whole, or by a client that "
            "knows how (update the client)"
        )


def not_mounted(path: bytes) -> InvalidArgumentError:
    """No store is mounted at ``path``, whether or not something has that name."""
    return InvalidArgumentError("no store is mounted there", path=text(path))


def check_movable(volume: Volume, slot: int, path: bytes) -> None:
    """Raise MountBusyError when a directory is a mount or has some below."""
    tree = volume.tree
    if any(tree.has_ancestor(each, slot) for each in volume.mounts.by_slot):
        raise MountBusyError(
            "a store is mounted there or below: unmount it (memfs unmount)", path=text(path)
        )


def check_rename(
    volume: Volume, source: Place, target: Place, exchange: bool, request: Rename
) -> None:
    """May a name move? Within one mount a file may whose content the cluster has."""
    mounts, tree = volume.mounts, volume.tree
    moved, replaced = source[2], target[2]
    for slot, path in ((moved, request.source), (replaced, request.target)):
        if slot and tree.inodes.kind[slot] == DIRECTORY:
            check_movable(volume, slot, path)
    here, there = mounts.mount_of(tree, source[0]), mounts.mount_of(tree, target[0])
    if here is None and there is None:
        return
    for place, path in ((source, request.source), (target, request.target)):
        mounts.check_writable(tree, place[0], path)
    if here is not there or exchange:
        raise CrossMountError("a store is mounted on the way", path=text(request.source))
    if tree.inodes.kind[moved] == DIRECTORY or mounts.is_external(moved):
        raise CrossMountError("the store has the content", path=text(request.source))


def renamed(volume: Volume, command: Command, source: Place, target: Place) -> None:
    """Record, before a file moves within a mount, what the store has to delete and to get."""
    parent, name, slot = source
    if volume.mounts.mount_of(volume.tree, parent) is None:
        return
    deleted(volume, command, parent, name, slot)
    volume.mounts.forget(slot)
    if target[2]:
        volume.mounts.replaced(slot, target[2])


def check_concat(volume: Volume, target: int, places: list[Place], request: Concat) -> None:
    """May files be concatenated? Raises CrossMountError for content that only the store has."""
    for slot, path in zip(
        (target, *[place[2] for place in places]), (request.path, *request.sources), strict=True
    ):
        if volume.mounts.is_external(slot) and not request.copied:
            raise CrossMountError("the store has the content", path=text(path))


def deleted(volume: Volume, command: Command, parent: int, name: bytes, slot: int) -> None:
    """Record, before a name is removed, that the store has to delete it and all below; of what is
    in a directory that follows with Reclaim (:func:`reclaimed`)."""
    mounts, tree = volume.mounts, volume.tree
    found = mounts.mount_of(tree, parent)
    if found is None:
        return
    prefix = mounts.key_of(tree, found, parent)
    assert prefix is not None, "a directory below a mount has a key"
    _bury(volume, command, found, prefix + b"/" + name if prefix else name, slot)


def reclaimed(volume: Volume, command: Command, parent: int, name: bytes, slot: int) -> None:
    """Record, before an inode of a deleted tree is freed, what the store has to delete."""
    mounts = volume.mounts
    if parent not in mounts.buried:
        return
    number, directory = mounts.buried[parent]
    found = mounts.by_number(number)
    if found is not None:
        _bury(volume, command, found, directory + b"/" + name, slot)


def _bury(volume: Volume, command: Command, mount: MountPoint, key: bytes, slot: int) -> None:
    mounts, tree = volume.mounts, volume.tree
    is_directory = tree.inodes.kind[slot] == DIRECTORY
    if is_directory:
        mounts.bury(slot, (mount.number, key))
    change, tag = mounts.changes.get(slot), mounts.tags.get(slot)
    if tag is None and not is_directory and (change is None or not change.attempts):
        return  # the store was never told of it
    exact = tag if change is None or not change.attempts else None
    mounts.tombstones[mount.number, key] = Tombstone(
        command.index, command.now, None if is_directory else exact, is_directory
    )
    mounts.recent.append((mount.number, key))
