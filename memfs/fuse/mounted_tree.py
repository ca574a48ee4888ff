"""The directory of the cluster that a mount shows, by the kernel's node ids.

Owns the translation of node ids to inode ids: they are the same except for the mount's root.
"""

from __future__ import annotations

from memfs.client.inodes import InodeOperations
from memfs.client.session.session import Session
from memfs.fuse.kernel.protocol import ROOT_ID
from memfs.types import Attributes


class MountedTree(InodeOperations):
    """The cluster's files by inode, below the directory that is mounted."""

    def __init__(self, session: Session, root: int) -> None:
        """``root``: inode id of the directory that is mounted."""
        super().__init__(session)
        self.root = root

    def inode(self, node: int) -> int:
        """The inode behind a node id."""
        return self.root if node == ROOT_ID else node

    def node(self, inode: int) -> int:
        """The node id of an inode."""
        return ROOT_ID if inode == self.root else inode

    async def lookup(self, parent: int, name: bytes) -> Attributes:
        """The inode that a name in a directory refers to; ``..`` does not lead above the root."""
        return await super().lookup(parent, b"" if name == b".." and parent == self.root else name)
