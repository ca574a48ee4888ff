"""Messages 90-91 and 158-159: which files clients have open for reading.

Only the primary knows, in memory: an open costs what reading the block map costs, and no log entry.
What it is needed for is a file whose last name goes: it stays for those who have it open, as in
POSIX, until they have closed it or are gone. Who writes a file has its lease, which keeps it too.

Openings of a client are numbered, for they travel on several connections: a report says up to which
number it counts. A new primary knows nothing; until those clients have told it again that had
files open (:class:`ExpectOpens` is in the log), or for a while, it frees no file.
"""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.reads import FileReply
from memfs.protocol.messages.registry import Empty, Lane, message
from memfs.types import ROOT_INODE


@message(90, lane=Lane.BULK)
class OpenFile(NamedTuple):
    """Open for reading: needs read permission. A small file comes along when the primary has it.

    A map longer than a record is cut: the size says so, and GetBlocks gives the rest.
    """

    path: bytes
    base: int = ROOT_INODE
    inline: int = 0
    """Largest file to send inline, bytes."""
    number: int = 0
    """Of this opening; 0: the client does not say when it closes the file."""

    @staticmethod
    def reply() -> type[FileReply]:
        return FileReply


class ReportOpensReply(NamedTuple):
    """Whether that was all."""

    known: bool
    """False: the primary may not know of all that the client has open. Report all of it."""


@message(91)
class ReportOpens(NamedTuple):
    """Which files the client has closed, or all that it has open."""

    closed: tuple[int, ...] = ()
    """Inodes that it does not have open any more..."""
    numbers: tuple[int, ...] = ()
    """... as far as it has not opened them again under a higher number: one for each."""
    opened: tuple[int, ...] = ()
    """Inodes that it has open, whatever else was said before."""
    number: int = 0
    """What ``opened`` counts as; higher than those of all openings that have ended."""
    complete: bool = False
    """It has no other files open but those said under ``number``, and under higher ones."""
    total: int = 0
    """How many these are."""

    @staticmethod
    def reply() -> type[ReportOpensReply]:
        return ReportOpensReply


@message(158, command=True, peer=True)
class ExpectOpens(NamedTuple):
    """A client has files open that only the primary knows of: the next one is to wait for it."""

    client: int
    user: str = ""
    """Whose client it is."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(159, command=True, peer=True)
class FreeUnlinked(NamedTuple):
    """Nobody has these files open any more, whose last name is gone."""

    inodes: tuple[int, ...]

    @staticmethod
    def reply() -> type[Empty]:
        return Empty
