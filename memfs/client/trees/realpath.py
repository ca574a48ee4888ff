"""A path without symlinks and ``..``, found by looking at one component after the other.

Owns the rules of ``os.path.realpath``. Must not know requests: it is given what looks.
"""

from __future__ import annotations

import posixpath
from collections.abc import Awaitable, Callable

from memfs import limits, paths
from memfs.client.stat import Stat
from memfs.errors import (
    AccessDeniedError,
    InvalidPathError,
    NameTooLongError,
    NotDirectoryError,
    PathNotFoundError,
    SymlinkLoopError,
)

NOT_SEEN = (
    PathNotFoundError,
    NotDirectoryError,
    SymlinkLoopError,
    AccessDeniedError,
    InvalidPathError,
    NameTooLongError,
)
"""Why a path leads to nothing that could be looked at; anything else is the cluster's fault."""


async def realpath(
    lstat: Callable[[str], Awaitable[Stat]],
    readlink: Callable[[str], Awaitable[str]],
    path: str,
    strict: bool,
) -> str:
    """The real form of ``path``, absolute. What cannot be seen stays as it is unless ``strict``."""
    waiting = path.split("/")[::-1]
    real, follows = "/", 0
    while waiting:
        name = waiting.pop()
        if name in ("", "."):
            continue
        if name == "..":
            real = posixpath.dirname(real)
            continue
        here = paths.join(real, name)
        text = None
        try:
            found = await lstat(here)
            if found.is_symlink():
                text = await readlink(here)
            elif strict and waiting and not found.is_dir():
                raise NotDirectoryError("a component is no directory", path=here)
            if text is not None and follows == limits.SYMLINK_FOLLOWS:
                raise SymlinkLoopError("too many symbolic links", path=here)
        except NOT_SEEN:
            if strict:
                raise
            text = None
        if text is None:
            real = here
            continue
        follows += 1
        real = "/" if text.startswith("/") else real
        waiting += text.split("/")[::-1]
    return real
