"""Reading and changing access control lists.

As POSIX and HDFS: the owner changes a list, who can reach the file may see it, only directories
have a default list, and a list on a symlink's path is that of what it leads to.
"""

from __future__ import annotations

from memfs.errors import InvalidArgumentError, UnsupportedError
from memfs.node.namespace.rules import acls as rules
from memfs.node.namespace.rules.permissions import (
    HAS_ACL,
    MODE_BITS,
    Caller,
    mode_without_foreign_gid,
)
from memfs.node.namespace.rules.refusals import not_owner, text
from memfs.node.namespace.tables.inodes import DIRECTORY, SYMLINK
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.protocol.messages import AclChange, AclReply, ChangeAcl, GetAcl, LookupReply


def get_acl(volume: Volume, caller: Caller, request: GetAcl) -> AclReply:
    """All entries, those that the mode bits stand for included."""
    tree = volume.tree
    slot = tree.find(caller, request.base, request.path)
    entries = rules.whole(tree.acl(slot), tree.inodes.mode[slot])
    return AclReply(volume.attributes(slot), tuple(entries))


def change_acl(volume: Volume, command: Command, request: ChangeAcl) -> LookupReply:
    """Set, modify or remove entries; the mode bits follow."""
    if request.change not in AclChange._value2member_map_:
        raise InvalidArgumentError(f"{request.change} is no change of a list")
    tree, path = volume.tree, request.path
    slot = tree.find(command.caller, request.base, path)
    if tree.inodes.kind[slot] == SYMLINK:
        raise UnsupportedError("a symlink has no access control list", path=text(path))
    if not tree.owns(command.caller, slot):
        raise not_owner(tree, command.caller, slot, path)
    acl, mode = _changed(tree.acl(slot), tree.inodes.mode[slot] & MODE_BITS, request)
    if acl.default and tree.inodes.kind[slot] != DIRECTORY:
        raise InvalidArgumentError("only directories have a default list", path=text(path))
    group = tree.owners.values[tree.inodes.owner[slot]][1]
    mode = mode_without_foreign_gid(mode, group, command.caller)
    tree.set_mode(slot, mode | tree.inodes.mode[slot] & HAS_ACL)
    tree.set_acl(slot, acl)
    tree.mark(slot, command.now, command.index)
    return LookupReply(volume.attributes(slot))


def _changed(acl: rules.StoredAcl, mode: int, request: ChangeAcl) -> tuple[rules.StoredAcl, int]:
    """List and mode afterwards. Raises InvalidArgumentError."""
    change = request.change
    if change == AclChange.REMOVE_DEFAULT:
        return acl._replace(default=()), mode
    if change == AclChange.REMOVE_ALL or (change == AclChange.SET and not request.entries):
        return rules.NO_ACL, rules.without(acl, mode)
    existing = rules.whole(acl, mode)
    if change == AclChange.SET:
        entries = rules.replaced(existing, request.entries)
    elif change == AclChange.MODIFY:
        entries = rules.modified(existing, request.entries)
    else:
        entries = rules.removed(existing, request.entries)
    return rules.stored(entries, mode)
