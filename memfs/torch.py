"""PyTorch on memfs: datasets of small files and of shards, and checkpoints.

Needs ``pip install memfs-cluster[torch]``; a CPU build is enough. See ``docs/pytorch.md``.
"""

from typing import Any

from memfs.integrations.torch.checkpoints import AsyncCheckpointer, load, save
from memfs.integrations.torch.dataset import FileDataset
from memfs.integrations.torch.iterable import FileStream, ShardStream, StreamLoader

__all__ = [
    "AsyncCheckpointer",
    "FileDataset",
    "FileStream",
    "ShardStream",
    "StreamLoader",
    "load",
    "save",
]


def __getattr__(name: str) -> Any:
    """``CheckpointReader``, ``CheckpointWriter``: not every build of torch has their base."""
    if name in ("CheckpointReader", "CheckpointWriter"):
        from memfs.integrations.torch import distributed

        return getattr(distributed, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
