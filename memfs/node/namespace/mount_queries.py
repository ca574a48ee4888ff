"""Queries about mounts: what is mounted, and where a node finds the content of a file."""

from __future__ import annotations

from memfs.errors import ObjectChangedError, UnsupportedError
from memfs.node.namespace.commands.mounts import record_of
from memfs.node.namespace.rules.permissions import Caller
from memfs.node.namespace.tables.inodes import FILE, ROOT
from memfs.node.namespace.tables.volume import Volume
from memfs.protocol.messages import (
    DescribeObjects,
    ListMounts,
    MountsReply,
    ObjectPlace,
    ObjectPlaces,
    ObjectVersion,
)

_MOUNTS_PER_PAGE = 50
_PLACES_PER_RECORD = 200


def list_mounts(volume: Volume, caller: Caller, request: ListMounts) -> MountsReply:
    """A page of mounts."""
    mounts = sorted(m for m in volume.mounts.by_slot.values() if m.number > request.after)
    page = mounts[:_MOUNTS_PER_PAGE]
    unsaved = volume.mounts.unsaved
    return MountsReply(
        tuple(
            [record_of(each, path_of(volume, each.slot), unsaved.of(each.number)) for each in page]
        ),
        len(mounts) > len(page),
    )


def path_of(volume: Volume, slot: int) -> bytes:
    """The path of what has one name; looks at all names on the way up."""
    tree, names = volume.tree, []
    while slot != ROOT:
        parent = tree.inodes.parent[slot]
        names.append(tree.directory(parent).name_of(slot) or b"?")
        slot = parent
    return b"/" + b"/".join(reversed(names))


def describe_objects(volume: Volume, caller: Caller, request: DescribeObjects) -> ObjectPlaces:
    """What it takes to fetch each file's content from its store."""
    return ObjectPlaces(
        tuple([_place(volume, each) for each in request.objects[:_PLACES_PER_RECORD]])
    )


def _place(volume: Volume, wanted: ObjectVersion) -> ObjectPlace:
    tree, mounts = volume.tree, volume.mounts
    slot = tree.inodes.slot_of(wanted.inode)
    if not slot or tree.inodes.kind[slot] != FILE or not mounts.is_external(slot):
        return ObjectPlace(ObjectChangedError.code)
    mount = mounts.mount_of(tree, slot)
    if mount is None or tree.inodes.generation[slot] != wanted.sequence:
        return ObjectPlace(ObjectChangedError.code)
    key, tag = mounts.key_of(tree, mount, slot), mounts.tags.get(slot)
    if key is None or tag is None:
        return ObjectPlace(ObjectChangedError.code)
    try:
        name = key.decode("utf-8")
    except UnicodeDecodeError:
        return ObjectPlace(UnsupportedError.code)
    block_size, group_blocks, _ = tree.layouts.values[tree.inodes.layout[slot]]
    return ObjectPlace(
        0,
        mount.number,
        mount.generation,
        name,
        tag,
        tree.inodes.size[slot],
        block_size,
        group_blocks,
        mounts.pinned_until(tree, slot),
    )
