"""No file may be published that names only members that have left or are out of reach: its blocks
would be lost from the start.

Owns the check of what a writer publishes against what the primary knows of the members, before it
is applied. A writer with an outdated view stores on former members, and a writer whose primary
fails may publish at the next one what only the failed node held. When no holder is left, nothing
may be acknowledged (AckedR).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set

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

    def check(self, request: object, namespace: Namespace, client: int, request_id: int) -> None:
        """Raise UploadLostError, StaleEpochError for new blocks without a copy in reach.

        Whole files are stored anew; what an open file has written may come back with its node.
        A repeated command passes: it gets the result that is recorded.
        """
        homeless = False
        held: set[tuple[int, ...]] = set()
        """Chains that were looked at: most blocks of a command have the same."""
        for ref in _published(request):
            if not ref.replicas:
                continue
            if not self._stay().issuperset(ref.replicas):
                self._endangered(ref.version)
            if ref.replicas not in held:
                homeless = homeless or not self._is_held(ref.replicas)
                held.add(ref.replicas)
        if homeless and not namespace.has_answered(client, request_id):
            whole = type(request) is m.PutFiles
            refusal = errors.UploadLostError if whole else errors.StaleEpochError
            reason = "every node that was to hold a block is gone or out of reach: store it anew"
            raise refusal(reason)

    def _is_held(self, replicas: Iterable[int]) -> bool:
        """Is one of these members reachable, as far as is known, and not about to leave?"""
        membership, stay = self._membership, self._stay()
        return any(number in stay and not membership.is_out_of_reach(number) for number in replicas)

    def _stay(self) -> frozenset[int]:
        """The members on which copies count."""
        view = self._membership.view
        if view is not self._view:
            self._view = view
            self._members = frozenset(member.number for member in view.members)
        return self._members.difference(self._departing) if self._departing else self._members


def _published(request: object) -> Iterable[BlockRef]:
    """References to versions that a command publishes; those that a file has already are not."""
    if type(request) is m.Commit or type(request) is m.PublishDraft:
        return [ref for ref in request.blocks if ref.generation == request.generation]
    if type(request) is m.PutFiles:
        return _of_files(request)
    return ()


def _of_files(request: m.PutFiles) -> Iterator[BlockRef]:
    for file in request.files:
        yield from file.blocks
