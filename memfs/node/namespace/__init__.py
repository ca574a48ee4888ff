"""The namespace state machine: pure, deterministic, in RAM. See :class:`Namespace`."""

from memfs.node.namespace.runs import PlacedBlock, Run
from memfs.node.namespace.snapshot_loading import Loading
from memfs.node.namespace.state import CommandResult, Namespace, NamespaceStatistics
from memfs.node.namespace.tables.volume import Settings

__all__ = [
    "CommandResult",
    "Loading",
    "Namespace",
    "NamespaceStatistics",
    "PlacedBlock",
    "Run",
    "Settings",
]
