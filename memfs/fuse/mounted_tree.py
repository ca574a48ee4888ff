"""The directory of the cluster that a mount shows, by the kernel's node ids.

Owns how node ids become inode ids: they are the same, but for the root of the mount.
"""

from __future__ import annotations

from memfs.client.inodes import InodeOperations
from memfs.client.session.session import Session
from memfs.fuse.kernel.protocol import ROOT_ID
from memfs.types import Attributes


class MountedTree(InodeOperations):
    """A session, seen by inode, with a root of its own."""

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
        """What a name in a directory means; nothing is above the root."""
        return await super().lookup(parent, b"" if name == b".." and parent == self.root else name)
