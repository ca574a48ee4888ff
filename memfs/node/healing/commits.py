"""No file may be published that names only members that have left: its blocks would be lost from
the start.

Owns the check of what a writer publishes against the primary's view, before it is applied. A writer
that has not heard of a change of the view stores on members of the old one; when none of them is
left, nothing may be acknowledged (AckedR).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any

from memfs import errors
from memfs.node.membership.members import Membership
from memfs.node.namespace import Namespace
from memfs.protocol import messages as m
from memfs.types import BlockRef, View


class CommitCheck:
    """Looks at commands that publish blocks."""

    def __init__(
        self,
        membership: Membership,
        departing: Set[int],
        endangered: Callable[[m.BlockVersion], None],
    ) -> None:
        """``membership`` tells the members, ``departing`` those about to leave; ``endangered`` is
        told what is about to be published with too few copies."""
        self._membership = membership
        self._departing = departing
        self._endangered = endangered
        self._view: View | None = None
        self._members: frozenset[int] = frozenset()

    def check(self, request: Any, namespace: Namespace, client: int, request_id: int) -> None:
        """Raise StaleEpochError for new blocks without a copy on a member.

        A repeated command passes: it gets the result that is recorded.
        """
        homeless = False
        for ref in _published(request):
            if ref.replicas and not self._stay().issuperset(ref.replicas):
                self._endangered(ref.version)
                homeless = homeless or self._stay().isdisjoint(ref.replicas)
        if homeless and not namespace.has_answered(client, request_id):
            raise errors.StaleEpochError(
                "every node that was to hold a block has left the cluster: store it anew"
            )

    def _stay(self) -> frozenset[int]:
        """The members on which copies count."""
        view = self._membership.view
        if view is not self._view:
            self._view = view
            self._members = frozenset(member.number for member in view.members)
        return self._members.difference(self._departing) if self._departing else self._members


def _published(request: Any) -> Iterable[BlockRef]:
    """References to versions that a command publishes; those that a file has already are not."""
    if type(request) is m.Commit:
        return [ref for ref in request.blocks if ref.generation == request.generation]
    if type(request) is m.PutFiles:
        return _of_files(request)
    return ()


def _of_files(request: m.PutFiles) -> Iterator[BlockRef]:
    for file in request.files:
        yield from file.blocks
