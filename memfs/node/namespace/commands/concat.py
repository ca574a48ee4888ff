"""concat: one file takes over the blocks of others, which vanish; no bytes are moved.

The blocks keep the versions under which they were written, so the inodes of the sources live on as
ABSORBED (``memfs.node.namespace.tables.block_maps``) until the last of their versions is gone.
Files whose layouts do not allow this are copied by the client; the sources are then removed in one
step, if they are unchanged since.
"""

from __future__ import annotations

from memfs.errors import (
    InvalidArgumentError,
    IsDirectoryError,
    LeaseLostError,
    StaleHandleError,
)
from memfs.node.namespace.commands.files import check_unleased, check_writable
from memfs.node.namespace.rules import mounted
from memfs.node.namespace.rules.acls import NO_ACL
from memfs.node.namespace.rules.naming import existing_entry_of
from memfs.node.namespace.rules.permissions import READ, mode_after_write
from memfs.node.namespace.rules.published_content import check_size
from memfs.node.namespace.rules.quotas import check_concat
from memfs.node.namespace.rules.refusals import text
from memfs.node.namespace.tables.inodes import ABSORBED, DIRECTORY, FILE, NOWHERE
from memfs.node.namespace.tables.tree import Place
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.protocol.messages import Concat, LookupReply
from memfs.types import ROOT_INODE


def concat(volume: Volume, command: Command, request: Concat) -> LookupReply:
    """Append the sources to ``path`` in order and remove them.

    Needs write permission on the target, read permission on each source and the right to remove
    its name. All must have the same layout of blocks, no writer, and the sources one name each;
    what the caller has copied may have any layout.
    """
    tree = volume.tree
    target = tree.find(command.caller, ROOT_INODE, request.path)
    check_writable(volume, command, target, request.path)
    places = [existing_entry_of(volume, command, ROOT_INODE, path) for path in request.sources]
    slots = [place[2] for place in places]
    if not slots or len({target, *slots}) != len(slots) + 1:
        raise InvalidArgumentError("concat needs sources, each another file than the target")
    for place, path in zip(places, request.sources, strict=True):
        _check_source(volume, command, place, path)
    if volume.mounts:
        mounted.check_concat(volume, target, places, request)
    if request.copied:
        return _remove_copied(volume, command, target, places, request)
    check_unleased(volume, target, request.path)
    _check_layouts(volume, [target, *slots], request)
    check_concat(tree, target, places, request.path)
    for place in places:
        _absorb(volume, command, target, place)
    tree.inodes.set_mode(target, mode_after_write(tree.inodes.mode[target], command.caller))
    tree.touch(target, command.now, command.index)
    volume.changed(command, target)
    return LookupReply(volume.attributes(target))


def _check_source(volume: Volume, command: Command, place: Place, path: bytes) -> None:
    inodes = volume.tree.inodes
    parent, _, slot = place
    if inodes.kind[slot] == DIRECTORY:
        raise IsDirectoryError("is a directory", path=text(path))
    if inodes.kind[slot] != FILE or inodes.links[slot] > 1:
        raise InvalidArgumentError("a source is a file with one name", path=text(path))
    volume.tree.require(command.caller, slot, READ, path)
    volume.check_removal(command.caller, parent, slot, path)
    check_unleased(volume, slot, path)


def _remove_copied(
    volume: Volume, command: Command, target: int, places: list[Place], request: Concat
) -> LookupReply:
    """Remove sources that the caller has copied into the target under their lease."""
    tree, inodes = volume.tree, volume.tree.inodes
    if volume.sessions.writers.get(target) != command.client:
        raise LeaseLostError("the lease is over: open the file again", path=text(request.path))
    if len(request.copied) != len(places):
        raise InvalidArgumentError("one version of each source is needed")
    for place, path, seen in zip(places, request.sources, request.copied, strict=True):
        slot = place[2]
        if (inodes.id_of(slot), inodes.change[slot]) != seen:
            raise StaleHandleError("it has changed while it was copied", path=text(path))
    for parent, name, slot in places:
        if volume.mounts:
            mounted.deleted(volume, command, parent, name, slot)
        tree.remove_name(parent, name)
        volume.unlink(command, parent, slot)
        tree.touch(parent, command.now, command.index)
    return LookupReply(volume.attributes(target))


def _check_layouts(volume: Volume, slots: list[int], request: Concat) -> None:
    tree = volume.tree
    paths = (request.path, *request.sources)
    layouts = [tree.layouts.values[tree.inodes.layout[slot]] for slot in slots]
    block_size = layouts[0][0]
    for slot, layout, path in zip(slots, layouts, paths, strict=True):
        if layout[:2] != layouts[0][:2]:
            raise InvalidArgumentError("the files have different block sizes", path=text(path))
        if slot != slots[-1] and tree.inodes.size[slot] % block_size:
            raise InvalidArgumentError("it does not end on a block boundary", path=text(path))
    check_size(sum(tree.inodes.size[slot] for slot in slots), block_size)


def _absorb(volume: Volume, command: Command, target: int, place: Place) -> None:
    """Move one source's blocks and remove its name."""
    tree, inodes = volume.tree, volume.tree.inodes
    parent, name, source = place
    size = inodes.size[source]
    length, space = tree.weight(source)
    if volume.mounts:
        mounted.deleted(volume, command, parent, name, source)
    tree.remove_name(parent, name)
    tree.charge(parent, -length, -1, 0, -space)
    tree.touch(parent, command.now, command.index)
    volume.end_locks(command, source)
    volume.mounts.forget(source)
    volume.blocks.absorb(target, volume.block_count(target), source)
    tree.resize(target, inodes.size[target] + size)
    if inodes.kind[source] == ABSORBED:
        tree.owners.release(inodes.owner[source])
        tree.layouts.release(inodes.layout[source])
        tree.xattrs.forget(source)
        tree.set_acl(source, NO_ACL)
    else:
        inodes.set_parent(source, NOWHERE)
        tree.forget(source)
