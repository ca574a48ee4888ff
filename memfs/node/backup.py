"""A backup of the namespace: installs snapshots, applies the primary's log in order.

Serves nobody but the primary of its epoch (ReceiverFence); holds a :class:`Namespace` that is
complete up to ``applied`` or none at all.
"""

from __future__ import annotations

from collections.abc import Iterator

from memfs import errors
from memfs.node.log import unpack_entries
from memfs.node.namespace import Namespace
from memfs.protocol import messages as m


class Backup:
    """The state of a node that is not the primary."""

    def __init__(self) -> None:
        """Begins without a namespace: the primary sends a snapshot first."""
        self.namespace: Namespace | None = None
        self.committed = 0
        self._pieces: list[bytes] = []
        self._received = 0

    def install(self, request: m.InstallSnapshot, payload: memoryview) -> m.ReplicateReply:
        """Take one piece of a snapshot; the last one makes it the state.

        Raises InvalidArgumentError when a piece is missing.
        """
        if request.offset == 0:
            self._pieces, self._received = [], 0
        if request.offset != self._received:
            raise errors.InvalidArgumentError(
                f"snapshot piece at {request.offset}, {self._received} bytes were received"
            )
        self._pieces.append(bytes(payload))
        self._received += len(payload)
        if request.last:
            pieces, self._pieces, self._received = self._pieces, [], 0
            self.namespace = Namespace.restore(_draining(pieces))
        return self._reply()

    def replicate(self, request: m.Replicate, payload: memoryview) -> m.ReplicateReply:
        """Apply the entries that are new. Raises InvalidArgumentError for a gap."""
        if self.namespace is None:
            raise errors.InvalidArgumentError("no snapshot was installed before the log")
        for entry in unpack_entries(payload):
            if entry.index <= self.namespace.applied:
                continue
            if entry.index != self.namespace.applied + 1:
                raise errors.InvalidArgumentError(
                    f"log entry {entry.index} after {self.namespace.applied}: a gap"
                )
            self.namespace.apply(entry)
        self.committed = max(self.committed, request.committed)
        return self._reply()

    def _reply(self) -> m.ReplicateReply:
        if self.namespace is None:
            return m.ReplicateReply(0, 0)
        return m.ReplicateReply(self.namespace.applied, self.namespace.digest)


def _draining(pieces: list[bytes]) -> Iterator[bytes]:
    """Yield and drop each piece, so that state and snapshot are never both whole in memory."""
    pieces.reverse()
    while pieces:
        yield pieces.pop()
