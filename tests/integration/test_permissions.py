"""Permissions as the kernel has them: the same trials on a tmpfs and on the namespace."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from memfs import limits
from memfs.errors import MemfsError, from_wire
from memfs.node.log.entries import Entry as LogEntry
from memfs.node.namespace import Namespace, Settings
from memfs.protocol import messages as m
from memfs.protocol import records
from memfs.types import Identity, RenameMode
from tests.support.permission_trials import MEMBERS, SHOWN, TREE, Outcome, Trial, trials, tried

SEED, COUNT = 11, 4_000
TMPFS = "/dev/shm"


class Tree:
    """One trial's namespace."""

    def __init__(self, trial: Trial) -> None:
        self._namespace = Namespace(Settings("root", "root", 1, 4096, 4), 1_000)
        for each in trial.entries:
            path = f"/{each.path}".encode()
            self.ask(m.MakeDirectory(path) if TREE[each.path] == "directory" else m.Create(path))
            if TREE[each.path] == "file":
                self.ask(m.Commit(self.stat(path).inode, 1, 0, (), release=True))
        for each in reversed(trial.entries):
            path = f"/{each.path}".encode()
            self.ask(m.SetAttributes(path, owner=each.owner, group=each.group))
            self.ask(m.SetAttributes(path, mode=each.mode))

    def ask(self, request: Any, user: str = "root") -> Any:
        """A command or a question of somebody's. Raises MemfsError."""
        identity = Identity(user, MEMBERS[user])
        if not m.BY_REQUEST[type(request)].command:
            return self._namespace.query(identity, request, 1, None)
        index = self._namespace.applied + 1
        raw = records.encode(request, limits.LOGGED_BYTES)
        opcode = m.BY_REQUEST[type(request)].opcode
        entry = LogEntry(index, 1, index * 1_000_000_000, 1, index, identity, opcode, raw)
        reply = self._namespace.apply(entry, request, None).record
        if isinstance(reply, m.ErrorReply):
            raise from_wire(reply.code, reply.message, reply.path or None)
        return reply

    def stat(self, path: bytes) -> Any:
        return self.ask(m.Lookup(path, False)).attributes


def request(trial: Trial) -> Any:
    """What memfs is asked for the operation."""
    argument = trial.argument
    return {
        "stat": lambda: m.Lookup(b"/a/f"),
        "list": lambda: m.List(b"/a"),
        "read": lambda: m.GetBlocks(b"/a/f"),
        "write": lambda: m.AcquireLease(b"/a/f"),
        "truncate": lambda: m.Create(b"/a/f"),
        "create": lambda: m.Create(b"/a/new", 0o640, exclusive=True),
        "mkdir": lambda: m.MakeDirectory(b"/a/new", 0o750),
        "symlink": lambda: m.MakeSymlink(b"/a/new", b"x"),
        "unlink": lambda: m.Unlink(b"/a/f"),
        "rmdir": lambda: m.RemoveDirectory(b"/a/d"),
        "rename": lambda: m.Rename(b"/a/f", b"/a/new"),
        "rename out": lambda: m.Rename(b"/a/f", b"/b/new"),
        "rename over": lambda: m.Rename(b"/a/f", b"/b/g"),
        "rename a directory out": lambda: m.Rename(b"/a/d", b"/b/new"),
        "rename a directory": lambda: m.Rename(b"/a/d", b"/a/new"),
        "exchange": lambda: m.Rename(b"/a/f", b"/b/g", RenameMode.EXCHANGE),
        "access": lambda: m.Access(b"/a/f", int(argument)),
        "chmod": lambda: m.SetAttributes(b"/a/f", mode=int(argument, 8)),
        "chmod of a directory": lambda: m.SetAttributes(b"/a", mode=int(argument, 8)),
        "chown": lambda: m.SetAttributes(b"/a/f", owner=argument),
        "chgrp": lambda: m.SetAttributes(b"/a/f", group=argument),
        "chgrp of a directory": lambda: m.SetAttributes(b"/a", group=argument),
        "touch": lambda: m.SetAttributes(b"/a/f", now=True),
        "set times": lambda: m.SetAttributes(b"/a/f", modified_ns=1, accessed_ns=1),
    }[trial.operation]()


def outcome(trial: Trial) -> Outcome:
    tree = Tree(trial)
    try:
        tree.ask(request(trial), trial.user)
    except MemfsError as error:
        return Outcome(error.errno or -1)
    shown = SHOWN.get(trial.operation)
    if shown is None:
        return Outcome(0)
    found = tree.stat(f"/{shown}".encode())
    return Outcome(0, found.mode, found.owner, found.group)


def test_the_namespace_allows_what_a_tmpfs_allows() -> None:
    """Users, groups and others, all bits, the sticky and the set-id bits, every operation."""
    given = trials(SEED, COUNT)
    with tempfile.TemporaryDirectory(dir=TMPFS) as where:
        Path(where).chmod(0o755)
        kernel = tried(given, Path(where))
    assert {each.error for each in kernel} >= {0, 1, 13}, "all of it was tried"
    differences = [
        (trial, theirs, ours)
        for trial, theirs in zip(given, kernel, strict=True)
        if (ours := outcome(trial)) != theirs
    ]
    assert not differences, (len(differences), differences[:3])
