"""A view as a client uses it: members, the primary, and where new copies go.

Owns what follows from one view; made anew for each newer one, never changed. Must not know
requests: nothing here waits.
"""

from __future__ import annotations

from functools import cached_property

from memfs.client.session.suspects import Suspects
from memfs.cluster.ring import Ring
from memfs.errors import UnavailableError
from memfs.quantities import counted
from memfs.types import Member, View


class KnownView:
    """What a client knows of its cluster; exists only once there is a view."""

    def __init__(self, view: View, machine: str) -> None:
        """``machine`` identifies this host (empty: unknown)."""
        self.view = view
        self.machine = machine
        self.members: dict[int, Member] = {member.number: member for member in view.members}

    @property
    def epoch(self) -> int:
        """The view's."""
        return self.view.epoch

    @property
    def primary_number(self) -> int:
        """Member number of the primary."""
        return self.view.primary

    @cached_property
    def _ring(self) -> Ring:
        return Ring(self.view.members)

    def member(self, number: int) -> Member:
        """The member with this number. Raises UnavailableError when the view lacks it."""
        member = self.members.get(number)
        if member is None:
            raise UnavailableError(f"member {number} is not in the cluster any more")
        return member

    def is_local(self, number: int) -> bool:
        """Whether member ``number`` runs on this host."""
        member = self.members.get(number)
        return member is not None and bool(self.machine) and member.machine == self.machine

    def place(
        self, inode: int, group: int, copies: int, suspects: Suspects | None = None
    ) -> tuple[int, ...]:
        """Members for new copies of a group, one on this host first; suspects are avoided.

        Never fewer than ``copies`` unless the whole cluster is smaller (AckedR). Raises
        UnavailableError when no member takes anything new.
        """
        takers = len(self._ring.takers)
        wanted = min(copies, takers)
        avoid = suspects.to_avoid(takers, wanted) if suspects is not None else ()
        chosen = tuple(self._ring.place(inode, group, copies, frozenset(avoid)))
        if not chosen or len(chosen) < wanted:
            raise UnavailableError(
                f"{len(chosen)} of {counted(wanted, 'node')} for a block are available"
            )
        if self.machine and len(chosen) > 1:
            return tuple(sorted(chosen, key=lambda number: not self.is_local(number)))
        return chosen
