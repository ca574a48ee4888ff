"""Which nodes cache the blocks of what external stores hold: filled in where an answer names them.

The ring of the present view chooses and nothing is remembered: a copy that is not found there is
fetched again.
"""

from __future__ import annotations

from typing import Any

from memfs.cluster.ring import Ring
from memfs.node.membership.members import Membership
from memfs.node.namespace.tables.volume import Volume
from memfs.node.namespace.whole_files import WholeFiles
from memfs.protocol import messages as m
from memfs.types import BlockRef


class ObjectPlacement:
    """Places by the newest view that this node knows."""

    def __init__(self, membership: Membership) -> None:
        """Made once for all terms."""
        self._membership = membership
        self._ring: Ring | None = None

    def fill_in(self, volume: Volume, record: object) -> Any:
        """The answer, in which blocks of generation 0 name the nodes to ask for them."""
        if isinstance(record, m.ReadFilesReply):
            return m.ReadFilesReply(tuple([self.fill_in(volume, file) for file in record.files]))
        if isinstance(record, WholeFiles):
            others = [self.fill_in(volume, file) for file in record.others]
            return record._replace(others=others)
        if not isinstance(record, m.FileReply | m.BlocksReply) or record.attributes is None:
            return record
        if not any(ref.length and not ref.generation for ref in record.blocks):
            return record
        ring = self._present()
        slot = volume.tree.inodes.slot_of(record.attributes.inode)
        mount = volume.mounts.mount_of(volume.tree, slot)
        copies = mount.copies if mount is not None else 1
        group = max(1, record.attributes.group_blocks)

        def place(ref: BlockRef) -> BlockRef:
            if ref.generation or not ref.length:
                return ref
            return ref._replace(replicas=ring.place(ref.inode, ref.index // group, copies))

        return record._replace(blocks=tuple([place(ref) for ref in record.blocks]))

    def _present(self) -> Ring:
        view = self._membership.view
        if self._ring is None or self._ring.epoch != view.epoch:
            self._ring = Ring(view.members, view.epoch)
        return self._ring
