"""When memory runs short, files that stores have as well go: those changed longest ago first.

Owns the list of who is next. It is made by a walk through all such files, with rests, and used up
before the next walk: an eviction looks at the files it evicts.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from memfs.concurrency import with_rests
from memfs.node.membership.members import Membership
from memfs.node.replication.primary import Primary
from memfs.protocol import messages as m

HIGH_SHARE: Final = 0.80
"""Of all memory, without cached blocks: above it files that stores have too are evicted ..."""
LOW_SHARE: Final = 0.70
"""... until it is this."""
FILES_PER_EVICTION: Final = 1000
FILES_PER_WALK: Final = 16_384


class Relief:
    """Evicts for one term, step by step."""

    def __init__(self, primary: Primary, membership: Membership) -> None:
        """``membership`` knows how much memory there is."""
        self._primary = primary
        self._membership = membership
        self._next: deque[m.ChangeVersion] = deque()

    async def step(self) -> None:
        """Evict some files if memory is short."""
        volume = self._primary.namespace.volume
        excess = self._excess() if volume.mounts.resident else 0
        if excess <= 0:
            self._next.clear()
            return
        if not self._next:
            self._next = await self._oldest()
        files: list[m.ChangeVersion] = []
        while self._next and excess > 0 and len(files) < FILES_PER_EVICTION:
            file = self._next.popleft()
            slot = volume.tree.inodes.slot_of(file.inode)
            if slot in volume.mounts.resident:
                files.append(file)
                excess -= volume.tree.weight(slot)[1]
        if files:
            await self._primary.run_own(m.EvictFiles(tuple(files)))

    def _excess(self) -> float:
        """Bytes to be given up."""
        view = self._membership.view
        usages = [self._membership.life(member.number).usage for member in view.members]
        own = sum(usage.used - usage.cached for usage in usages)
        limit = sum(usage.limit for usage in usages)
        return own - limit * LOW_SHARE if limit and own >= limit * HIGH_SHARE else 0

    async def _oldest(self) -> deque[m.ChangeVersion]:
        """The files that were changed longest ago, and are not pinned."""
        volume = self._primary.namespace.volume
        inodes, mounts = volume.tree.inodes, volume.mounts
        found: list[tuple[int, m.ChangeVersion]] = []
        async for slot in with_rests(mounts.resident.from_slot()):
            if slot in mounts.resident and mounts.pinned_until(volume.tree, slot) is None:
                file = m.ChangeVersion(inodes.id_of(slot), inodes.change[slot])
                found.append((inodes.modified[slot], file))
            if len(found) >= 2 * FILES_PER_WALK:
                found = sorted(found)[:FILES_PER_WALK]
        return deque([file for _, file in sorted(found)[:FILES_PER_WALK]])
