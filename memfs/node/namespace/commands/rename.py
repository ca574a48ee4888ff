"""rename(2): one atomic step whatever the size of the tree (RenameAtomic, TreeAcyclic).

The order of checks is that of Linux: what exists, cycles, the same file, permission, kinds.
"""

from __future__ import annotations

from memfs.errors import (
    DirectoryNotEmptyError,
    InvalidArgumentError,
    IsDirectoryError,
    NotDirectoryError,
    PathExistsError,
    PathNotFoundError,
    RequestError,
    UnmovableError,
)
from memfs.node.namespace.rules import mounted
from memfs.node.namespace.rules.naming import check_way, entry_of, existing_entry_of, unnamed
from memfs.node.namespace.rules.permissions import CHANGE, WRITE
from memfs.node.namespace.rules.quotas import check_rename
from memfs.node.namespace.rules.refusals import text
from memfs.node.namespace.tables.inodes import DIRECTORY
from memfs.node.namespace.tables.tree import Place
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.paths import check_name
from memfs.protocol.messages import NamesReply, Rename
from memfs.types import RenameMode


def rename(volume: Volume, command: Command, request: Rename) -> NamesReply:
    """Move a name, replacing, keeping or swapping what the target holds."""
    if request.mode not in RenameMode._value2member_map_:
        raise InvalidArgumentError(f"{request.mode} is no mode of rename")
    source, target = _places(volume, command, request)
    check_name(target[1])
    exchange = request.mode == RenameMode.EXCHANGE
    if request.mode == RenameMode.KEEP and target[2]:
        raise PathExistsError("the name is taken", path=text(request.target))
    if exchange and not target[2]:
        raise PathNotFoundError("nothing to swap with", path=text(request.target))
    _check_slash(volume, source, target, request)
    _check_cycle(volume, source, target, exchange, request)
    if source[2] == target[2]:
        return NamesReply()
    _check_permission(volume, command, source, target, exchange, request)
    if not exchange:
        _check_kinds(volume, source[2], target[2], request)
    check_rename(volume.tree, source, target, exchange, request.target)
    if volume.mounts:
        mounted.check_rename(volume, source, target, exchange, request)
        mounted.renamed(volume, command, source, target)
    if exchange:
        _swap(volume, source, target)
    else:
        _replace(volume, command, source, target)
    if volume.mounts:
        volume.changed(command, source[2])
    for place in (source, target):
        volume.tree.touch(place[0], command.now, command.index)
    volume.tree.mark(source[2], command.now, command.index)
    if exchange:
        volume.tree.mark(target[2], command.now, command.index)
    return NamesReply(volume.also_changed(request.source, source[0], target[0], source[2]))


def _places(volume: Volume, command: Command, request: Rename) -> tuple[Place, Place]:
    """Where both names are. As Linux, it is known of both directories before any name counts."""
    bases = (request.source_base, request.target_base)
    paths = (request.source, request.target)
    try:
        source = existing_entry_of(volume, command, bases[0], paths[0])
        return source, entry_of(volume, command, bases[1], paths[1])
    except RequestError:
        for base, path in zip(bases, paths, strict=True):
            check_way(volume, command, base, path)
        if unnamed(paths[0]) is not None:
            raise _unmovable(paths[0]) from None
        if unnamed(paths[1]) is not None:
            keep = request.mode == RenameMode.KEEP
            raise (_taken if keep else _unmovable)(paths[1]) from None
        raise


def _unmovable(path: bytes) -> RequestError:
    return UnmovableError("the path does not end in a name", path=text(path))


def _taken(path: bytes) -> RequestError:
    return PathExistsError("the name is taken", path=text(path))


def _check_slash(volume: Volume, source: Place, target: Place, request: Rename) -> None:
    if request.target.endswith(b"/") and volume.tree.inodes.kind[source[2]] != DIRECTORY:
        raise NotDirectoryError("not a directory", path=text(request.source))


def _check_cycle(
    volume: Volume, source: Place, target: Place, exchange: bool, request: Rename
) -> None:
    """Neither may become its own ancestor."""
    tree = volume.tree
    if source[0] == target[0]:
        return
    if tree.has_ancestor(target[0], source[2]):
        raise InvalidArgumentError(
            "a directory cannot move below itself", path=text(request.source)
        )
    if target[2] and tree.has_ancestor(source[0], target[2]):
        if exchange:
            raise InvalidArgumentError(
                "a directory cannot move below itself", path=text(request.target)
            )
        raise DirectoryNotEmptyError("the directory is not empty", path=text(request.target))
    if tree.inodes.kind[source[2]] == DIRECTORY:
        tree.check_depth(target[0], 1)


def _check_permission(
    volume: Volume,
    command: Command,
    source: Place,
    target: Place,
    exchange: bool,
    request: Rename,
) -> None:
    caller, tree = command.caller, volume.tree
    volume.check_removal(caller, source[0], source[2], request.source)
    if target[2]:
        volume.check_removal(caller, target[0], target[2], request.target)
    else:
        tree.require(caller, target[0], CHANGE, request.target)
    if source[0] == target[0]:
        return
    moved = [(source[2], request.source)]
    if exchange:
        moved.append((target[2], request.target))
    for slot, path in moved:
        if tree.inodes.kind[slot] == DIRECTORY:  # its ".." changes
            tree.require(caller, slot, WRITE, path)


def _check_kinds(volume: Volume, source: int, target: int, request: Rename) -> None:
    if not target:
        return
    kinds = volume.tree.inodes.kind
    if kinds[source] != DIRECTORY:
        if kinds[target] == DIRECTORY:
            raise IsDirectoryError("is a directory", path=text(request.target))
    elif kinds[target] != DIRECTORY:
        raise NotDirectoryError("not a directory", path=text(request.target))
    elif volume.tree.directory(target).count:
        raise DirectoryNotEmptyError("the directory is not empty", path=text(request.target))


def _replace(volume: Volume, command: Command, source: Place, target: Place) -> None:
    tree = volume.tree
    source_parent, source_name, moved = source
    target_parent, target_name, replaced = target
    tree.remove_name(source_parent, source_name)
    if replaced:
        tree.replace_name(target_parent, target_name, moved)
        if tree.inodes.kind[replaced] == DIRECTORY:
            volume.remove_directory(command, target_parent, replaced)
        else:
            volume.unlink(command, target_parent, replaced)
    else:
        tree.insert_name(target_parent, target_name, moved)
    _relocate(volume, moved, source_parent, target_parent)


def _swap(volume: Volume, source: Place, target: Place) -> None:
    tree = volume.tree
    tree.replace_name(source[0], source[1], target[2])
    tree.replace_name(target[0], target[1], source[2])
    _relocate(volume, source[2], source[0], target[0])
    _relocate(volume, target[2], target[0], source[0])


def _relocate(volume: Volume, slot: int, old: int, new: int) -> None:
    """Account for a link that left directory ``old`` for ``new``."""
    if old == new:
        return
    tree, inodes = volume.tree, volume.tree.inodes
    if inodes.kind[slot] == DIRECTORY:
        tree.charge_subtree(old, slot, -1)
        tree.charge_subtree(new, slot, 1)
        inodes.links[old] -= 1
        inodes.links[new] += 1
        inodes.set_parent(slot, new)
    elif slot in tree.parents:
        tree.note_link(new, slot)
        tree.drop_link(old, slot)
    else:
        tree.move_charge(slot, new)
