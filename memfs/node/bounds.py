"""What clients have of what is bounded for each of them, on one node.

Owns nothing: the ledgers count what the node itself gives out, the state of the namespace what
every copy of it has. Operators see it in the status, machines among the metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from memfs import limits
from memfs.node.namespace import Namespace
from memfs.node.replication.role import NamespaceRole
from memfs.protocol.messages import BoundStatus
from memfs.transport.ledgers import Ledger


class Bounds:
    """Every bound of one node with what is used of it."""

    def __init__(self, ledgers: Mapping[str, Ledger[Any]], role: NamespaceRole) -> None:
        """``ledgers`` by name; ``role`` knows the namespace, where there is one."""
        self._ledgers = ledgers
        self._role = role

    def all(self) -> tuple[BoundStatus, ...]:
        """All of them as they are now."""
        namespace = self._role.namespace
        return (*self._of_node(), *(_of_namespace(namespace) if namespace is not None else ()))

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
