"""The coordinator: where the one view record lives, and who has shown life lately.

An interface with several implementations (``memfs.cluster.embedded``, ``memfs.cluster.remote``;
etcd and a faulty fake follow it). It is off the data path: while no node fails, the cluster serves
without it.

Safety rests on :meth:`Coordinator.swap_view` alone. Leases of nodes are hints: an expiry is no
proof of death, a refresh no proof of life (NoTimeSafety).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from memfs.types import Member, View


class StoredView(NamedTuple):
    """The view record and its revision; revision 0 and no view before the cluster is formed."""

    revision: int
    view: View | None


class Coordinator(Protocol):
    """What a node needs of a coordinator. All methods raise UnavailableError when it is down."""

    async def read_view(self) -> StoredView:
        """Linearizable read of the view record."""

    async def swap_view(self, expected: int, view: View) -> StoredView | None:
        """Replace the record if its revision is still ``expected``; None when it was not.

        Raises OutcomeUnknownError when the answer was lost. Never retry blindly: read back, or
        end the doubt with a second swap of a higher epoch.
        """

    async def register(self, member: Member, ttl_seconds: float) -> None:
        """Put or refresh the leased record of a node (``member.number`` does not matter)."""

    async def members(self) -> tuple[Member, ...]:
        """Nodes whose lease has not run out."""

    async def close(self) -> None:
        """Release connections and files."""
