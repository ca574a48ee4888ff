"""Making and removing directories.

Recursive removal is one step whatever the size of the tree: it takes the tree's top off its parent,
and Reclaim frees what hangs below. ``subtrees`` says whether the caller may, as if each directory
below were emptied by itself; one that refuses keeps the whole tree.
"""

from __future__ import annotations

from memfs.errors import (
    DirectoryNotEmptyError,
    NotDirectoryError,
    PathExistsError,
    PathNotFoundError,
    RequestError,
    UnmovableError,
)
from memfs.node.namespace.rules import mounted
from memfs.node.namespace.rules.naming import (
    check_new_name,
    entry_of,
    existing_entry_of,
    maker,
    no_name,
)
from memfs.node.namespace.rules.refusals import text
from memfs.node.namespace.rules.subtrees import check_removable
from memfs.node.namespace.tables.inodes import DIRECTORY
from memfs.node.namespace.tables.tree import Place
from memfs.node.namespace.tables.volume import Command, Volume, check_mode
from memfs.protocol.messages import MadeReply, MakeDirectory, NamesReply, RemoveDirectory

_ENDS_IN_EXISTING = (b"", b".", b"..")


def make_directory(volume: Volume, command: Command, request: MakeDirectory) -> MadeReply:
    """mkdir, or with ``parents`` mkdir -p."""
    command.make_for(request.owner, request.group)
    check_mode(request.mode, request.unmasked)
    place = _new_place(volume, command, request)
    parent, name, slot = place
    if slot:
        if not request.parents or volume.tree.inodes.kind[slot] != DIRECTORY:
            raise PathExistsError("the name is taken", path=text(request.path))
    else:
        check_new_name(volume, command, place, request.path)
        volume.tree.check_depth(parent, 1)
        slot = volume.make_directory(command, parent, name, request.mode, request.unmasked)
        volume.changed(command, slot)
    return MadeReply(volume.attributes(slot), volume.also_changed(request.path, parent))


def _new_place(volume: Volume, command: Command, request: MakeDirectory) -> Place:
    path = request.path
    if request.parents:
        make, bare = maker(volume, command, path), path.rstrip(b"/")
        place = volume.tree.locate(command.caller, request.base, bare, make=make)
        if place[2]:
            return place
        # Nothing is made through a link that leads nowhere, as by mkdir(2).
        return volume.tree.locate(command.caller, request.base, bare, follow=False)
    if path.rstrip(b"/").rpartition(b"/")[2] in _ENDS_IN_EXISTING:
        place = volume.tree.locate(command.caller, request.base, path)
        if not place[2]:
            raise PathNotFoundError("no such directory", path=text(path))
        return place
    return entry_of(volume, command, request.base, path, must_be_directory=False)


def _stays(path: bytes, last: bytes) -> RequestError:
    """As rmdir(2)."""
    if last == b"..":
        return DirectoryNotEmptyError("the directory is not empty", path=text(path))
    return UnmovableError("the root stays", path=text(path)) if not last else no_name(path, last)


def remove_directory(volume: Volume, command: Command, request: RemoveDirectory) -> NamesReply:
    """rmdir, or the whole tree."""
    path = request.path
    parent, name, slot = existing_entry_of(volume, command, request.base, path, _stays)
    volume.check_removal(command.caller, parent, slot, path)
    tree = volume.tree
    if tree.inodes.kind[slot] != DIRECTORY:
        raise NotDirectoryError("not a directory", path=text(path))
    if tree.directory(slot).count:
        if not request.recursive:
            raise DirectoryNotEmptyError("the directory is not empty", path=text(path))
        check_removable(tree, command.caller, slot, path)
    if volume.mounts:
        mounted.check_movable(volume, slot, path)
        mounted.deleted(volume, command, parent, name, slot)
    tree.remove_name(parent, name)
    volume.remove_directory(command, parent, slot)
    tree.touch(parent, command.now, command.index)
    return NamesReply(volume.also_changed(path, parent))
