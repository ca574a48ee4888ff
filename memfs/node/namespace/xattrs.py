"""Extended attributes: ``user.`` by the file's mode bits, ``trusted.`` for the superuser alone.

As Linux, symlinks have no ``user.`` attributes, those of a sticky directory belong to its owner,
and ``trusted.`` ones are invisible to everybody else.
"""

from __future__ import annotations

from typing import Final

from memfs import limits
from memfs.errors import (
    InvalidArgumentError,
    NameTooLongError,
    NoAttributeError,
    NoSpaceError,
    NotPermittedError,
    PathExistsError,
    UnsupportedError,
)
from memfs.node.namespace.inodes import DIRECTORY, SYMLINK
from memfs.node.namespace.permissions import READ, STICKY, WRITE, Caller
from memfs.node.namespace.tree import text
from memfs.node.namespace.volume import Command, Volume
from memfs.protocol.messages import (
    Empty,
    GetXattrs,
    RemoveXattr,
    SetXattr,
    Xattr,
    XattrMode,
    XattrsReply,
)

_USER: Final = "user."
_TRUSTED: Final = "trusted."
_OVERHEAD_BYTES: Final = 16  # charged per attribute, so that many tiny ones fit a record too


def get_xattrs(volume: Volume, caller: Caller, request: GetXattrs) -> XattrsReply:
    """All that the caller may see, or those named."""
    tree = volume.tree
    slot = tree.find(caller, request.base, request.path, request.follow)
    if not all(map(_is_trusted, request.names)) or not request.names:
        tree.require(caller, slot, READ, request.path)
    held = tree.xattrs.get(slot, {})
    seen = {name for name in held if caller.superuser or not _is_trusted(name)}
    for name in request.names:
        if name not in seen:
            raise NoAttributeError(f"no attribute {name}", path=text(request.path))
    names = sorted(set(request.names) or seen)
    return XattrsReply(tuple([Xattr(name, held[name]) for name in names]))


def set_xattr(volume: Volume, command: Command, request: SetXattr) -> Empty:
    """Set one attribute."""
    if request.mode not in XattrMode._value2member_map_:
        raise InvalidArgumentError(f"{request.mode} is no mode of setxattr")
    _check_size(request)
    tree = volume.tree
    slot = tree.find(command.caller, request.base, request.path, request.follow)
    _check_change(volume, command, slot, request.name, request.path)
    held = tree.xattrs.get(slot, {})
    if request.mode == XattrMode.CREATE and request.name in held:
        raise PathExistsError(f"attribute {request.name} exists", path=text(request.path))
    if request.mode == XattrMode.REPLACE and request.name not in held:
        raise NoAttributeError(f"no attribute {request.name}", path=text(request.path))
    total = sum(_bytes(name, value) for name, value in held.items() if name != request.name)
    if total + _bytes(request.name, request.value) > limits.XATTRS_TOTAL_BYTES:
        raise NoSpaceError("the file's attributes are full", path=text(request.path))
    tree.xattrs.setdefault(slot, {})[request.name] = request.value
    tree.mark(slot, command.now, command.index)
    return Empty()


def remove_xattr(volume: Volume, command: Command, request: RemoveXattr) -> Empty:
    """Remove one attribute."""
    tree = volume.tree
    slot = tree.find(command.caller, request.base, request.path, request.follow)
    _check_change(volume, command, slot, request.name, request.path)
    held = tree.xattrs.get(slot, {})
    if request.name not in held:
        raise NoAttributeError(f"no attribute {request.name}", path=text(request.path))
    del held[request.name]
    if not held:
        del tree.xattrs[slot]
    tree.mark(slot, command.now, command.index)
    return Empty()


def _check_size(request: SetXattr) -> None:
    if len(request.name.encode()) > limits.XATTR_NAME_BYTES:
        raise NameTooLongError(f"an attribute's name has {limits.XATTR_NAME_BYTES} bytes at most")
    if len(request.value) > limits.XATTR_VALUE_BYTES:
        raise NoSpaceError(f"an attribute's value has {limits.XATTR_VALUE_BYTES} bytes at most")


def _check_change(volume: Volume, command: Command, slot: int, name: str, path: bytes) -> None:
    """May the caller set or remove the attribute?"""
    tree, caller = volume.tree, command.caller
    if _is_trusted(name):
        if not caller.superuser:
            raise NotPermittedError("trusted attributes are the superuser's", path=text(path))
    elif not name.startswith(_USER):
        raise UnsupportedError("attributes are named user.… or trusted.…", path=text(path))
    elif tree.inodes.kind[slot] == SYMLINK:
        raise NotPermittedError("a symlink has no user attributes", path=text(path))
    elif tree.inodes.kind[slot] == DIRECTORY and (
        tree.inodes.mode[slot] & STICKY and not tree.owns(caller, slot)
    ):
        raise NotPermittedError("the sticky bit protects it", path=text(path))
    else:
        tree.require(caller, slot, WRITE, path)
    if name in (_USER, _TRUSTED) or "\0" in name:
        raise InvalidArgumentError(f"{name!r} is no name of an attribute", path=text(path))


def _is_trusted(name: str) -> bool:
    return name.startswith(_TRUSTED)


def _bytes(name: str, value: bytes) -> int:
    return len(name.encode()) + len(value) + _OVERHEAD_BYTES
