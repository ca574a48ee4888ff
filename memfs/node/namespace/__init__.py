"""The namespace state machine: pure, deterministic, in RAM. See :class:`Namespace`."""

from memfs.node.namespace.snapshot import Loading
from memfs.node.namespace.state import Namespace, NamespaceStatistics, Outcome, PlacedBlock
from memfs.node.namespace.tables.volume import Settings

__all__ = ["Loading", "Namespace", "NamespaceStatistics", "Outcome", "PlacedBlock", "Settings"]
