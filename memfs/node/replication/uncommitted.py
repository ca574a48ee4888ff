"""Which answers need not wait for the commands that are not committed yet (NoDirtyRead).

Owns what those commands touched. The argument is one sentence: an answer that was found by way of
inodes which no uncommitted command touched is the same in the committed state, so it shows nothing
that is not acknowledged. A directory on the way counts as touched only where the name that is
looked up there may be another: nothing else of it shows. It is drawn only where both halves are
plain: of commands, those in ``_TELLING``, with which one client fills the log and which name every
inode that another's stat could see changed; of reads, a stat by a path from the root. Everything
else waits.

Must not know backups or sockets. Invariant: what was noted and not forgotten is in ``_last`` and
``_names``.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from memfs.node.namespace import Namespace
from memfs.paths import split
from memfs.protocol import messages as m
from memfs.types import ROOT_INODE

_TELLING: Final = frozenset(
    {
        m.PutFiles,
        m.UnlinkMany,
        m.MakeDirectory,
        m.ReserveInodes,
        m.ReleaseInodes,
        m.Reclaim,
        m.SetReplicas,
        m.SetManyReplicas,
    }
)
"""Commands whose ``touched`` is all of it: they give and take no lease, whose holder stat shows. A
directory that stays is touched by them only as names in it come, go or change."""


class Pending:
    """What the commands touched that are applied and not committed."""

    def __init__(self, applied: int) -> None:
        """Nothing is known of the log up to ``applied``."""
        self._last: dict[int, int] = {}
        self._names: dict[bytes, int] = {}
        self._noted: deque[tuple[int, tuple[int, ...], tuple[bytes, ...]]] = deque()
        self._opaque = applied

    def note(
        self, index: int, request: object, touched: tuple[int, ...], named: tuple[bytes, ...]
    ) -> None:
        """The command at ``index`` was applied and is not committed: what it touched, and names
        that came, went or changed."""
        if type(request) not in _TELLING:
            self._opaque = index
            return
        self._noted.append((index, touched, named))
        self._last.update(dict.fromkeys(touched, index))
        self._names.update(dict.fromkeys(named, index))

    def unknown(self, applied: int) -> None:
        """Whatever is in the log up to ``applied`` may have touched anything."""
        self._opaque = applied

    def forget(self, committed: int) -> None:
        """The log is committed up to there."""
        noted, last, names = self._noted, self._last, self._names
        while noted and noted[0][0] <= committed:
            index, touched, named = noted.popleft()
            for inode in touched:
                if last.get(inode) == index:
                    del last[inode]
            for name in named:
                if names.get(name) == index:
                    del names[name]

    def concern(self, namespace: Namespace, request: object, committed: int) -> bool:
        """May the answer to a read differ from that of the committed state?"""
        if type(request) is not m.Lookup or request.base != ROOT_INODE:
            return True
        if self._opaque > committed or namespace.volume.mounts:
            return True
        passed = namespace.volume.tree.passed(request.path)
        if passed is None:
            return True
        if self._last.keys().isdisjoint(passed):
            return False
        parts = split(request.path)
        if len(passed) > len(parts) and passed[-1] in self._last:
            return True  # it is what is asked about
        return not self._names.keys().isdisjoint(parts)
