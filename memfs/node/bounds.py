"""How much clients use of everything that is bounded per client, on one node.

Owns nothing: the ledgers count what the node gives out, the namespace's state what all its copies
share. Operators see it in the status, machines among the metrics.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping

from memfs import limits
from memfs.node.namespace import Namespace
from memfs.node.namespace.tables.principal_limits import ANY
from memfs.node.namespace.tables.volume import Volume
from memfs.node.replication.role import NamespaceRole
from memfs.protocol.messages import BoundStatus, ShareHolder, ShareUse
from memfs.transport.bounds.ledgers import ClientLedger


class Bounds:
    """Every bound of one node with what is used of it."""

    def __init__(self, ledgers: Mapping[str, ClientLedger], role: NamespaceRole) -> None:
        """``ledgers`` by name; ``role`` knows the namespace, where there is one."""
        self._ledgers = ledgers
        self._role = role

    def all(self) -> tuple[BoundStatus, ...]:
        """All of them as they are now."""
        namespace = self._role.namespace
        return (*self._of_node(), *(_of_namespace(namespace) if namespace is not None else ()))

    def shares(self, heaviest: int) -> tuple[ShareUse, ...]:
        """All bounds per user, with the ``heaviest`` users of each.

        Only the primary reports those of the namespace, once for all copies.
        """
        found = [_of_ledger(name, each, heaviest) for name, each in self._ledgers.items()]
        if self._role.leads and (namespace := self._role.namespace) is not None:
            found += _shares_of_namespace(namespace, heaviest)
        return tuple(found)

    def _of_node(self) -> Iterator[BoundStatus]:
        for name, ledger in self._ledgers.items():
            yield BoundStatus(name, ledger.total, ledger.most, ledger.each, ledger.together)


def _of_namespace(namespace: Namespace) -> Iterator[BoundStatus]:
    volume, results = namespace.volume, namespace.results
    each = limits.RESULTS_PER_SESSION * limits.RECORD_BYTES
    total = limits.RESULT_BYTES_TOTAL
    yield BoundStatus("result_bytes", results.bytes, results.most, each, total)
    xattrs, tokens, locks = volume.tree.xattrs, volume.tokens, volume.locks
    each, total = limits.XATTRS_BYTES_PER_OWNER, limits.XATTRS_CLUSTER_BYTES
    yield BoundStatus("xattr_bytes", xattrs.bytes, xattrs.most, each, total)
    each, total = limits.TOKENS_PER_OWNER, limits.TOKENS
    yield BoundStatus("tokens", len(tokens.by_sequence), tokens.most, each, total)
    yield BoundStatus("locks", locks.count, locks.most, limits.LOCKS_PER_SESSION, limits.LOCKS)
    sessions = volume.sessions
    most = max(sessions.by_user.values(), default=0)
    each, total = limits.SESSIONS_PER_USER, limits.SESSIONS
    yield BoundStatus("sessions", len(sessions.by_client), most, each, total)


def _of_ledger(name: str, ledger: ClientLedger, heaviest: int) -> ShareUse:
    holders = tuple(ShareHolder(*each) for each in ledger.shares(heaviest))
    return ShareUse(name, ledger.total, ledger.each, ledger.together, holders)


def _shares_of_namespace(namespace: Namespace, heaviest: int) -> Iterator[ShareUse]:
    volume = namespace.volume
    sessions, xattrs, tokens = volume.sessions, volume.tree.xattrs, volume.tokens
    usual, most = limits.SESSIONS_PER_USER, limits.SESSIONS
    yield _share(volume, "sessions", sessions.by_user, usual, most, heaviest)
    usual, most = limits.TOKENS_PER_OWNER, limits.TOKENS
    yield _share(volume, "tokens", tokens.of_owners, usual, most, heaviest)
    usual, most = limits.XATTRS_BYTES_PER_OWNER, limits.XATTRS_CLUSTER_BYTES
    yield _share(volume, "xattr_bytes", xattrs.of_owners, usual, most, heaviest)
    yield _share(volume, "inodes", volume.tree.owners.by_user(), ANY, 0, heaviest)


def _share(
    volume: Volume, name: str, held: Mapping[str, int], usual: int, together: int, heaviest: int
) -> ShareUse:
    table = volume.limits
    first = heapq.nlargest(heaviest, held.items(), key=lambda item: item[1])
    holders = [ShareHolder(who, used, table.of(name, who, usual)) for who, used in first]
    general = table.by_key.get((name, ""), usual)
    return ShareUse(name, sum(held.values()), general, together, tuple(holders))
