"""May a caller act on everything below a directory? Decided by directories, not by files.

Removing a tree needs, as ``rm -r`` and HDFS have it, read, write and search permission on every
directory below that is not empty, and under a sticky bit to own each name or the directory.
Counting a tree needs read and search permission on every directory. Usually one step
decides: each directory counts those below with other owners or without access (``Entries.mixed``
and ``closed``, kept by ``memfs.node.namespace.tables.tree``); where the counts do not decide, the
directories are walked, up to ``limits.SUBTREE_STEPS``. Whose the names in a directory are it counts
too (``Entries.foreign``): they are never looked at one by one. Nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final

from memfs import limits
from memfs.errors import TreeTooLargeError
from memfs.node.namespace.rules.permissions import CHANGE, READ, SEARCH, STICKY, Caller
from memfs.node.namespace.rules.refusals import access_denied, names_kept, sticky, text
from memfs.node.namespace.tables.directory import Entries
from memfs.node.namespace.tables.inodes import DIRECTORY
from memfs.node.namespace.tables.tree import Tree

_DIRECTORY_STEPS: Final = 16
"""What looking at a directory costs, in steps of looking at the kind of one of its names."""
_NAMED: Final = 1_024
"""So many names are searched for one that the sticky bit protects, for the refusal: 1 ms."""


def check_removable(
    tree: Tree, caller: Caller, top: int, path: bytes, *, deep: bool = True
) -> None:
    """May the caller remove all that lies below directory ``top``? Or, not ``deep``, just in it?

    Raises AccessDeniedError, NotPermittedError, which name the directory that refuses, and
    TreeTooLargeError where finding that out takes too long.
    """

    def refuse(slot: int, directory: Entries, where: bytes) -> None:
        if not directory.count:
            return
        if not tree.may(caller, slot, READ | CHANGE):
            raise access_denied(tree, caller, slot, READ | CHANGE, where)
        protects = tree.inodes.mode[slot] & STICKY and not tree.owns(caller, slot)
        kept = directory.count - directory.foreign_to(caller.user)
        if protects and kept:
            for name, child in islice(directory.items(), _NAMED):
                if not tree.owns(caller, child):
                    raise sticky(tree, caller, child, slot, _below(where, name))
            raise names_kept(tree, caller, slot, kept, where)

    def needs_no_check(slot: int, directory: Entries) -> bool:
        return not directory.mixed and tree.owns(caller, slot)

    if deep:
        _check(tree, caller, (top, path), refuse, needs_no_check)
    elif not caller.superuser:
        refuse(top, tree.directory(top), path)


def check_countable(tree: Tree, caller: Caller, top: int, path: bytes) -> None:
    """May the caller know the totals of directory ``top``? Raises as :func:`check_removable`."""

    def refuse(slot: int, directory: Entries, where: bytes) -> None:
        if not tree.may(caller, slot, READ | SEARCH):
            raise access_denied(tree, caller, slot, READ | SEARCH, where)

    def needs_no_check(slot: int, directory: Entries) -> bool:
        return not directory.closed or (not directory.mixed and tree.owns(caller, slot))

    _check(tree, caller, (top, path), refuse, needs_no_check)


def _check(
    tree: Tree,
    caller: Caller,
    top: tuple[int, bytes],
    refuse: Callable[[int, Entries, bytes], None],
    needs_no_check: Callable[[int, Entries], bool],
) -> None:
    """``refuse`` the directories from ``top`` down to where all below ``needs_no_check``."""
    if caller.superuser:
        return
    kinds, steps = tree.inodes.kind, limits.SUBTREE_STEPS
    waiting = [top]
    while waiting:
        slot, where = waiting.pop()
        directory = tree.directory(slot)
        refuse(slot, directory, where)
        steps -= _DIRECTORY_STEPS
        if steps >= 0 and directory.directories > 1 and not needs_no_check(slot, directory):
            steps -= directory.count
            if steps >= 0:
                waiting += [
                    (child, _below(where, name))
                    for name, child in directory.items()
                    if kinds[child] == DIRECTORY
                ]
        if steps < 0:
            raise TreeTooLargeError(
                "too many directories of several owners lie below: take its parts one by one",
                path=text(top[1]),
            )


def _below(directory: bytes, name: bytes) -> bytes:
    return directory.rstrip(b"/") + b"/" + name
