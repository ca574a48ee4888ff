"""Making and removing directories.

Recursive removal is one step whatever the size of the tree: it takes the tree's top off its parent,
and Reclaim frees what hangs below. Being O(1) it cannot look at every directory below; it demands
of the caller what removing the first level would: read, write and search permission on the
top itself when that is not empty, and, when the top has the sticky bit, to be its owner.
"""

from __future__ import annotations

from memfs.errors import (
    DirectoryNotEmptyError,
    NotDirectoryError,
    NotPermittedError,
    PathExistsError,
)
from memfs.node.namespace.inodes import DIRECTORY
from memfs.node.namespace.naming import check_new_name, entry_of, existing_entry_of, maker
from memfs.node.namespace.permissions import CHANGE, READ, STICKY
from memfs.node.namespace.tree import Place, text
from memfs.node.namespace.volume import Command, Volume, check_mode
from memfs.protocol.messages import Empty, LookupReply, MakeDirectory, RemoveDirectory

_ENDS_IN_EXISTING = (b"", b".", b"..")


def make_directory(volume: Volume, command: Command, request: MakeDirectory) -> LookupReply:
    """mkdir, or with ``parents`` mkdir -p."""
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
    return LookupReply(volume.attributes(slot))


def _new_place(volume: Volume, command: Command, request: MakeDirectory) -> Place:
    path = request.path
    if request.parents:
        make = maker(volume, command, path)
        return volume.tree.locate(command.caller, request.base, path.rstrip(b"/"), make=make)
    if path.rstrip(b"/").rpartition(b"/")[2] in _ENDS_IN_EXISTING:
        return volume.tree.locate(command.caller, request.base, path)
    return entry_of(volume, command, request.base, path, must_be_directory=False)


def remove_directory(volume: Volume, command: Command, request: RemoveDirectory) -> Empty:
    """rmdir, or the whole tree."""
    path = request.path
    parent, name, slot = existing_entry_of(volume, command, request.base, path)
    volume.check_removal(command.caller, parent, slot, path)
    tree = volume.tree
    if tree.inodes.kind[slot] != DIRECTORY:
        raise NotDirectoryError("not a directory", path=text(path))
    if tree.directory(slot).count:
        if not request.recursive:
            raise DirectoryNotEmptyError("the directory is not empty", path=text(path))
        _check_contents_removable(volume, command, slot, path)
    tree.directory(parent).remove(name)
    volume.remove_directory(command, parent, slot)
    tree.touch(parent, command.now, command.index)
    return Empty()


def _check_contents_removable(volume: Volume, command: Command, slot: int, path: bytes) -> None:
    tree = volume.tree
    tree.require(command.caller, slot, READ | CHANGE, path)
    if tree.inodes.mode[slot] & STICKY and not tree.owns(command.caller, slot):
        raise NotPermittedError("the sticky bit protects what it holds", path=text(path))
