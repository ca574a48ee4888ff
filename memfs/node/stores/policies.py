"""Cache policies: which blocks of external stores a node keeps and which it evicts. Pure.

Owns the index of what is cached, in the order it was read, by mount. Must not know blocks' memory
or stores: keys are any hashable, times are given. Invariants: a key is cached for one mount; what
is protected is never named as a victim; a block that is not admitted is served all the same.

The policies, from measurements of shuffled training epochs, scans, changes of data and skewed reads
(``tests/unit/node/stores/test_policies.py`` has the table):

- ``lru``: whatever was read longest ago goes for whatever comes.
- ``keep``: what is cached stays; there is no replacement until its mount is idle.
- ``aged``: a block goes when it was unread for two whole passes of its own mount's reads. A pass is
  as many reads as there are blocks being read, found by counting distinct ones. In shuffled epochs
  a cached block is read again within two passes, so the hit ratio is the cached fraction, which no
  policy beats. When more blocks in a row are missed than the last pass had outside the cache (and
  half as many as are in it, so that a short scan is none), other data is being read: what was
  cached is old at once.

What others than the cache need has precedence: :meth:`BlockCache.victims` names whatever may go.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

Key = Hashable
Policy = Literal["aged", "keep", "lru"]
POLICIES: Final[tuple[str, ...]] = get_args(Policy)
OLD_PASSES: Final = 3
"""Passes begun since a block was read: two whole ones lie between."""
REPEATS: Final = 1.1
"""A pass ends with so many reads for each distinct block."""
SLACK_READS: Final = 64
IDLE_SECONDS: Final = 300.0
"""A mount without a read for so long is idle: its blocks may go for others'."""
_BITS: Final = 1 << 17
"""Of a counter of distinct blocks: 16 KiB a mount, 5 % wrong at 600,000 blocks."""
_FULL: Final = 0.99


