"""A backup of the namespace: installs snapshots, applies the primary's log in order.

Serves nobody but the primary of its epoch (ReceiverFence); holds a :class:`Namespace` that is
complete up to ``applied`` or none at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memfs import errors, limits
from memfs.node.log.entries import Entry, entry_bytes, pack_entries, unpack_entries
from memfs.node.log.recent import RecentLog
from memfs.node.namespace import Loading, Namespace
from memfs.protocol import messages as m
from memfs.transport.server import Reply

Applied = Callable[[Namespace, Sequence[Entry], bytes], None]
"""Told the entries that were just applied to a namespace, and their packed form if it is known."""


class Backup:
    """The state of a node that is not the primary."""

    def __init__(
        self,
        namespace: Namespace | None = None,
        recent: RecentLog | None = None,
        committed: int = 0,
        applied: Applied = lambda namespace, entries, packed: None,
    ) -> None:
        """Without a namespace, the primary sends a snapshot first. ``applied`` is called with what
        was applied."""
        self.namespace = namespace
        self.recent = recent or RecentLog()
        """The end of the log, for a new primary that lacks it."""
        self.committed = committed
        self._applied = applied
        self._loading = Loading()
        self._received = 0

    def install(self, request: m.InstallSnapshot, payload: memoryview) -> m.ReplicateReply:
        """Take one piece of a snapshot; the last one makes it the state.

        Each piece is digested as it comes, so that the event loop never stands still for all of
        them; until the last one this backup holds what it held before.

        Raises InvalidArgumentError when a piece is missing, ProtocolError when one is damaged.
        """
        if request.offset == 0:
            self._loading, self._received = Loading(), 0
        if request.offset != self._received:
            raise errors.InvalidArgumentError(
                f"snapshot piece at {request.offset}, {self._received} bytes were received"
            )
        self._loading.add(payload)
        self._received += len(payload)
        if request.last:
            loading, self._loading, self._received = self._loading, Loading(), 0
            self.namespace = Namespace.loaded(loading)
            self.recent = RecentLog(self.namespace.applied, self.namespace.digest)
        return self._reply()

    def replicate(self, request: m.Replicate, payload: memoryview) -> m.ReplicateReply:
        """Apply the entries that are new. Raises InvalidArgumentError for a gap."""
        if self.namespace is None:
            raise errors.InvalidArgumentError("no snapshot was installed before the log")
        entries, fresh = unpack_entries(payload), []
        for entry in entries:
            if entry.index <= self.namespace.applied:
                continue
            if entry.index != self.namespace.applied + 1:
                raise errors.InvalidArgumentError(
                    f"log entry {entry.index} after {self.namespace.applied}: a gap"
                )
            self.namespace.apply(entry)
            self.recent.append(entry, self.namespace.digest)
            fresh.append(entry)
        packed = bytes(payload) if len(fresh) == len(entries) else b""
        self._applied(self.namespace, fresh, packed)
        self.note_committed(request.committed)
        return self._reply()

    def note_committed(self, index: int) -> None:
        """The primary says up to where everything is acknowledged."""
        if self.namespace is not None:
            self.committed = max(self.committed, min(index, self.namespace.applied))
            self.recent.confirmed(self.committed)

    def entries(self, first: int) -> Reply[m.FetchLogReply]:
        """The entries from index ``first`` on, as many as fit a payload."""
        found = self.recent.after(first - 1, limits.BLOCKS_PER_BATCH) or []
        page: list[Entry] = []
        room = limits.REPLICATE_PAYLOAD_BYTES
        for entry in found:
            room -= entry_bytes(entry)
            if page and room < 0:
                break
            page.append(entry)
        return Reply(m.FetchLogReply(len(page)), (pack_entries(page),))

    def _reply(self) -> m.ReplicateReply:
        if self.namespace is None:
            return m.ReplicateReply(0, 0)
        return m.ReplicateReply(self.namespace.applied, self.namespace.digest)
