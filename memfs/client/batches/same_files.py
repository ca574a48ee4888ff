"""Which files of a call turned out to be one: names that differ as text may lead to one file.

Pure but for :func:`inodes_of`. What the text of a path shows is ``BatchPaths``' part; here is what
only the primary knows: symlinks, ``..`` behind them, and hard links. Small files tell which inode
each replaced, which costs no request; files that went alone are looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from memfs.client.batches.batching import path_batches
from memfs.client.session.session import Session
from memfs.errors import InvalidArgumentError
from memfs.protocol import messages as m


class SameFiles:
    """What is known of the files of one call, by their numbers in it."""

    def __init__(self) -> None:
        self._inodes: dict[int, int] = {}
        """Number of the small file that was published as an inode."""
        self._replaced: list[tuple[int, int]] = []
        """Small files that replaced something, and the inodes that they replaced."""
        self._looked_up: dict[int, list[int]] = {}
        """Numbers by the inode that their names mean in the end."""

    def published(self, number: int, inode: int, replaced: int) -> None:
        """A small file has its name, as ``inode``; ``replaced``: what had it before, or 0."""
        self._inodes[inode] = number
        if replaced:
            self._replaced.append((number, replaced))

    def found(self, inodes: Iterable[tuple[int, int]]) -> None:
        """Numbers, and what their names mean now (0: nothing that can be seen)."""
        for number, inode in inodes:
            if inode:
                self._looked_up.setdefault(inode, []).append(number)

    def doubtful(self, alone: Set[int], count: int) -> list[int]:
        """Numbers to look up: who went ``alone``, and the small files that may be the same.

        ``count``: of the files of the call. A file that went alone was published after all small
        ones, so those before the first such file are rightly behind it.
        """
        if not alone:
            return []
        replacing = {number for pair in self._pairs() for number in pair}
        return sorted({*range(min(alone), count), *replacing})

    def overtaken(self) -> list[int]:
        """Files that are the last of the call under their name, and may not be what it holds."""
        group_of: dict[int, list[int]] = {}
        pairs = self._pairs()
        unsure = [(each[0], other) for each in self._looked_up.values() for other in each[1:]]
        for one, other in (*pairs, *unsure):
            joined = group_of.setdefault(one, [one])
            joining = group_of.setdefault(other, [other])
            if joined is not joining:
                joined += joining
                group_of.update(dict.fromkeys(joining, joined))
        older = {old for _, old in pairs}
        unsure_numbers = {number for pair in unsure for number in pair}
        groups = {id(group): group for group in group_of.values()}.values()
        return sorted(
            max(group)
            for group in groups
            if max(group) in older or not unsure_numbers.isdisjoint(group)
        )

    def _pairs(self) -> list[tuple[int, int]]:
        """Small files of the call, and those of the call that each replaced."""
        inodes = self._inodes
        return [(number, inodes[old]) for number, old in self._replaced if old in inodes]


async def inodes_of(session: Session, raws: Sequence[bytes], deadline: float) -> list[int]:
    """The inodes that paths lead to, symlinks followed; 0: what cannot be seen."""
    found: list[int] = []
    for batch in path_batches(raws):
        found += await _inodes_of_few(session, raws[batch.start : batch.stop], deadline)
    return found


async def _inodes_of_few(session: Session, raws: Sequence[bytes], deadline: float) -> list[int]:
    """One request, or two of half the paths each when the answers do not fit a record."""
    try:
        reply = await session.ask(m.LookupMany(tuple(raws), True), None, deadline)
    except InvalidArgumentError:
        if len(raws) == 1:
            raise
        half = len(raws) // 2
        first = await _inodes_of_few(session, raws[:half], deadline)
        return first + await _inodes_of_few(session, raws[half:], deadline)
    return [0 if each is None else each.inode for each in reply.attributes]
