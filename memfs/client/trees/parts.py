"""The parts of a tree that is too large for one step of the primary: its directories, one by one.

Parts are named by the handle of the directory they lie in, or by their own, so that nobody can lead
the way elsewhere by a symlink. Owns how the errors of parts name them.
"""

from __future__ import annotations

import posixpath
import re
from typing import Final, NamedTuple

from memfs import paths
from memfs.client.calls.deadline import Deadline
from memfs.client.session.session import Session
from memfs.errors import MemfsError
from memfs.protocol import messages as m

_BY_INODE: Final = re.compile(r'"/\.reserved/\.inodes/([0-9]+)"')
PARALLEL: Final = 32
"""Directories asked about, or removed, at a time."""


class TreePart(NamedTuple):
    """A directory: its name in the one with inode ``base``, its own inode, its path for errors."""

    name: bytes
    base: int
    inode: int
    given: str

    def below(self, name: bytes, inode: int) -> TreePart:
        """A directory in this one."""
        given = paths.join(self.given, name.decode(errors="surrogateescape"))
        return TreePart(name, self.inode, inode, given)


async def ask_of(
    session: Session,
    request: m.Request[m.R],
    part: TreePart,
    asked: bytes,
    deadline: Deadline | None,
) -> m.R:
    """Ask about a part, which the request calls ``asked``. An error names what refuses.

    ``deadline``: of the whole call; None: each part has the configured time.
    """
    try:
        return await session.ask(request, None, deadline)
    except MemfsError as error:
        error.filename = named(error, asked, part.given)
        error.strerror = _with_paths(error.message, part, error.filename)
        raise


def _with_paths(message: str, part: TreePart, refusing: str) -> str:
    """A refusal with paths where nodes, asked by a handle, name inodes: what ``refusing`` is, or
    below the part the directory that it lies in. Of what lies above the part nobody knows more."""
    places = iter((refusing, posixpath.dirname(refusing)))

    def place(found: re.Match[str]) -> str:
        where = next(places, "")
        known = refusing != part.given or int(found[1]) == part.inode
        return f'"{where}"' if where and known else found[0]

    return _BY_INODE.sub(place, message)


def named(error: MemfsError, asked: bytes, given: str) -> str:
    """What refuses, under ``given``: the node names it under ``asked``, or nothing below."""
    above = asked.decode(errors="replace").rstrip("/") + "/"
    told = str(error.filename or "")
    return paths.join(given, told.removeprefix(above)) if told.startswith(above) else given
