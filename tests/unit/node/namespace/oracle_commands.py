"""The commands of the oracle: each takes who asks and the request, and changes nodes or raises."""

from __future__ import annotations

from typing import Any

from memfs import errors
from memfs.protocol import messages as m
from memfs.types import Identity

from .machine import BLOCK
from .oracle import Node, Oracle


def run(oracle: Oracle, who: Identity, client: int, request: Any) -> None:
    """Carry out a request. Raises the class of error that is expected."""
    _COMMANDS[type(request)](oracle, who, client, request)


def _without_set_id(mode: int, who: Identity | None) -> int:
    if who is not None and Oracle.superuser(who):
        return mode
    return mode & ~0o4000 & (~0o2000 if mode & 0o010 else ~0)


def _locate(oracle: Oracle, who: Identity, path: bytes, follow: bool, parents: bool) -> Any:
    """As walk, but missing parents are made."""
    if not parents or path.endswith(b"/"):
        return oracle.walk(who, path, follow)
    parts = [part for part in path.split(b"/") if part]
    for count in range(1, len(parts)):
        head = b"/" + b"/".join(parts[:count])
        parent, name, node = oracle.walk(who, head, False)
        if node is None:
            if b".." in parts[count:]:
                raise errors.InvalidPathError
            made = oracle.new(who, parent, name, 1, 0o755, 0o777)
            made.mode |= 0o300
        elif oracle.walk(who, head, True)[2] is None:
            raise errors.PathNotFoundError
    return oracle.walk(who, path, follow)


def _free(
    oracle: Oracle,
    who: Identity,
    path: bytes,
    parents: bool = False,
    replace: bool = False,
    same: Node | None = None,
) -> tuple[Node, bytes]:
    """Where a name that is not taken would be; it has no slash at its end.

    With ``replace`` what has it goes, unless it is ``same``.
    """
    parent, name, node = _locate(oracle, who, path.rstrip(b"/") or path, False, parents)
    if node is not None and not replace:
        raise errors.PathExistsError
    if node is not None:
        if not name:
            raise errors.IsDirectoryError
        if path.endswith(b"/"):
            raise errors.NotDirectoryError
        if node is not same:
            oracle.may_remove(who, parent, node)
            if node.kind == 1:
                raise errors.IsDirectoryError
        return parent, name
    if path.endswith(b"/"):
        raise errors.PathNotFoundError
    return parent, name


_DIRECTORY = dict.fromkeys((b"", b".", b".."), errors.IsDirectoryError)
_STAYS = {
    b"": errors.UnmovableError,
    b".": errors.InvalidArgumentError,
    b"..": errors.DirectoryNotEmptyError,
}
_UNMOVABLE = dict.fromkeys((b"", b".", b".."), errors.UnmovableError)
_TAKEN = dict.fromkeys((b"", b".", b".."), errors.PathExistsError)


def create(oracle: Oracle, who: Identity, client: int, request: m.Create) -> None:
    bare = request.path.rstrip(b"/")
    if bare != request.path and bare.split(b"/")[-1] not in _DIRECTORY:
        oracle.walk(who, bare, False)
        raise errors.IsDirectoryError
    parent, name, node = _locate(oracle, who, request.path, not request.exclusive, request.parents)
    if node is None:
        node = oracle.new(who, parent, name, 0, request.mode, request.unmasked)
        node.replication = request.replication or 2
    else:
        if request.exclusive:
            raise errors.PathExistsError
        _check_file(node)
        oracle.need(who, node, 2)
        if node.writer:
            raise errors.LeaseHeldError
        node.size = 0
        node.blocks = {}
        node.replication = request.replication or node.replication
        node.mode = _without_set_id(node.mode, who)
    node.generation += 1
    node.writer = client


def _check_file(node: Node) -> None:
    if node.kind:
        raise errors.IsDirectoryError if node.kind == 1 else errors.InvalidArgumentError


def acquire(oracle: Oracle, who: Identity, client: int, request: m.AcquireLease) -> None:
    node = oracle.find(who, request.path)
    _check_file(node)
    oracle.need(who, node, 2)
    if node.writer and not request.steal:
        raise errors.LeaseHeldError
    node.generation += 1
    node.writer = client


