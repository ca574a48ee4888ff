"""The namespace state machine: pure, deterministic, in RAM. See :class:`Namespace`."""

from memfs.node.namespace.snapshot_loading import Loading
from memfs.node.namespace.state import CommandResult, Namespace, NamespaceStatistics, PlacedBlock
from memfs.node.namespace.tables.volume import Settings

__all__ = [
    "CommandResult",
    "Loading",
    "Namespace",
    "NamespaceStatistics",
    "PlacedBlock",
    "Settings",
]
