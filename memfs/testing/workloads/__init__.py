"""Workloads of clients, each with the checker of its history.

Each workload runs on any cluster, simulated or real: it is given a way to connect, a seed, a
history and a directory of its own, and is used as ``prepare()``, ``run(until)``, ``verify()``. All
of them tolerate errors of a cluster with faults; only a broken promise is a violation.
"""

from __future__ import annotations

from collections.abc import Mapping

from memfs.testing.workloads.append import AppendLog, LeaseSteal
from memfs.testing.workloads.base import Connect, Sizes, Workload
from memfs.testing.workloads.contents import DeleteCreate, LargeFiles, WholeFileRegister
from memfs.testing.workloads.held_open import HeldOpen
from memfs.testing.workloads.locks import FileLocks
from memfs.testing.workloads.memory_pressure import FillAndFree
from memfs.testing.workloads.names import DirectorySet, RenameDance, Transfer

WORKLOADS: Mapping[str, type[Workload]] = {
    kind.__name__: kind
    for kind in (
        WholeFileRegister,
        AppendLog,
        RenameDance,
        DirectorySet,
        LeaseSteal,
        Transfer,
        LargeFiles,
        DeleteCreate,
        FillAndFree,
        FileLocks,
        HeldOpen,
    )
}
"""Every workload by its name."""

__all__ = [
    "WORKLOADS",
    "AppendLog",
    "Connect",
    "DeleteCreate",
    "DirectorySet",
    "FileLocks",
    "FillAndFree",
    "HeldOpen",
    "LargeFiles",
    "LeaseSteal",
    "RenameDance",
    "Sizes",
    "Transfer",
    "WholeFileRegister",
    "Workload",
]