def write(node: Node, who: Identity, request: m.Commit) -> None:
    """A commit that is known to be well formed, to a node that its sender has leased."""
    changed = bool(request.blocks) or request.size != node.size
    for ref in request.blocks:
        node.blocks[ref.index] = (ref.generation, ref.sequence)
    count = -(-request.size // BLOCK)
    node.blocks = {index: ref for index, ref in node.blocks.items() if index < count}
    node.size = request.size
    if changed:
        node.mode = _without_set_id(node.mode, who)
    if request.release:
        node.writer = 0


def mkdir(oracle: Oracle, who: Identity, client: int, request: m.MakeDirectory) -> None:
    path = request.path.rstrip(b"/")
    parent, name, node = _locate(oracle, who, path, request.parents, request.parents)
    if node is not None:
        if not request.parents or node.kind != 1:
            raise errors.PathExistsError
        return
    oracle.new(who, parent, name, 1, request.mode, request.unmasked)


def rmdir(oracle: Oracle, who: Identity, client: int, request: m.RemoveDirectory) -> None:
    parent, name, node = oracle.entry(who, request.path, _STAYS)
    if node is None:
        raise errors.PathNotFoundError
    oracle.may_remove(who, parent, node)
    if node.kind != 1:
        raise errors.NotDirectoryError
    if node.entries:
        if not request.recursive:
            raise errors.DirectoryNotEmptyError
        _check_emptied(oracle, who, node)
    oracle.detach(parent, name)
    oracle.forget_tree(node)


def _check_emptied(oracle: Oracle, who: Identity, top: Node) -> None:
    """Could all directories below be emptied, one by one? Any of the refusals may be told."""
    refusals: set[type[Exception]] = set()
    waiting = [top]
    while waiting:
        node = waiting.pop()
        children = node.entries.values()
        waiting += [child for child in children if child.kind == 1]
        if children and not oracle.may(who, node, 7):
            refusals.add(errors.AccessDeniedError)
        guarded = node.mode & 0o1000 and not oracle.owns(who, node)
        if guarded and not all(oracle.owns(who, child) for child in children):
            refusals.add(errors.NotPermittedError)
    if refusals:
        raise Refusals(refusals)


class Refusals(errors.AccessDeniedError):
    """Several are right."""

    def __init__(self, classes: set[type[Exception]]) -> None:
        super().__init__()
        self.classes = classes


def unlink(oracle: Oracle, who: Identity, client: int, request: m.Unlink) -> None:
    parent, name, node = oracle.entry(who, request.path, _DIRECTORY)
    if node is None:
        raise errors.PathNotFoundError
    oracle.may_remove(who, parent, node)
    if node.kind == 1:
        raise errors.IsDirectoryError
    oracle.detach(parent, name)


def symlink(oracle: Oracle, who: Identity, client: int, request: m.MakeSymlink) -> None:
    parent, name = _free(oracle, who, request.path, request.parents, request.replace)
    if name in parent.entries:
        oracle.detach(parent, name)
    made = oracle.new(who, parent, name, 2, 0o777)
    made.target, made.size = request.target, len(request.target)


def make_node(oracle: Oracle, who: Identity, client: int, request: m.MakeNode) -> None:
    if request.kind in (6, 7) and not oracle.superuser(who):
        raise errors.NotPermittedError
    parent, name = _free(oracle, who, request.path)
    made = oracle.new(who, parent, name, request.kind, request.mode, request.unmasked)
    made.device = request.device


def link(oracle: Oracle, who: Identity, client: int, request: m.MakeLink) -> None:
    node = oracle.find(who, request.source, follow=False)
    parent, name = _free(oracle, who, request.path, False, request.replace, node)
    if parent.entries.get(name) is node:
        return
    oracle.need(who, parent, 3)
    if node.kind == 1:
        raise errors.NotPermittedError
    if name in parent.entries:
        oracle.detach(parent, name)
    oracle.attach(parent, name, node)


def rename(oracle: Oracle, who: Identity, client: int, request: m.Rename) -> None:
    ends = [oracle.parent(who, path) for path in (request.source, request.target)]
    if ends[0] in _UNMOVABLE:
        raise errors.UnmovableError
    if ends[1] in _UNMOVABLE:
        raise (_TAKEN if request.mode == 1 else _UNMOVABLE)[ends[1]]
    parent, name, node = oracle.entry(who, request.source, _UNMOVABLE)
    if node is None:
        raise errors.PathNotFoundError
    to, new_name, old = oracle.entry(who, request.target, _UNMOVABLE)
    swap = request.mode == 2
    if request.mode == 1 and old is not None:
        raise errors.PathExistsError
    if swap and old is None:
        raise errors.PathNotFoundError
    if request.target.endswith(b"/") and node.kind != 1:
        raise errors.NotDirectoryError
    if parent is not to:
        if node.kind == 1 and oracle.has_ancestor(to, node):
            raise errors.InvalidArgumentError
        if old is not None and old.kind == 1 and oracle.has_ancestor(parent, old):
            raise errors.InvalidArgumentError if swap else errors.DirectoryNotEmptyError
    if node is old:
        return
    oracle.may_remove(who, parent, node)
    if old is None:
        oracle.need(who, to, 3)
    else:
        oracle.may_remove(who, to, old)
    if parent is not to:
        for moved in (node, old) if swap else (node,):
            if moved is not None and moved.kind == 1:
                oracle.need(who, moved, 2)
    if swap:
        assert old is not None
        _swap(oracle, (parent, name, node), (to, new_name, old))
        return
    if old is not None:
        if node.kind != 1 and old.kind == 1:
            raise errors.IsDirectoryError
        if node.kind == 1 and old.kind != 1:
            raise errors.NotDirectoryError
        if old.entries:
            raise errors.DirectoryNotEmptyError
        oracle.detach(to, new_name)
    _move(oracle, parent, name, to, new_name)


def _move(oracle: Oracle, parent: Node, name: bytes, to: Node, new_name: bytes) -> None:
    """The link that moves is the newest where it arrives; within a directory nothing moves."""
    node = parent.entries[name]
    if parent is to:
        del parent.entries[name]
        parent.entries[new_name] = node
    else:
        oracle.attach(to, new_name, node)
        oracle.detach(parent, name)


def _swap(oracle: Oracle, one: tuple[Node, bytes, Node], other: tuple[Node, bytes, Node]) -> None:
    if one[0] is other[0]:
        one[0].entries[one[1]], one[0].entries[other[1]] = other[2], one[2]
        return
    for (parent, _, node), (to, new_name, _) in ((one, other), (other, one)):
        to.entries[new_name] = node
        if node.kind == 1:
            node.parent = to
        else:
            node.holders[id(to)] = node.holders.get(id(to), 0) + 1
            node.holders[id(parent)] -= 1
            if not node.holders[id(parent)]:
                del node.holders[id(parent)]


def set_attributes(oracle: Oracle, who: Identity, client: int, request: m.SetAttributes) -> None:
    node = oracle.find(who, request.path, request.follow)
    owner_only = (request.mode, request.owner, request.group, request.modified_ns)
    if request.mode is not None and node.kind == 2:
        raise errors.UnsupportedError
    if any(each is not None for each in owner_only) and not oracle.owns(who, node):
        raise errors.NotPermittedError
    if not oracle.superuser(who):
        if request.owner not in (None, node.owner):
            raise errors.NotPermittedError
        if request.group not in (None, node.group, *oracle.groups(who)):
            raise errors.NotPermittedError
    if request.replication is not None:
        if node.kind == 1:
            raise errors.IsDirectoryError
        if node.kind >= 2:
            raise errors.InvalidArgumentError
        oracle.need(who, node, 2)
        node.replication = request.replication
    if request.owner is not None or request.group is not None:
        node.owner = request.owner or node.owner
        node.group = request.group or node.group
        if node.kind != 1:
            node.mode = _without_set_id(node.mode, None)
    if request.mode is not None:
        node.mode = request.mode
        if not oracle.superuser(who) and node.group not in oracle.groups(who):
            node.mode &= ~0o2000


def change_acl(oracle: Oracle, who: Identity, client: int, request: m.ChangeAcl) -> None:
    """REMOVE_ALL, REMOVE_DEFAULT, or MODIFY by entries with names."""
    node = oracle.find(who, request.path)
    if not oracle.owns(who, node):
        raise errors.NotPermittedError
    if request.change == m.AclChange.REMOVE_DEFAULT:
        node.default = {}
    elif request.change == m.AclChange.REMOVE_ALL:
        if node.named:
            node.mode = node.mode & ~0o070 | node.named[1, ""] << 3
        node.named, node.default = {}, {}
    else:
        if node.kind != 1 and any(entry.default for entry in request.entries):
            raise errors.InvalidArgumentError
        _modify(node, request)
    if not oracle.superuser(who) and node.group not in oracle.groups(who):
        node.mode &= ~0o2000


def _modify(node: Node, request: m.ChangeAcl) -> None:
    for kind, name, permission, default in request.entries:
        if not default:
            node.named = node.named or {(1, ""): node.mode >> 3 & 7}
            node.named[kind, name] = permission
    for kind, name, permission, default in request.entries:
        if default:
            group = node.named.get((1, ""), node.mode >> 3 & 7)
            base = {(0, ""): node.mode >> 6 & 7, (1, ""): group, (3, ""): node.mode & 7}
            node.default = {**(node.default or base), (kind, name): permission}
    for scope, entries in ((False, node.named), (True, node.default)):
        if any(entry.default == scope for entry in request.entries):
            mask = 0
            for key, permission in entries.items():
                if key[0] == 1 or (key[0] == 0 and key[1]):
                    mask |= permission
            if scope:
                node.default[2, ""] = mask
            else:
                node.mode = node.mode & ~0o070 | mask << 3


def expire(oracle: Oracle, who: Identity, client: int, request: m.ExpireSession) -> None:
    for _, node in oracle.every():
        if node.writer == request.client:
            node.writer = 0


_COMMANDS = {
    m.Create: create,
    m.AcquireLease: acquire,
    m.MakeDirectory: mkdir,
    m.RemoveDirectory: rmdir,
    m.Unlink: unlink,
    m.MakeSymlink: symlink,
    m.MakeLink: link,
    m.MakeNode: make_node,
    m.Rename: rename,
    m.SetAttributes: set_attributes,
    m.ChangeAcl: change_acl,
    m.ExpireSession: expire,
}
