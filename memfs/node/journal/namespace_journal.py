"""The journal as primary and backup see it.

Owns the rule of ``ack = journal``: this node's copy of the namespace counts as far as it is on the
disk. Without a journal, or under ``ack = ram``, it counts as far as it was applied.
Invariant: the journal holds one history; of another namespace nothing is durable before it began.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from memfs import errors
from memfs.node.journal.journal import Journal
from memfs.node.log.entries import Entry, pack_entries
from memfs.node.namespace import Namespace
from memfs.protocol import messages as m

_FREES: Final = frozenset(
    {
        m.Unlink,
        m.UnlinkMany,
        m.RemoveDirectory,
        m.ReleaseLease,
        m.ReleaseInodes,
        m.ExpireSession,
        m.TakeOver,
        m.Reclaim,
        m.SetReplicas,
        m.SetManyReplicas,
    }
)
"""Commands that give room back; they are taken while the journal's disk is full."""


class NamespaceJournal:
    """Passes a namespace's entries to the journal, where there is one."""

    def __init__(self, journal: Journal | None, required: Callable[[], bool]) -> None:
        """``required``: do acknowledgements wait for the disk (``ack = journal``)?"""
        self._journal = journal
        self._required = required

    @property
    def required(self) -> bool:
        """Whether acknowledgements wait for the disk."""
        return self._required()

    @property
    def active(self) -> bool:
        """Whether there is a journal."""
        return self._journal is not None

    def follow(self, advanced: Callable[[], None]) -> None:
        """Call ``advanced`` whenever more is durable."""
        if self._journal is not None:
            self._journal.followers.append(advanced)

    def unfollow(self, advanced: Callable[[], None]) -> None:
        """Stop calling it."""
        if self._journal is not None and advanced in self._journal.followers:
            self._journal.followers.remove(advanced)

    def check_room(self, request: object) -> None:
        """Check that a command may be accepted. Raises NoSpaceError."""
        if self._journal is not None and self._required():
            self._journal.check_room(frees=type(request) in _FREES)

    def append(self, namespace: Namespace, entries: Sequence[Entry], packed: bytes = b"") -> None:
        """Append entries that were just applied; ``packed``: their encoded form, if at hand."""
        own = self._journal.log if self._journal is not None else None
        if own is None or own.follows is not namespace or not entries:
            return
        if entries[0].index <= own.appended:  # the journal began with a state that has them
            entries, packed = [e for e in entries if e.index > own.appended], b""
        if entries:
            first, last = entries[0].index, entries[-1].index
            own.append(packed or pack_entries(entries), first, last, namespace.digest)

    def durable(self, namespace: Namespace) -> int:
        """Log index up to which this node's own copy counts for acknowledgements."""
        if not self._required():
            return namespace.applied
        own = self._journal.log if self._journal is not None else None
        return own.durable if own is not None and own.follows is namespace else 0

    async def until_durable(self, namespace: Namespace) -> None:
        """Return once all that was applied counts. Raises NoSpaceError, NotPermittedError."""
        if not self._required():
            return
        if self._journal is None:
            raise errors.NotPermittedError("this node keeps no journal: it cannot be in sync")
        own = await self._journal.ready()
        if own.follows is not namespace:
            self._journal.recovered = None
            await own.begin(namespace)
        await own.until_durable()
