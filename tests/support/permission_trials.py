"""Who may do what, tried on a real tmpfs: the kernel as the oracle of permissions.

A trial is a small tree with owners, groups and modes of all kinds, one user, and one operation. Run
as a program this makes the trees in a directory, does each trial as that user, and prints what
came of it. It changes its effective user, so it is a process of its own. Needs root.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

USERS = {"root": 0, "alice": 31001, "bob": 31002, "carol": 31003}
GROUPS = {"root": 0, "people": 32001, "artists": 32002, "others": 32003}
MEMBERS = {
    "root": ("root",),
    "alice": ("people", "artists"),
    "bob": ("people",),
    "carol": ("others",),
}
"""The first one is the user's own."""
TREE = {"a": "directory", "b": "directory", "a/f": "file", "a/d": "directory", "b/g": "file"}
_EXCHANGE = 2
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)


class Entry(NamedTuple):
    """One name of the tree."""

    path: str
    owner: str
    group: str
    mode: int


class Trial(NamedTuple):
    """``argument``: a mode, the name of a user or group, bits of access."""

    entries: list[Entry]
    user: str
    operation: str
    argument: str = ""


class Outcome(NamedTuple):
    """An error number, or 0 and what the entry concerned is then."""

    error: int
    mode: int = 0
    owner: str = ""
    group: str = ""


SHOWN = {
    "create": "a/new",
    "mkdir": "a/new",
    "symlink": "a/new",
    "chmod": "a/f",
    "chown": "a/f",
    "chgrp": "a/f",
    "chmod of a directory": "a",
    "chgrp of a directory": "a",
    "truncate": "a/f",
}
"""Whose mode, owner and group are compared after the operation."""


def trials(seed: int, count: int) -> list[Trial]:
    """The same ones for the same seed."""
    dice = random.Random(seed)
    return [_trial(dice) for _ in range(count)]


def _trial(dice: random.Random) -> Trial:
    entries = []
    for path, kind in TREE.items():
        mode = dice.choice((0o777, 0o777, dice.getrandbits(9), dice.getrandbits(9)))
        if kind == "directory":
            mode |= dice.choice((0, 0, 0o1000, 0o2000))
        elif dice.random() < 0.2:
            mode |= dice.choice((0o2000, 0o4000, 0o6000))
        owner, group = (dice.choice([*table]) for table in (USERS, GROUPS))
        entries.append(Entry(path, owner, group, mode))
    user, operation = dice.choice([*USERS]), dice.choice([*_OPERATIONS])
    argument = ""
    if operation.startswith("chmod"):
        argument = oct(dice.getrandbits(12))
    elif operation == "chown":
        argument = dice.choice([*USERS])
    elif operation.startswith("chgrp"):
        argument = dice.choice([*GROUPS])
    elif operation == "access":
        argument = str(dice.randrange(8))
    return Trial(entries, user, operation, argument)


def tried(given: list[Trial], tmpfs: Path) -> list[Outcome]:
    """What the kernel says, each in a directory of its own below ``tmpfs``."""
    command = [sys.executable, "-m", "tests.support.permission_trials", str(tmpfs)]
    done = subprocess.run(
        command, input=json.dumps(given), capture_output=True, text=True, check=True
    )
    return [Outcome(*each) for each in json.loads(done.stdout)]


# --- as the kernel does it -----------------------------------------------------------------------


def _close(descriptor: int) -> None:
    os.close(descriptor)


def _exchange(one: str, other: str) -> None:
    if _libc.renameat2(_AT_FDCWD, one.encode(), _AT_FDCWD, other.encode(), _EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _access(path: str, mask: int) -> None:
    if not os.access(path, mask, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


_OPERATIONS: dict[str, Callable[[str], object]] = {
    "stat": lambda _: os.stat("a/f"),
    "list": lambda _: os.listdir("a"),
    "read": lambda _: _close(os.open("a/f", os.O_RDONLY)),
    "write": lambda _: _close(os.open("a/f", os.O_WRONLY)),
    "truncate": lambda _: os.truncate("a/f", 0),
    "create": lambda _: _close(os.open("a/new", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640)),
    "mkdir": lambda _: os.mkdir("a/new", 0o750),
    "symlink": lambda _: os.symlink("x", "a/new"),
    "unlink": lambda _: os.unlink("a/f"),
    "rmdir": lambda _: os.rmdir("a/d"),
    "rename": lambda _: os.rename("a/f", "a/new"),
    "rename out": lambda _: os.rename("a/f", "b/new"),
    "rename over": lambda _: os.rename("a/f", "b/g"),
    "rename a directory out": lambda _: os.rename("a/d", "b/new"),
    "rename a directory": lambda _: os.rename("a/d", "a/new"),
    "exchange": lambda _: _exchange("a/f", "b/g"),
    "access": lambda argument: _access("a/f", int(argument)),
    "chmod": lambda argument: os.chmod("a/f", int(argument, 8)),
    "chmod of a directory": lambda argument: os.chmod("a", int(argument, 8)),
    "chown": lambda argument: os.chown("a/f", USERS[argument], -1),
    "chgrp": lambda argument: os.chown("a/f", -1, GROUPS[argument]),
    "chgrp of a directory": lambda argument: os.chown("a", -1, GROUPS[argument]),
    "touch": lambda _: os.utime("a/f"),
    "set times": lambda _: os.utime("a/f", (1, 1)),
}


def _prepare(trial: Trial) -> None:
    for each in trial.entries:
        if TREE[each.path] == "directory":
            os.mkdir(each.path)
        else:
            _close(os.open(each.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    for each in reversed(trial.entries):
        os.chown(each.path, USERS[each.owner], GROUPS[each.group])
        os.chmod(each.path, each.mode)


def _as_user(trial: Trial) -> int:
    """The error number of the operation, done by the trial's user."""
    groups = [GROUPS[each] for each in MEMBERS[trial.user]]
    os.setgroups(groups)
    os.setegid(groups[0])
    os.seteuid(USERS[trial.user])
    try:
        _OPERATIONS[trial.operation](trial.argument)
    except OSError as error:
        return error.errno or -1
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([0])
    return 0


def _tried(trial: Trial) -> Outcome:
    _prepare(trial)
    error = _as_user(trial)
    shown = SHOWN.get(trial.operation)
    if error or shown is None:
        return Outcome(error)
    found = os.lstat(shown)
    users, groups = ({number: name for name, number in each.items()} for each in (USERS, GROUPS))
    return Outcome(0, found.st_mode & 0o7777, users[found.st_uid], groups[found.st_gid])


def main(directory: str) -> None:
    """Try what stands on the standard input."""
    os.umask(0)
    outcomes = []
    for number, given in enumerate(json.load(sys.stdin)):
        entries, *rest = given
        where = Path(directory) / str(number)
        where.mkdir(mode=0o755)
        os.chdir(where)
        outcomes.append(_tried(Trial([Entry(*each) for each in entries], *rest)))
        os.chdir(directory)
        shutil.rmtree(where)
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
