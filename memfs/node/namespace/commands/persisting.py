"""Changed files on their way to a store: intent and completion in the log, and eviction.

The primary's own commands. BeginPersist remembers what is about to be sent before it is sent: if
its completion is never recorded, the next primary finds the object in the store and recognises it
as this cluster's. A file changed meanwhile stays changed, based on the version just stored.
"""

from __future__ import annotations

from memfs.errors import PathExistsError, StaleHandleError
from memfs.node.namespace.commands.files import end_lease
from memfs.node.namespace.tables.inodes import FILE
from memfs.node.namespace.tables.mounts import ATTEMPTS
from memfs.node.namespace.tables.unsaved import Change
from memfs.node.namespace.tables.volume import FREED_AT_ONCE, Command, Volume
from memfs.paths import check_name
from memfs.protocol.messages import (
    BeginPersist,
    BuryObject,
    Empty,
    EndPersist,
    EvictFiles,
    SetAside,
)


def begin_persist(volume: Volume, command: Command, request: BeginPersist) -> Empty:
    """Put on record what is sent. Raises StaleHandleError when there is another content now."""
    slot, change = _changed(volume, request.inode, request.version)
    attempt = request.size, request.crc
    attempts = (*[each for each in change.attempts if each != attempt], attempt)
    volume.mounts.changes[slot] = change._replace(attempts=attempts[-ATTEMPTS:])
    return Empty()


def end_persist(volume: Volume, command: Command, request: EndPersist) -> Empty:
    """The store has this content under a tag; later changes are still to be stored."""
    tree, mounts = volume.tree, volume.mounts
    slot = tree.inodes.slot_of(request.inode)
    change = mounts.changes.get(slot)
    if change is None:
        raise StaleHandleError("the file has no change to store")
    mounts.tags.set(slot, request.tag)
    if change.version != request.version or request.base_only:
        mounts.changes[slot] = change._replace(attempts=())
        return Empty()
    del mounts.changes[slot]
    if tree.inodes.kind[slot] == FILE:
        mounts.resident[slot] = None
    tree.touched.append(request.inode)
    return Empty()


def set_aside(volume: Volume, command: Command, request: SetAside) -> Empty:
    """Rename a conflicting file to the name it was stored under; the store decides its old name."""
    slot, _ = _changed(volume, request.inode, request.version)
    tree, mounts = volume.tree, volume.mounts
    check_name(request.name)
    parent = tree.inodes.parent[slot]
    directory = tree.directory(parent)
    if directory.get(request.name):
        raise PathExistsError("the name for a file in conflict is taken")
    name = directory.name_of(slot)
    assert name is not None, "a changed file has a name"
    tree.remove_name(parent, name)
    tree.insert_name(parent, request.name, slot)
    del mounts.changes[slot]
    mounts.tags.set(slot, request.tag)
    mounts.resident[slot] = None
    if slot in volume.sessions.writers:
        end_lease(volume, command, slot)
    tree.touch(parent, command.now, command.index)
    tree.mark(slot, command.now, command.index)
    return Empty()


def bury_object(volume: Volume, command: Command, request: BuryObject) -> Empty:
    """Remove the tombstone of a deletion that the store has carried out."""
    key = request.mount, request.key
    found = volume.mounts.tombstones.get(key)
    if found is not None and found.version == request.version:
        del volume.mounts.tombstones[key]
    return Empty()


def evict_files(volume: Volume, command: Command, request: EvictFiles) -> Empty:
    """Drop the blocks of files whose content the store has; reads fetch it from there.

    The generation grows, so that cached blocks of an earlier content are never used.
    """
    tree, mounts, inodes = volume.tree, volume.mounts, volume.tree.inodes
    for inode, change in request.files:
        slot = inodes.slot_of(inode)
        evictable = slot in mounts.resident and slot not in volume.sessions.writers
        if not evictable or inodes.change[slot] != change or slot not in mounts.tags:
            continue
        until = mounts.pinned_until(tree, slot)
        if mounts.mount_of(tree, slot) is None or (
            until is not None and (not until or command.now < until)
        ):
            continue
        mounts.resident.pop(slot, None)
        volume.blocks.cut(slot, 0, command.discards, FREED_AT_ONCE)
        inodes.generation[slot] += 1
        tree.mark(slot, inodes.changed[slot], command.index)
    return Empty()


def _changed(volume: Volume, inode: int, version: int) -> tuple[int, Change]:
    """The slot of a file that the store lacks, in this version. Raises StaleHandleError."""
    slot = volume.tree.inodes.slot_of(inode)
    change = volume.mounts.changes.get(slot)
    if not slot or change is None or change.version != version:
        raise StaleHandleError("the file has changed since, or is gone")
    return slot, change
