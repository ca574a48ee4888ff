"""The namespace state machine: pure, deterministic, in RAM. See :class:`Namespace`."""

from memfs.node.namespace.snapshot import Loading
from memfs.node.namespace.state import Namespace, Outcome, PlacedBlock, Statistics
from memfs.node.namespace.volume import Settings

__all__ = ["Loading", "Namespace", "Outcome", "PlacedBlock", "Settings", "Statistics"]
