"""Extended attributes: ``user.`` by the file's mode bits, ``trusted.`` for the superuser alone.

Below a mount of an external store there are read-only ones (``user.memfs.state``), returned only by
name. They are not listed, so that copies of all attributes do not carry them elsewhere.
As Linux, symlinks have no ``user.`` attributes, those of a sticky directory belong to its owner,
and ``trusted.`` ones are invisible to everybody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from memfs import limits
from memfs.errors import (
    AttributeTooLargeError,
    InvalidArgumentError,
    NameTooLongError,
    NoAttributeError,
    NoSpaceError,
    NotPermittedError,
    PathExistsError,
    UnsupportedError,
)
from memfs.node.namespace.rules.mounted import SHOWN, shown
from memfs.node.namespace.rules.permissions import READ, STICKY, WRITE, Caller
from memfs.node.namespace.rules.refusals import not_owner, text
from memfs.node.namespace.tables.inodes import DIRECTORY, FILE
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.node.namespace.tables.xattrs import cost, name_cost
from memfs.protocol.messages import Empty, GetXattrs, RemoveXattr, SetXattr, Xattr, XattrsReply
from memfs.types import XattrMode

_USER: Final = "user."
_TRUSTED: Final = "trusted."


def get_xattrs(volume: Volume, caller: Caller, request: GetXattrs) -> XattrsReply:
    """All that the caller may see, or those named. To know names takes no permission of the file.

    Neither Linux (listxattr) nor HDFS (LISTXATTRS) asks for one.
    """
    tree = volume.tree
    slot = tree.find(caller, request.base, request.path, request.follow)
    if request.values and not (request.names and all(map(_is_trusted, request.names))):
        tree.require(caller, slot, READ, request.path)
    held = tree.xattrs.of(slot)
    seen = {name for name in held if caller.superuser or not _is_trusted(name)}
    if not SHOWN.isdisjoint(request.names):
        stored = shown(volume, slot)
        held, seen = {**held, **stored}, seen | stored.keys()
    for name in request.names:
        if name not in seen:
            raise NoAttributeError(f"no attribute {name}", path=text(request.path))
    names = sorted(set(request.names) or seen)
    values = held if request.values else dict.fromkeys(names, b"")
    return XattrsReply(tuple([Xattr(name, values[name]) for name in names]))


def parted(reply: XattrsReply) -> tuple[XattrsReply, list[bytes]]:
    """Split a reply into record and payload: values too large for a record."""
    values = [each.value for each in reply.xattrs]
    lengths = tuple(map(len, values))
    if sum(lengths) <= limits.XATTRS_IN_RECORD_BYTES:
        return reply, []
    return XattrsReply(tuple([Xattr(each.name, b"") for each in reply.xattrs]), lengths), values


def set_xattr(volume: Volume, command: Command, request: SetXattr) -> Empty:
    """Set one attribute."""
    if request.mode not in XattrMode._value2member_map_:
        raise InvalidArgumentError(f"{request.mode} is no mode of setxattr")
    _check_size(request)
    tree = volume.tree
    slot = tree.find(command.caller, request.base, request.path, request.follow)
    _check_change(volume, command, slot, request.name, request.path)
    held = tree.xattrs.of(slot)
    if request.mode == XattrMode.CREATE and request.name in held:
        raise PathExistsError(f"attribute {request.name} exists", path=text(request.path))
    if request.mode == XattrMode.REPLACE and request.name not in held:
        raise NoAttributeError(f"no attribute {request.name}", path=text(request.path))
    _check_room(volume, slot, held, request)
    tree.xattrs.set(slot, tree.owner_of(slot), request.name, request.value)
    tree.mark(slot, command.now, command.index)
    return Empty()


def remove_xattr(volume: Volume, command: Command, request: RemoveXattr) -> Empty:
    """Remove one attribute."""
    tree = volume.tree
    slot = tree.find(command.caller, request.base, request.path, request.follow)
    _check_change(volume, command, slot, request.name, request.path)
    if request.name not in tree.xattrs.of(slot):
        raise NoAttributeError(f"no attribute {request.name}", path=text(request.path))
    tree.xattrs.remove(slot, request.name)
    tree.mark(slot, command.now, command.index)
    return Empty()


def _check_size(request: SetXattr) -> None:
    if len(request.name.encode()) > limits.XATTR_NAME_BYTES:
        raise NameTooLongError(f"an attribute's name has {limits.XATTR_NAME_BYTES} bytes at most")
    check_value_length(len(request.value))


def check_value_length(count: int) -> None:
    """Raises AttributeTooLargeError when a value has too many bytes."""
    if count > limits.XATTR_VALUE_BYTES:
        reason = f"an attribute's value has {limits.XATTR_VALUE_BYTES} bytes at most"
        raise AttributeTooLargeError(reason)


def _check_room(volume: Volume, slot: int, held: Mapping[str, bytes], request: SetXattr) -> None:
    """Raise NoSpaceError when the inode, its owner or the cluster cannot hold the attribute."""
    others = [item for item in held.items() if item[0] != request.name]
    names = sum(name_cost(name) for name, _ in others) + name_cost(request.name)
    total = sum(cost(*item) for item in others) + cost(request.name, request.value)
    if names > limits.XATTR_NAMES_BYTES or total > limits.XATTRS_TOTAL_BYTES:
        raise NoSpaceError("the file's attributes are full", path=text(request.path))
    growth = total - sum(cost(*item) for item in held.items())
    owner = volume.tree.owner_of(slot)
    if refusal := volume.tree.xattrs.refusal(owner, growth, volume.most_xattrs(owner)):
        raise NoSpaceError(refusal, path=text(request.path))


def _check_change(volume: Volume, command: Command, slot: int, name: str, path: bytes) -> None:
    """May the caller set or remove the attribute?"""
    tree, caller = volume.tree, command.caller
    if name in SHOWN and volume.mounts.mount_of(tree, slot) is not None:
        reason = f"{name} says how the file stands to its store: it is read-only"
        raise NotPermittedError(reason, path=text(path))
    if _is_trusted(name):
        if not caller.superuser:
            reason = f"User doesn't have permission for xattr: {name}"
            raise NotPermittedError(reason, path=text(path))
    elif not name.startswith(_USER):
        raise UnsupportedError("attributes are named user.… or trusted.…", path=text(path))
    elif tree.inodes.kind[slot] not in (FILE, DIRECTORY):
        raise NotPermittedError("only files and directories have them", path=text(path))
    elif tree.inodes.kind[slot] == DIRECTORY and (
        tree.inodes.mode[slot] & STICKY and not tree.owns(caller, slot)
    ):
        raise not_owner(tree, caller, slot, path)
    else:
        tree.require(caller, slot, WRITE, path)
    if name in (_USER, _TRUSTED) or "\0" in name:
        raise InvalidArgumentError(f"{name!r} is no name of an attribute", path=text(path))


def _is_trusted(name: str) -> bool:
    return name.startswith(_TRUSTED)