class DistinctCounter:
    """Estimates the number of distinct keys: linear counting (Whang et al., 1990)."""

    def __init__(self) -> None:
        self._bits = bytearray(_BITS // 8)
        self._ones = 0

    def add(self, key: Key) -> None:
        place, bit = divmod(hash(key) * 0x9E3779B97F4A7C15 >> 20 & (_BITS - 1), 8)
        if not self._bits[place] >> bit & 1:
            self._bits[place] |= 1 << bit
            self._ones += 1

    @property
    def count(self) -> float:
        """The estimate."""
        return -_BITS * math.log(1 - min(self._ones / _BITS, _FULL))


@dataclass
class _Mount:
    """What is known of one mount's reads."""

    policy: Policy
    quota: int | None
    blocks: OrderedDict[Key, tuple[int, int]] = field(default_factory=OrderedDict)
    """Size and pass of the last read, by key, the one read longest ago first."""
    size: int = 0
    read_at: float = -math.inf
    passed: int = 0
    reads: int = 0
    """In this pass."""
    distinct: DistinctCounter = field(default_factory=DistinctCounter)
    last_distinct: float = math.inf
    """Of the last whole pass."""
    missed: int = 0
    """In a row."""
    dead_before: int = 0
    """Blocks last read in an earlier pass are of other data."""


class BlockCache:
    """The index of a node's cached blocks. ``protected``: keys that must stay, pinned ones say."""

    def __init__(self, protected: Callable[[Key], bool] = lambda _: False) -> None:
        self._protected = protected
        self._mounts: dict[int, _Mount] = {}
        self._owners: dict[Key, int] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._owners

    def __len__(self) -> int:
        return len(self._owners)

    def mount_of(self, key: Key) -> int | None:
        """The mount for which a block is cached, None: it is not."""
        return self._owners.get(key)

    def set_mount(self, mount: int, policy: Policy, quota: int | None = None) -> None:
        """Make a mount known, or change how its blocks are kept. ``quota``: bytes at most."""
        known = self._mounts.get(mount)
        if known is None:
            self._mounts[mount] = _Mount(policy, quota)
        else:
            known.policy, known.quota = policy, quota

    def size(self, mount: int | None = None) -> int:
        """Bytes cached, of one mount or of all."""
        if mount is not None:
            return self._mounts[mount].size if mount in self._mounts else 0
        return sum(each.size for each in self._mounts.values())

    # --- what happens --------------------------------------------------------------------------

    def read(self, mount: int, key: Key, now: float) -> bool:
        """A block is read; whether it is cached."""
        known = self._mounts[mount]
        self._count(known, key, now)
        found = known.blocks.get(key)
        if found is None:
            known.missed += 1
            cached = len(known.blocks)
            outside = max(known.last_distinct - cached, cached / 2)
            if known.missed > outside * REPEATS + SLACK_READS:
                known.dead_before, known.last_distinct = known.passed + 1, math.inf
                self._begin_pass(known)
            return False
        known.missed = 0
        known.blocks[key] = found[0], known.passed
        known.blocks.move_to_end(key)
        return True

    def admit(
        self, mount: int, size: int, free: int, now: float, *, pinned: bool = False
    ) -> list[Key] | None:
        """The keys to be dropped for a block of ``size`` bytes, None when it is not to be kept.

        ``free``: bytes that are free for the cache. ``pinned``: it is not bound by the quota, and
        takes the place of any that is not pinned. Nothing is changed.
        """
        known = self._mounts[mount]
        needed = size - free
        over = 0 if pinned or known.quota is None else known.size + size - known.quota
        victims: list[Key] = []
        for key, freed in self._replaceable(known, now) if over > 0 else ():
            if over <= 0:
                break
            victims.append(key)
            over, needed = over - freed, needed - freed
        if over > 0:
            return None
        if needed > 0:
            chosen = set(victims)
            for key, freed in self._for_others() if pinned else self._candidates(known, now):
                if needed <= 0:
                    break
                if key not in chosen:
                    chosen.add(key)
                    victims.append(key)
                    needed -= freed
        return victims if needed <= 0 else None

    def add(self, mount: int, key: Key, size: int) -> None:
        """A block was cached."""
        known = self._mounts[mount]
        self.drop(key)
        known.blocks[key] = size, known.passed
        known.size += size
        self._owners[key] = mount

    def drop(self, key: Key) -> int:
        """A block is cached no more, if it was; its bytes."""
        mount = self._owners.pop(key, None)
        if mount is None:
            return 0
        size = self._mounts[mount].blocks.pop(key)[0]
        self._mounts[mount].size -= size
        return size

    def victims(self, needed: int, now: float) -> list[Key]:
        """What may go so that others than the cache get ``needed`` bytes; as far as it suffices.

        Old blocks first, then those of idle mounts, then those that were read longest ago.
        """
        victims: dict[Key, None] = {}
        for key, freed in self._for_others():
            if needed <= 0:
                break
            if key not in victims:
                victims[key] = None
                needed -= freed
        return list(victims)

    def excess(self, mount: int) -> list[Key]:
        """What has to go for a mount to be within its quota: what was read longest ago."""
        known = self._mounts.get(mount)
        over = 0 if known is None or known.quota is None else known.size - known.quota
        if known is None or over <= 0:
            return []
        victims: list[Key] = []
        for key, freed in self._free(known):
            if over <= 0:
                break
            victims.append(key)
            over -= freed
        return victims

    def check_invariants(self) -> None:
        """Raises AssertionError when the index contradicts itself."""
        for mount, known in self._mounts.items():
            assert known.size == sum(size for size, _ in known.blocks.values())
            assert all(self._owners[key] == mount for key in known.blocks)
        assert len(self._owners) == sum(len(known.blocks) for known in self._mounts.values())

    # --- passes --------------------------------------------------------------------------------

    def _count(self, known: _Mount, key: Key, now: float) -> None:
        known.read_at = now
        known.reads += 1
        known.distinct.add(key)
        if known.reads >= len(known.blocks):
            distinct = known.distinct.count
            if known.reads > distinct * REPEATS + SLACK_READS:
                known.last_distinct = distinct
                self._begin_pass(known)

    @staticmethod
    def _begin_pass(known: _Mount) -> None:
        known.passed += 1
        known.reads = known.missed = 0
        known.distinct = DistinctCounter()

    # --- who goes ------------------------------------------------------------------------------

    def _candidates(self, known: _Mount, now: float) -> Iterator[tuple[Key, int]]:
        """What may go for a block of mount ``known``: of idle mounts, old ones of all, its own."""
        others = [each for each in self._mounts.values() if each is not known]
        for other in others:
            if now - other.read_at >= IDLE_SECONDS:
                yield from self._free(other)
        yield from self._replaceable(known, now)
        for other in others:
            yield from self._old(other)

    def _replaceable(self, known: _Mount, now: float) -> Iterator[tuple[Key, int]]:
        if known.policy == "lru":
            yield from self._free(known)
        elif known.policy == "aged":
            yield from self._old(known)

    def _for_others(self) -> Iterator[tuple[Key, int]]:
        for known in self._mounts.values():
            yield from self._old(known)
        for known in sorted(self._mounts.values(), key=lambda each: each.read_at):
            yield from self._free(known)

    def _free(self, known: _Mount) -> Iterator[tuple[Key, int]]:
        """All of a mount that may go, the block read longest ago first."""
        for key, (size, _) in known.blocks.items():
            if not self._protected(key):
                yield key, size

    def _old(self, known: _Mount) -> Iterator[tuple[Key, int]]:
        if known.policy != "aged":
            return
        limit = max(known.passed - OLD_PASSES, known.dead_before - 1)
        for key, (size, passed) in known.blocks.items():
            if passed > limit:
                return
            if not self._protected(key):
                yield key, size
