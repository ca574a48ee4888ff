"""The block store of a node: immutable block versions in RAM, within a hard byte limit."""

from memfs.node.blocks.block_store import BlockStore

__all__ = ["BlockStore"]
