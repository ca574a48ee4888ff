"""Block versions that a writer has stored and will not publish, and how nodes are told to forget
them.

Owns the versions of one lease that newer ones have replaced before a commit, and those that may
have been stored by attempts that failed. A node forgets them with the message that brings the next
version of the same block; what no message tells them goes with the next commit, or with the end of
the lease, to the primary. Invariant: a version that was ever named in a commit is never forgotten
on this client's word, for it may be published: only the primary can know.
"""

from __future__ import annotations

from collections.abc import Iterable

from memfs import limits
from memfs.types import BlockRef

WITHDRAWN_AT_ONCE = 100
"""References that one commit withdraws beside those that it publishes."""

FORGOTTEN_AT_ONCE = 100
"""Versions that one message has nodes forget."""


class Leftovers:
    """Block versions that one writer has stored and will not publish."""

    def __init__(self) -> None:
        self._named: set[int] = set()
        self._left: dict[int, BlockRef] = {}
        """By sequence."""

    def named(self, refs: Iterable[BlockRef]) -> None:
        """Note versions named in a commit that is about to be sent: only the primary drops them."""
        self._named.update(ref.sequence for ref in refs)

    def add(self, ref: BlockRef) -> None:
        """Note a version that will not be published; no node needs to have stored it."""
        self._left[ref.sequence] = ref

    def forgettable(self, block: int, chain: tuple[int, ...]) -> tuple[BlockRef, ...]:
        """Versions of a block that the nodes of ``chain`` can drop with its next version."""
        nodes = set(chain)
        found = [
            ref
            for ref in self._left.values()
            if ref.index == block
            and ref.sequence not in self._named
            and not nodes.isdisjoint(ref.replicas)
        ]
        return tuple(found[-FORGOTTEN_AT_ONCE:])

    def forgotten(self, refs: Iterable[BlockRef], chain: tuple[int, ...]) -> None:
        """Note versions that the nodes of ``chain`` have dropped; others may still hold them."""
        self.gone(ref for ref in refs if set(ref.replicas) <= set(chain))

    @property
    def are_many(self) -> bool:
        """Whether there are more than one commit can withdraw."""
        return len(self._left) > WITHDRAWN_AT_ONCE

    def some(self) -> tuple[BlockRef, ...]:
        """The versions that the next commit withdraws."""
        return tuple(self._left.values())[:WITHDRAWN_AT_ONCE]

    def rest(self) -> tuple[BlockRef, ...]:
        """The versions that are withdrawn when the lease ends."""
        return tuple(self._left.values())[: limits.BLOCKS_PER_RECORD]

    def gone(self, refs: Iterable[BlockRef]) -> None:
        """Note versions that have been dropped, or will be."""
        for ref in refs:
            self._left.pop(ref.sequence, None)

    def published(self) -> None:
        """A commit succeeded: the namespace takes care of what it named."""
        self._named.clear()
