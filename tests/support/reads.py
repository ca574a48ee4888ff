"""What primaries are asked, and what they answer or refuse: for the omniscient observer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from memfs import errors
from memfs.node.namespace import Namespace
from memfs.node.replication.primary import Primary
from memfs.protocol import messages as m
from memfs.testing.patches import replaced
from memfs.types import Identity

OF_THE_CLUSTER = (
    errors.UnavailableError,
    errors.NotPrimaryError,
    errors.OutcomeUnknownError,
    errors.StaleEpochError,
)
"""What a read may be refused with that says nothing of the namespace."""


class Read(NamedTuple):
    """What a primary was asked, and the answer, the error or a future of either."""

    primary: Primary
    identity: Identity
    request: Any
    client: int
    result: Any

    def agrees(self, namespace: Namespace) -> bool:
        """Would this member give the same answer?"""
        try:
            found = namespace.query(self.identity, self.request, self.client)
        except errors.MemfsError as error:
            return type(error) is type(self.result)
        given = self.result
        if type(given) is m.BlocksReply:  # what lets its receiver read is no part of the namespace
            given = given._replace(capability=b"")
        return bool(found == given)


@contextlib.contextmanager
def around_query(answered: Callable[[Read], None]) -> Iterator[None]:
    """Tell of every read that a primary takes."""
    query = Primary.query

    def observed(
        self: Primary, identity: Identity, request: Any, client: int = 0, finish: Any = None
    ) -> Any:
        try:
            result = query(self, identity, request, client, finish)
        except OF_THE_CLUSTER:
            raise
        except errors.MemfsError as error:
            answered(Read(self, identity, request, client, error))
            raise
        answered(Read(self, identity, request, client, result))
        return result

    with replaced(Primary, "query", observed):
        yield
