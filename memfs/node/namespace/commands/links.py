"""Names of files and symlinks: unlink, hard links, symbolic links.

As Linux, a hard link to a symlink names the symlink itself, and directories have no hard links. A
link that replaces what has its name does what rename over it would, and needs no name meanwhile.
"""

from __future__ import annotations

from memfs import limits
from memfs.errors import (
    InvalidArgumentError,
    InvalidPathError,
    IsDirectoryError,
    NameTooLongError,
    NotPermittedError,
    RequestError,
    StaleHandleError,
    TooManyLinksError,
)
from memfs.node.namespace.rules import mounted
from memfs.node.namespace.rules.naming import (
    check_new_name,
    check_replaced,
    existing_entry_of,
    free_place_of,
    maker_unless_directory,
)
from memfs.node.namespace.rules.permissions import CHANGE
from memfs.node.namespace.rules.quotas import check_growth
from memfs.node.namespace.rules.refusals import text
from memfs.node.namespace.tables.inodes import DIRECTORY, SYMLINK
from memfs.node.namespace.tables.tree import Place
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.paths import check_name
from memfs.protocol.messages import (
    MadeReply,
    MakeLink,
    MakeSymlink,
    NamesReply,
    Unlink,
)

_SYMLINK_MODE = 0o777


def unlink(volume: Volume, command: Command, request: Unlink) -> NamesReply:
    """Take a name away; the last one takes the inode with it, unless somebody has it open."""
    path = request.path
    parent, name, slot = existing_entry_of(volume, command, request.base, path, is_directory)
    volume.check_removal(command.caller, parent, slot, path)
    inodes = volume.tree.inodes
    if inodes.kind[slot] == DIRECTORY:
        raise IsDirectoryError("is a directory", path=text(path))
    other = request.inode not in (0, inodes.id_of(slot))
    if other or request.generation not in (0, inodes.generation[slot]):
        raise StaleHandleError("somebody else's file is there", path=text(path))
    if volume.mounts:
        mounted.deleted(volume, command, parent, name, slot)
    volume.tree.remove_name(parent, name)
    volume.unlink(command, parent, slot)
    volume.tree.touch(parent, command.now, command.index)
    return NamesReply(volume.also_changed(path, parent))


def is_directory(path: bytes, last: bytes) -> RequestError:
    """The refusal of a directory's name."""
    return IsDirectoryError("is a directory", path=text(path))


def make_symlink(volume: Volume, command: Command, request: MakeSymlink) -> MadeReply:
    """Make a symbolic link; what it says need not exist."""
    command.make_for(request.owner, request.group)
    _check_target(request.target)
    make = maker_unless_directory(volume, command, request.path, request.parents)
    replace = request.replace
    place = free_place_of(volume, command, request.base, request.path, make, replace=replace)
    tree = volume.tree
    parent, _, old = place
    if not old:
        check_new_name(volume, command, place, request.path)
    else:
        check_replaced(volume, command, place, request.path)
        if tree.inodes.links[old] > 1 or tree.owner_of(old) != command.owner:
            volume.check_inodes(command, 1, request.path)
    if volume.mounts:
        mounted.check_kind(volume, parent, "symbolic links", request.path)
    slot = volume.new_inode(command, parent, SYMLINK, _SYMLINK_MODE)
    tree.inodes.set_extra(slot, tree.targets.add(request.target))
    tree.inodes.size[slot] = len(request.target)
    _enter(volume, command, place, slot)
    tree.charge(parent, 0, 1, 0, 0)
    tree.touch(parent, command.now, command.index)
    return MadeReply(volume.attributes(slot), volume.also_changed(request.path, parent))


def make_link(volume: Volume, command: Command, request: MakeLink) -> MadeReply:
    """Give a file a further name, or the first one to a file that was made without."""
    tree = volume.tree
    slot = tree.find(command.caller, request.source_base, request.source, follow=False)
    replace = request.replace
    place = free_place_of(volume, command, request.base, request.path, replace=replace)
    parent, name, old = place
    if old == slot:
        return MadeReply(volume.attributes(slot))
    if old:
        check_replaced(volume, command, place, request.path)
    check_name(name)
    tree.require(command.caller, parent, CHANGE, request.path)
    if tree.inodes.kind[slot] == DIRECTORY:
        raise NotPermittedError("a directory has one name only", path=text(request.source))
    if slot in tree.nameless:
        raise StaleHandleError("the file gets its name when it is complete")
    if slot in tree.linkable:
        return _name_first(volume, command, request, place, slot)
    if slot in tree.unlinked:
        raise StaleHandleError("the file was deleted")
    if tree.inodes.links[slot] >= limits.LINK_COUNT:
        raise TooManyLinksError(f"the file has {limits.LINK_COUNT} links already")
    if volume.mounts:
        mounted.check_kind(volume, parent, "hard links", request.path)
        mounted.check_kind(volume, slot, "hard links", request.source)
    if not old:
        check_growth(tree, parent, 1, 0, request.path)
    _enter(volume, command, place, slot)
    tree.note_link(parent, slot)
    tree.inodes.links[slot] += 1
    tree.mark(slot, command.now, command.index)
    tree.touch(parent, command.now, command.index)
    return MadeReply(volume.attributes(slot), volume.also_changed(request.path, parent))


def _name_first(
    volume: Volume, command: Command, request: MakeLink, place: Place, slot: int
) -> MadeReply:
    """It counts from now on where its name is; who writes it goes on under the same lease."""
    tree = volume.tree
    parent, _, old = place
    if volume.mounts:
        volume.mounts.check_writable(tree, parent, request.path)
    length, space = tree.weight(slot)
    freed = tree.weight(old)[1] if old and tree.inodes.links[old] == 1 else 0
    check_growth(tree, parent, 0 if old else 1, space - freed, request.path)
    tree.end_unlinked(slot)
    tree.inodes.set_parent(slot, parent)
    tree.inodes.links[slot] = 1
    if old:
        volume.mounts.replaced(slot, old)
    _enter(volume, command, place, slot)
    tree.charge(parent, length, 1, 0, space)
    tree.mark(slot, command.now, command.index)
    tree.touch(parent, command.now, command.index)
    volume.changed(command, slot)
    return MadeReply(volume.attributes(slot), volume.also_changed(request.path, parent))


def _enter(volume: Volume, command: Command, place: Place, slot: int) -> None:
    """Let the name mean ``slot``; what had it has a name less."""
    parent, name, old = place
    if old:
        volume.tree.replace_name(parent, name, slot)
        volume.unlink(command, parent, old)
    else:
        volume.tree.insert_name(parent, name, slot)


def _check_target(target: bytes) -> None:
    if not target or len(target) > limits.SYMLINK_BYTES:
        raise (NameTooLongError if target else InvalidArgumentError)(
            f"a symlink holds 1 to {limits.SYMLINK_BYTES} bytes"
        )
    if b"\0" in target:
        raise InvalidPathError("a symlink cannot hold a NUL byte")
    try:
        target.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidArgumentError("a symlink holds valid UTF-8") from None
