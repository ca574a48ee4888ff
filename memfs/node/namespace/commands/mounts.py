"""Mounts of external stores: mounting, what stores say of objects, and taking a mount away.

The store's answers arrive as data. They replace what is known of a name unless the name was changed
here: then the change is sent to the store, where a conflict shows. A new version of an object is a
new file: it gets a new inode, which inherits owner, mode, access list and extended attributes, so
that a reader of the old one never sees bytes of two versions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from memfs import limits
from memfs.errors import (
    DirectoryNotEmptyError,
    InvalidArgumentError,
    MemfsError,
    MountBusyError,
    NotDirectoryError,
    StaleHandleError,
)
from memfs.node.namespace.commands.put import inherit
from memfs.node.namespace.rules.mounted import not_mounted
from memfs.node.namespace.rules.naming import check_new_name, maker
from memfs.node.namespace.rules.permissions import WRITE
from memfs.node.namespace.rules.refusals import not_superuser, text
from memfs.node.namespace.tables.inodes import DIRECTORY, FILE, ROOT
from memfs.node.namespace.tables.mounts import MountPoint
from memfs.node.namespace.tables.tree import Place
from memfs.node.namespace.tables.unsaved import NOTHING, Unsaved
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.paths import check_name
from memfs.protocol.messages import (
    Empty,
    ForgetObjects,
    KnownObject,
    LearnObjects,
    Mount,
    MountMode,
    MountRecord,
    Pin,
    Unmount,
)
from memfs.quantities import counted
from memfs.types import ROOT_INODE

_FILE_MODE: Final = 0o644
_DIRECTORY_MODE: Final = 0o755
POLICIES: Final = ("aged", "keep", "lru")


# --- the mount table -------------------------------------------------------------------------


def mount(volume: Volume, command: Command, request: Mount) -> MountRecord:
    """Mount a store, or change how one is mounted."""
    if not command.caller.superuser:
        raise not_superuser(command.caller)
    _check(request)
    mounts = volume.mounts
    if request.update:
        slot, former = _mounted(volume, command, request.path)
    else:
        parent, name, slot = _place(volume, command, request)
        made = not slot
        if made:
            slot = volume.make_directory(command, parent, name, _DIRECTORY_MODE)
        former = MountPoint(
            mounts.next_number, slot, request.url, 0, (), False, False, "", 0, 0, 1, 0, made
        )
        mounts.next_number += 1
    fresh = mounts.by_slot[slot] = _with(former, request)
    volume.tree.mark(slot, command.now, command.index)
    return record_of(fresh, request.path)


def _place(volume: Volume, command: Command, request: Mount) -> Place:
    """Where a new mount goes: a free name, or an empty directory that is no mount."""
    tree, path = volume.tree, request.path.rstrip(b"/")
    make = maker(volume, command, path)
    place = tree.locate(command.caller, ROOT_INODE, path or b"/", make=make)
    slot = place[2]
    if not slot:
        check_new_name(volume, command, place, path)
        return place
    if slot == ROOT:
        raise InvalidArgumentError("no store can be the root: mount it at a directory below")
    if tree.inodes.kind[slot] != DIRECTORY:
        raise NotDirectoryError("a mount needs a directory", path=text(path))
    if slot in volume.mounts.by_slot:
        url = volume.mounts.by_slot[slot].url
        raise MountBusyError(f"{url} is mounted there: unmount it first", path=text(path))
    if tree.directory(slot).count:
        raise DirectoryNotEmptyError(
            "a mount needs a name that is free or an empty directory", path=text(path)
        )
    return place


def _check(request: Mount) -> None:
    if request.mode not in MountMode._value2member_map_:
        raise InvalidArgumentError(f"{request.mode} is no mode of a mount")
    if request.policy not in POLICIES:
        raise InvalidArgumentError(
            f"{request.policy!r} is no cache policy: {', '.join(POLICIES)} are"
        )
    if not 1 <= request.copies <= limits.REPLICAS_MAX:
        raise InvalidArgumentError(f"1 to {limits.REPLICAS_MAX} nodes can cache a block")
    if request.ttl_ms < 0 or request.sync_ms < -1:
        raise InvalidArgumentError("a time to live or a sync interval is not negative")
    if request.quota < 0:
        raise InvalidArgumentError("a quota is not negative")
    if not request.update and "://" not in request.url:
        raise InvalidArgumentError(f"{request.url!r} is no URL of a store, as s3://bucket/prefix")


def _mounted(volume: Volume, command: Command, path: bytes) -> tuple[int, MountPoint]:
    """The mount at a path. Raises PathNotFoundError, InvalidArgumentError as umount(2) does."""
    slot = volume.tree.find(command.caller, ROOT_INODE, path)
    found = volume.mounts.by_slot.get(slot)
    if found is None:
        raise not_mounted(path)
    return slot, found


def _with(mount: MountPoint, request: Mount) -> MountPoint:
    """The mount as a request wants it."""
    return mount._replace(
        mode=request.mode,
        options=request.options,
        read_only=request.read_only,
        shared=request.shared,
        policy=request.policy,
        ttl_ms=request.ttl_ms,
        sync_ms=request.sync_ms,
        copies=request.copies,
        generation=mount.generation + 1,
        quota=request.quota,
    )


def record_of(mount: MountPoint, path: bytes, unsaved: Unsaved = NOTHING) -> MountRecord:
    """What is told of a mount. ``unsaved``: what the store lacks."""
    return MountRecord(
        mount.number,
        path,
        mount.url,
        mount.mode,
        mount.options,
        mount.read_only,
        mount.shared,
        mount.policy,
        mount.ttl_ms,
        mount.sync_ms,
        mount.copies,
        mount.generation,
        unsaved.changes,
        unsaved.since_ns,
        quota=mount.quota,
    )


def unmount(volume: Volume, command: Command, request: Unmount) -> Empty:
    """Take a mount away, and all that is shown below it."""
    if not command.caller.superuser:
        raise not_superuser(command.caller)
    tree, mounts = volume.tree, volume.mounts
    slot, found = _mounted(volume, command, request.path)
    if any(each != slot and tree.has_ancestor(each, slot) for each in mounts.by_slot):
        raise MountBusyError(
            "another mount lies below: unmount that first", path=text(request.path)
        )
    lacking = mounts.unsaved.of(found.number).changes
    if lacking and not request.discard:
        raise MountBusyError(
            f"{counted(lacking, 'change is', 'changes are')} not in the store yet, below "
            f"{text(request.path)}: persist (memfs persist), or discard (--discard)"
        )
    writing = [s for s in volume.sessions.writers if tree.has_ancestor(s, slot)]
    if writing and not request.discard:
        raise MountBusyError(
            f"{counted(len(writing), 'file is', 'files are')} open for writing below "
            f"{text(request.path)}"
        )
    for key in [key for key in mounts.tombstones if key[0] == found.number]:
        del mounts.tombstones[key]
    for pinned in [s for s in mounts.pins if mounts.mount_of(tree, s) is found]:
        del mounts.pins[pinned]
    for changed in [s for s, each in mounts.changes.items() if each.mount == found.number]:
        del mounts.changes[changed]
    for buried in [s for s, key in mounts.buried.items() if key[0] == found.number]:
        mounts.end_burying(buried)
    del mounts.by_slot[slot]
    parent = tree.inodes.parent[slot]
    if not found.made:
        _clear(volume, command, slot)
    else:
        name = tree.directory(parent).name_of(slot)
        assert name is not None, "a mount has a name"
        tree.remove_name(parent, name)
        volume.remove_directory(command, parent, slot)
        tree.touch(parent, command.now, command.index)
    return Empty()


def _clear(volume: Volume, command: Command, slot: int) -> None:
    """Take everything out of a directory: Reclaim frees it."""
    tree = volume.tree
    for name, child in list(tree.directory(slot).items()):
        tree.remove_name(slot, name)
        _drop(volume, command, slot, child)
    tree.touch(slot, command.now, command.index)


def _drop(volume: Volume, command: Command, parent: int, child: int) -> None:
    """Remove what lost its name in ``parent``; readers that have it open may get an error."""
    if volume.tree.inodes.kind[child] == DIRECTORY:
        volume.remove_directory(command, parent, child)
    else:
        volume.unlink(command, parent, child)


def pin(volume: Volume, command: Command, request: Pin) -> Empty:
    """Pin or unpin a file or tree in memory; needs write permission."""
    tree, mounts = volume.tree, volume.mounts
    slot = tree.find(command.caller, request.base, request.path)
    if mounts.mount_of(tree, slot) is None:
        raise InvalidArgumentError("only what a store has needs a pin", path=text(request.path))
    if request.ttl_ms < 0:
        raise InvalidArgumentError("a time is not negative")
    tree.require(command.caller, slot, WRITE, request.path)
    if request.unpin:
        mounts.pins.pop(slot, None)
    else:
        mounts.pins[slot] = command.now + request.ttl_ms * 1_000_000 if request.ttl_ms else 0
    return Empty()


# --- what stores say -------------------------------------------------------------------------


def learn_objects(volume: Volume, command: Command, request: LearnObjects) -> Empty:
    """Add or update the names of a directory as the store lists them."""
    found, slot = _directory_of(volume, request.mount, request.generation, request.directory)
    prefix = volume.mounts.key_of(volume.tree, found, slot)
    assert prefix is not None, "a directory below a mount has a key"
    changed = False
    for known in request.objects:
        key = prefix + b"/" + known.name if prefix else known.name
        if not volume.mounts.is_deleted(found.number, key) and _is_name(known.name):
            changed |= _learn(volume, command, slot, known)
    if changed:
        volume.tree.touch(slot, command.now, command.index)
    return Empty()


def news(
    volume: Volume, mount: int, generation: int, inode: int, objects: Iterable[KnownObject]
) -> list[KnownObject]:
    """Those of what a store lists in a directory that are not known just so: the others change
    nothing. Raises StaleHandleError."""
    _, slot = _directory_of(volume, mount, generation, inode)
    find, tags, kinds = volume.tree.directory(slot).get, volume.mounts.tags, volume.tree.inodes.kind
    found = []
    for known in objects:
        child = find(known.name)
        is_directory = kinds[child] == DIRECTORY
        same = child and is_directory == known.directory and tags.get(child) == known.tag
        if not same:
            found.append(known)
    return found


def forget_objects(volume: Volume, command: Command, request: ForgetObjects) -> Empty:
    """Remove names that the store no longer has, unless they were changed here."""
    _, slot = _directory_of(volume, request.mount, request.generation, request.directory)
    directory = volume.tree.directory(slot)
    changed = False
    for name in request.names:
        child = directory.get(name)
        if child and _is_clean(volume, child):
            volume.tree.remove_name(slot, name)
            _drop(volume, command, slot, child)
            changed = True
    if changed:
        volume.tree.touch(slot, command.now, command.index)
    return Empty()


def _directory_of(
    volume: Volume, number: int, generation: int, inode: int
) -> tuple[MountPoint, int]:
    """The mount and the slot of a directory below it. Raises StaleHandleError."""
    slot = volume.tree.inodes.slot_of(inode)
    found = volume.mounts.mount_of(volume.tree, slot) if slot else None
    if found is None or found.number != number or volume.tree.inodes.kind[slot] != DIRECTORY:
        raise StaleHandleError("the directory is below that mount no more")
    if found.generation != generation:
        raise StaleHandleError("the mount was changed meanwhile")
    return found, slot


def _is_name(name: bytes) -> bool:
    try:
        check_name(name)
    except MemfsError:
        return False
    return True


def _is_clean(volume: Volume, slot: int) -> bool:
    """Is it unchanged since the store was asked, a directory with all below?

    Costs a step for each inode.
    """
    mounts, tree = volume.mounts, volume.tree
    if slot in mounts.by_slot or slot in mounts.changes or slot in volume.sessions.writers:
        return False
    if slot not in mounts.tags:
        return False
    if tree.inodes.kind[slot] != DIRECTORY:
        return True
    return all(_is_clean(volume, child) for _, child in tree.directory(slot).items())


def _learn(volume: Volume, command: Command, parent: int, known: KnownObject) -> bool:
    """Update one name from the store; returns whether that changed anything."""
    tree, mounts = volume.tree, volume.mounts
    slot = tree.directory(parent).get(known.name)
    if slot:
        is_directory = tree.inodes.kind[slot] == DIRECTORY
        if is_directory and known.directory:
            if slot in mounts.tags:
                return False
            if slot not in mounts.changes and slot not in mounts.by_slot:
                mounts.tags.set(slot, b"")
            return False
        if not is_directory and not known.directory and mounts.tags.get(slot) == known.tag:
            return False
        if not _is_clean(volume, slot):
            return False
    if known.directory:
        _learn_directory(volume, command, parent, known.name, slot)
    else:
        _learn_file(volume, command, parent, known, slot)
    return True


def _learn_directory(volume: Volume, command: Command, parent: int, name: bytes, old: int) -> None:
    tree = volume.tree
    if old:
        tree.remove_name(parent, name)
        _drop(volume, command, parent, old)
    command.owner, command.group = tree.owners.values[tree.inodes.owner[parent]]
    slot = volume.make_directory(command, parent, name, _DIRECTORY_MODE)
    volume.mounts.tags.set(slot, b"")


def _learn_file(
    volume: Volume, command: Command, parent: int, known: KnownObject, old: int
) -> None:
    tree, inodes = volume.tree, volume.tree.inodes
    settings = volume.settings
    command.owner, command.group = tree.owners.values[inodes.owner[parent]]
    number = tree.layouts.acquire(
        (settings.block_size, settings.group_blocks, settings.replication)
    )
    size = min(max(known.size, 0), limits.FILE_BYTES_MAX)
    slot = volume.new_inode(command, parent, FILE, _FILE_MODE, layout=number, size=size)
    inodes.modified[slot] = known.modified_ns or command.now
    volume.mounts.tags.set(slot, known.tag)
    if old:
        if inodes.kind[old] == FILE:
            inherit(volume, command, slot, old)
        tree.replace_name(parent, known.name, slot)
        _drop(volume, command, parent, old)
    else:
        tree.insert_name(parent, known.name, slot)
    length, space = tree.weight(slot)
    tree.charge(parent, length, 1, 0, space)
    tree.touched.append(inodes.id_of(slot))
