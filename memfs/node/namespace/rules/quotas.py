"""Quotas of directories: how many names, and how many bytes times replicas, may lie below.

Owns what a quota is, and the checks that every growing command makes before it changes anything;
they cost a step per ancestor, and nothing while no directory has a quota. Usage is taken
from the directory's totals, so it is exact with each commit; as in HDFS a directory counts itself,
and a quota below the present usage only stops further growth.

A hard link is a name where it lies; its file's bytes count at one of its names, the home
(``memfs.node.namespace.tables.tree``). When that name goes, they move to another, quota or not.
"""

from __future__ import annotations

from typing import Final

from memfs import errors
from memfs.errors import InvalidArgumentError, NotDirectoryError
from memfs.node.namespace.rules.permissions import READ, SEARCH, Caller
from memfs.node.namespace.rules.refusals import not_superuser, text
from memfs.node.namespace.tables.inodes import DIRECTORY, NOWHERE, ROOT
from memfs.node.namespace.tables.tree import Place, Tree, reported
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.protocol.messages import Empty, GetQuota, QuotaReply, SetQuota

NONE: Final = -1
_NO_QUOTA: Final = (NONE, NONE)
_MAX: Final = (1 << 63) - 1


def set_quota(volume: Volume, command: Command, request: SetQuota) -> Empty:
    """Set, change or clear the quotas of a directory: the superuser's business."""
    tree, path = volume.tree, request.path
    slot = tree.find(command.caller, request.base, path)
    if not command.caller.superuser:
        raise not_superuser(command.caller, path)
    for limit in (request.names, request.space):
        if limit is not None and not NONE <= limit <= _MAX:
            raise InvalidArgumentError(f"a quota is 0 to {_MAX}, or {NONE} for none")
    if tree.inodes.kind[slot] != DIRECTORY:
        raise NotDirectoryError("only directories have quotas", path=text(path))
    names, space = tree.quotas.get(slot, _NO_QUOTA)
    names = names if request.names is None else request.names
    space = space if request.space is None else request.space
    if (names, space) == _NO_QUOTA:
        tree.quotas.pop(slot, None)
    else:
        tree.quotas[slot] = names, space
    tree.mark(slot, command.now, command.index)
    return Empty()


def get_quota(volume: Volume, caller: Caller, request: GetQuota) -> QuotaReply:
    """Quotas and usage in constant time. A directory's need read and search permission."""
    tree = volume.tree
    slot = tree.find(caller, request.base, request.path)
    if tree.inodes.kind[slot] != DIRECTORY:
        return QuotaReply(NONE, NONE, 1, tree.weight(slot)[1])
    tree.require(caller, slot, READ | SEARCH, request.path)
    totals = tree.directory(slot)
    return QuotaReply(*quota_of(tree, slot), totals.names, reported(totals.space))


def quota_of(tree: Tree, slot: int) -> tuple[int, int]:
    """Most names and most space of a directory, -1 for any."""
    return tree.quotas.get(slot, _NO_QUOTA)


# --- checks ----------------------------------------------------------------------------------


def check_growth(tree: Tree, slot: int, names: int, space: int, path: bytes = b"") -> None:
    """May so much more lie in directory ``slot``? Raises NameQuotaError, SpaceQuotaError."""
    if tree.quotas:
        for directory in _chain(tree, slot):
            _check(tree, directory, names, space, path)


def check_commit(tree: Tree, slot: int, size: int, path: bytes = b"") -> None:
    """May the file in ``slot`` get ``size`` bytes?"""
    growth = size - tree.inodes.size[slot]
    if growth > 0 and tree.quotas:
        replication = tree.layouts.values[tree.inodes.layout[slot]][2]
        check_growth(tree, tree.inodes.parent[slot], 0, growth * replication, path)


