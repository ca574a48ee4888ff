"""The coordinator: where the one view record lives.

An interface with several implementations: ``memfs.cluster.etcd``, ``memfs.cluster.embedded`` and
``memfs.cluster.remote``, and the faulty ``memfs.testing.simulation.coordinator``. It is off the
data path: while no node fails, the cluster serves without it.

Safety rests on :meth:`Coordinator.swap_view` alone. A wake-up by
:meth:`Coordinator.wait_for_change` is a hint: the truth is what :meth:`Coordinator.read_view` says.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from memfs.types import View


class StoredView(NamedTuple):
    """The view record and its revision; revision 0 and no view before the cluster is formed.

    A revision grows with every swap, by any amount, and is never used twice.
    """

    revision: int
    view: View | None


class Coordinator(Protocol):
    """What a node needs of a coordinator. Every call is bounded in time.

    All but :meth:`wait_for_change` and :meth:`close` raise UnavailableError when no answer comes.
    """

    async def read_view(self) -> StoredView:
        """Linearizable read of the view record."""

    async def swap_view(self, expected: int, view: View) -> StoredView | None:
        """Replace the record if its revision is still ``expected``; None when it was not.

        Where the implementation can see it, a view of another cluster than the record's is not
        swapped in either.

        UnavailableError: certainly not done, and never will be. OutcomeUnknownError: the answer
        was lost, the swap may have been made or may still be made later. Never retry blindly: read
        back, or end the doubt with a second swap.
        """

    async def wait_for_change(self, revision: int, timeout_seconds: float) -> None:
        """Wait until the record may differ from that of ``revision``, or the time is over.

        A hint: it may return early, and may miss a change. While the coordinator is out of reach
        it waits and raises nothing, so that a loop around it never spins.
        """

    async def close(self) -> None:
        """Release connections and files."""
