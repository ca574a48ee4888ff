"""chmod, chown, utimens and setrep in one command.

All parts are checked before any takes effect. Where there is an access control list, the group
bits of a new mode become its mask (POSIX.1e). Reading never changes an access time: times are what
writers and utimens set, as on a file system mounted noatime.
"""

from __future__ import annotations

from memfs import limits
from memfs.errors import (
    InvalidArgumentError,
    IsDirectoryError,
    NotPermittedError,
    UnsupportedError,
)
from memfs.node.namespace.rules import quotas
from memfs.node.namespace.rules.permissions import (
    HAS_ACL,
    WRITE,
    mode_after_chown,
    mode_without_foreign_gid,
)
from memfs.node.namespace.rules.published_content import check_time
from memfs.node.namespace.rules.refusals import not_owner, text
from memfs.node.namespace.tables.inodes import DIRECTORY, FILE, SYMLINK
from memfs.node.namespace.tables.volume import Command, Volume, check_mode, check_replication
from memfs.protocol.messages import LookupReply, SetAttributes


def set_attributes(volume: Volume, command: Command, request: SetAttributes) -> LookupReply:
    """Change what the request names."""
    path = request.path
    slot = volume.tree.find(command.caller, request.base, path, request.follow)
    _check_mode(volume, command, slot, request)
    _check_owner(volume, command, slot, request)
    _check_times(volume, command, slot, request)
    _check_replication(volume, command, slot, request)
    if request != SetAttributes(path, follow=request.follow, base=request.base):
        _set_owner(volume, slot, request)
        _set_mode(volume, command, slot, request)
        _set_times(volume, command, slot, request)
        if request.replication is not None:
            volume.tree.set_replication(slot, request.replication)
        volume.tree.mark(slot, command.now, command.index)
    return LookupReply(volume.attributes(slot))


def _check_mode(volume: Volume, command: Command, slot: int, request: SetAttributes) -> None:
    if request.mode is None:
        return
    check_mode(request.mode)
    if volume.tree.inodes.kind[slot] == SYMLINK:
        raise UnsupportedError("a symlink's mode cannot be changed", path=text(request.path))
    _require_owner(volume, command, slot, request.path)


def _check_owner(volume: Volume, command: Command, slot: int, request: SetAttributes) -> None:
    """The superuser gives files away; an owner may pass one to a group of theirs."""
    if request.owner is None and request.group is None:
        return
    for name in (request.owner, request.group):
        if name is not None and not 0 < len(name.encode()) <= limits.OWNER_BYTES:
            raise InvalidArgumentError(f"an owner's name has 1 to {limits.OWNER_BYTES} bytes")
    caller = command.caller
    if caller.superuser:
        return
    _require_owner(volume, command, slot, request.path)
    owner, group = volume.tree.owners.values[volume.tree.inodes.owner[slot]]
    if request.owner not in (None, owner):
        reason = f"User {caller.user} is not a super user (non-super user cannot change owner)."
        raise NotPermittedError(reason, path=text(request.path))
    if request.group not in (None, group, *caller.groups):
        reason = f"User {caller.user} does not belong to {request.group}"
        raise NotPermittedError(reason, path=text(request.path))


def _check_times(volume: Volume, command: Command, slot: int, request: SetAttributes) -> None:
    explicit = [t for t in (request.modified_ns, request.accessed_ns) if t is not None]
    for time_ns in explicit:
        check_time(time_ns)
    some = bool(explicit or request.modified_now or request.accessed_now)
    if some and not request.by_writers:
        _require_owner(volume, command, slot, request.path)
    elif (some or request.now) and not volume.tree.owns(command.caller, slot):
        volume.tree.require(command.caller, slot, WRITE, request.path)


def _check_replication(volume: Volume, command: Command, slot: int, request: SetAttributes) -> None:
    if request.replication is None:
        return
    check_replication(request.replication)
    kind = volume.tree.inodes.kind[slot]
    if kind == DIRECTORY:
        raise IsDirectoryError("only files have replicas", path=text(request.path))
    if kind != FILE:
        raise InvalidArgumentError("only files have replicas", path=text(request.path))
    volume.tree.require(command.caller, slot, WRITE, request.path)
    quotas.check_replication(volume.tree, slot, request.replication, request.path)


def _require_owner(volume: Volume, command: Command, slot: int, path: bytes) -> None:
    if not volume.tree.owns(command.caller, slot):
        raise not_owner(volume.tree, command.caller, slot, path)


def _set_owner(volume: Volume, slot: int, request: SetAttributes) -> None:
    if request.owner is None and request.group is None:
        return
    tree, inodes = volume.tree, volume.tree.inodes
    owner, group = tree.owners.values[inodes.owner[slot]]
    tree.set_owner(slot, request.owner or owner, request.group or group)
    if inodes.kind[slot] != DIRECTORY:
        inodes.set_mode(slot, mode_after_chown(inodes.mode[slot]))


def _set_mode(volume: Volume, command: Command, slot: int, request: SetAttributes) -> None:
    if request.mode is not None:
        tree = volume.tree
        group = tree.owners.values[tree.inodes.owner[slot]][1]
        mode = mode_without_foreign_gid(request.mode, group, command.caller)
        tree.set_mode(slot, mode | tree.inodes.mode[slot] & HAS_ACL)


def _set_times(volume: Volume, command: Command, slot: int, request: SetAttributes) -> None:
    inodes = volume.tree.inodes
    modified, accessed = request.modified_ns, request.accessed_ns
    if (request.now or request.modified_now) and modified is None:
        modified = command.now
    if (request.now or request.accessed_now) and accessed is None:
        accessed = command.now
    if modified is not None:
        inodes.modified[slot] = modified
    if accessed is not None:
        inodes.accessed[slot] = accessed