def room_in(tree: Tree, slot: int) -> int:
    """Bytes times replicas that the quotas leave a directory, NONE: there are no quotas."""
    rooms = [
        tree.quotas[directory][1] - tree.directory(directory).space
        for directory in (_chain(tree, slot) if tree.quotas else ())
        if tree.quotas.get(directory, _NO_QUOTA)[1] != NONE
    ]
    return max(0, min(rooms)) if rooms else NONE


def check_replication(tree: Tree, slot: int, replication: int, path: bytes) -> None:
    """May the file in ``slot`` get so many copies?"""
    before = tree.layouts.values[tree.inodes.layout[slot]][2]
    growth = tree.inodes.size[slot] * (replication - before)
    check_growth(tree, tree.inodes.parent[slot], 0, growth, path)


def check_rename(tree: Tree, source: Place, target: Place, exchange: bool, path: bytes) -> None:
    """May what ``source`` names move to ``target``, and with ``exchange`` the other way too?

    What is replaced frees its space, except files with further names. Directories above both
    names do not grow.
    """
    if not tree.quotas or source[0] == target[0]:
        return
    _check_move(tree, source, target, path)
    if exchange:
        _check_move(tree, target, source, path)


def check_concat(tree: Tree, target: int, places: list[Place], path: bytes) -> None:
    """May the file in ``target`` take over the files at ``places``?"""
    if not tree.quotas:
        return
    replication = tree.layouts.values[tree.inodes.layout[target]][2]
    growth = sum(tree.inodes.size[slot] for _, _, slot in places) * replication
    freed: dict[int, int] = {}
    for parent, _, slot in places:
        for directory in _chain(tree, parent):
            freed[directory] = freed.get(directory, 0) + tree.weight(slot)[1]
    for directory in _chain(tree, tree.inodes.parent[target]):
        _check(tree, directory, 0, growth - freed.get(directory, 0), path)


def _check_move(tree: Tree, source: Place, target: Place, path: bytes) -> None:
    names, space = _moving(tree, source[2], source[0], target[0])
    if target[2]:
        fewer, less = _weight(tree, target[2])
        names, space = names - fewer, space - less
    shared = set(_chain(tree, source[0]))
    for directory in _chain(tree, target[0]):
        if directory in shared:
            break
        _check(tree, directory, names, space, path)


def _moving(tree: Tree, slot: int, old: int, new: int) -> tuple[int, int]:
    """Names and space that directory ``new`` gains by a name that leaves ``old``."""
    links = tree.parents.get(slot)
    if links is None:
        return _weight(tree, slot)
    leaves = tree.inodes.parent[slot] == old and links[old] == 1
    others = [directory for directory in links if directory != old]
    at_home = leaves and (others or [new])[0] == new
    return 1, tree.weight(slot)[1] if at_home else 0


def _weight(tree: Tree, slot: int) -> tuple[int, int]:
    """Names and space that move with a name."""
    if tree.inodes.kind[slot] == DIRECTORY:
        totals = tree.directory(slot)
        return totals.names, totals.space
    return 1, 0 if slot in tree.parents else tree.weight(slot)[1]


def _chain(tree: Tree, slot: int) -> list[int]:
    """A directory and those above it."""
    parent, chain = tree.inodes.parent, []
    while slot:
        chain.append(slot)
        slot = parent[slot] if slot != ROOT else NOWHERE
    return chain


def _check(tree: Tree, slot: int, names: int, space: int, path: bytes) -> None:
    quota = tree.quotas.get(slot)
    if quota is None:
        return
    totals = tree.directory(slot)
    if names > 0 and 0 <= quota[0] < totals.names + names:
        raise errors.NameQuotaError(
            f"quota of {quota[0]} names: {totals.names} are used, {names} more are wanted",
            path=text(path) or None,
        )
    if space > 0 and 0 <= quota[1] < totals.space + space:
        raise errors.SpaceQuotaError(
            f"quota of {quota[1]} bytes (replicas counted): {totals.space} are used, "
            f"{space} more are wanted",
            path=text(path) or None,
        )
