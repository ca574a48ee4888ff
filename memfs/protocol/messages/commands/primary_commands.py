"""Commands that the primary gives itself: sessions end, deleted trees go, replicas change."""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.registry import Empty, message
from memfs.types import BlockVersion


@message(144, command=True, peer=True)
class ExpireSession(NamedTuple):
    """A client is gone: release its leases at the last flushed length, free its reservations."""

    client: int

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(145, command=True, peer=True)
class Reclaim(NamedTuple):
    """Free up to ``count`` inodes of deleted trees."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which no record needs

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(146, command=True, peer=True)
class SetReplicas(NamedTuple):
    """Replace the replica list of one block version, if it is still the current one.

    What :class:`SetManyReplicas` does for many; journals may hold it.
    """

    inode: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which no record needs
    generation: int
    sequence: int
    replicas: tuple[int, ...]

    @staticmethod
    def reply() -> type[Empty]:
        return Empty


@message(177, command=True, peer=True)
class SetManyReplicas(NamedTuple):
    """Replace the replica lists of block versions, of those that are current."""

    versions: tuple[BlockVersion, ...]
    replicas: tuple[tuple[int, ...], ...]
    """Of each version its own."""

    @staticmethod
    def reply() -> type[Empty]:
        return Empty
