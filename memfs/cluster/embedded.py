"""The embedded coordinator: a write-ahead log in one process, for one machine.

Not highly available: while the process that hosts it is down, no view can change. The record of
every swap is on disk before the swap is answered.

The log is a sequence of ``length u32 | CRC32C u32 | record`` frames, each the whole
:class:`StoredView`. Each is synced before the next is written: a broken one with nothing whole
behind it was never acknowledged and is cut off, any other is refused. After a failed write the
state of the file is unknown: the log is rewritten before anything else is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct

from memfs import errors
from memfs.checksum import crc32c
from memfs.cluster.coordinator import StoredView
from memfs.limits import RECORD_BYTES
from memfs.protocol import records
from memfs.transport.environment import Environment
from memfs.types import View

_FRAME = struct.Struct(">II")
_REWRITE_BYTES = 1 << 20  # the log is replaced by its last record above this: a view is < 64 KiB


class EmbeddedCoordinator:
    """A :class:`~memfs.cluster.coordinator.Coordinator` over one file; answers at once."""

    def __init__(self, environment: Environment, path: str) -> None:
        """Opens (or begins) the log at ``path``.

        Raises DataLossError when it is corrupt, ConfigError when it cannot be read.
        """
        self._environment = environment
        self._path = path
        self._changed = asyncio.Event()
        self._in_doubt = False
        try:
            self._stored, self._log_bytes = self._replay()
        except errors.MemfsError:
            raise
        except OSError as error:
            raise errors.ConfigError(f"the coordinator's {path}: {error.strerror}") from error

    async def read_view(self) -> StoredView:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""
        self._end_doubt()
        return self._stored

    async def swap_view(self, expected: int, view: View) -> StoredView | None:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""
        self._end_doubt()
        if self._stored.revision != expected:
            return None
        before = self._stored.view
        if before is not None and view.cluster != before.cluster:
            return None  # from another life of this address
        assert before is None or view.epoch > before.epoch, "EpochMonotone"
        stored = StoredView(expected + 1, view)
        try:
            self._write(stored)
        except OSError as error:
            self._in_doubt = True
            raise errors.OutcomeUnknownError(
                f"the coordinator's {self._path}: {error.strerror}"
            ) from error
        self._stored = stored
        self._changed.set()
        self._changed = asyncio.Event()
        return stored

    async def wait_for_change(self, revision: int, timeout_seconds: float) -> None:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""
        if self._stored.revision == revision:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_seconds):
                    await self._changed.wait()

    async def close(self) -> None:
        """See :class:`~memfs.cluster.coordinator.Coordinator`."""

    def _end_doubt(self) -> None:
        """Rewrite the log with the last acknowledged record. Raises UnavailableError while that
        fails."""
        if not self._in_doubt:
            return
        frame = _frame(self._stored)
        try:
            self._environment.disk.replace(self._path, frame)
        except OSError as error:
            raise errors.UnavailableError(
                f"the coordinator's {self._path}: {error.strerror}"
            ) from error
        self._in_doubt, self._log_bytes = False, len(frame)

    def _write(self, stored: StoredView) -> None:
        frame = _frame(stored)
        if self._log_bytes + len(frame) > _REWRITE_BYTES:
            self._environment.disk.replace(self._path, frame)
            self._log_bytes = len(frame)
        else:
            self._environment.disk.append(self._path, frame)
            self._log_bytes += len(frame)

    def _replay(self) -> tuple[StoredView, int]:
        log = self._environment.disk.read(self._path) or b""
        stored, at = StoredView(0, None), 0
        while (end := _frame_end(log, at)) is not None:
            stored, at = records.decode(StoredView, log[at + _FRAME.size : end]), end
        if any(_frame_end(log, later) is not None for later in range(at + 1, len(log))):
            raise errors.DataLossError(
                f"the coordinator's log is corrupt at byte {at}: restore it from a copy, or "
                "remove it to form a new, empty cluster",
                path=self._path,
            )
        if at < len(log):
            self._environment.disk.replace(self._path, log[:at])
        return stored, at


def _frame(stored: StoredView) -> bytes:
    record = records.encode(stored)
    return _FRAME.pack(len(record), crc32c(record)) + record


def _frame_end(log: bytes, at: int) -> int | None:
    """Where the frame at ``at`` ends, None when there is no whole one."""
    if at + _FRAME.size > len(log):
        return None
    length, crc = _FRAME.unpack_from(log, at)
    end = at + _FRAME.size + length
    if not 0 < length <= RECORD_BYTES or end > len(log):
        return None
    return end if crc32c(log[at + _FRAME.size : end]) == crc else None
