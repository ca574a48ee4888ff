"""Whose journal a directory is: one process at a time, one member of one cluster.

Owns the lock, the record of ownership, and the reserve: preallocated space, so that what was
accepted before the disk became full can still be written. Its methods block.

::

    DIR/lock       held by the process that uses the directory
    DIR/owner      JSON: format, cluster, member number, node name
    DIR/reserve    4 MiB, preallocated
    DIR/namespace  snapshots and the log since the last of them
    DIR/blocks     block versions
"""

from __future__ import annotations

import json
import logging
from typing import Final, NamedTuple

from memfs.errors import ConfigError, DataLossError
from memfs.limits import MIB
from memfs.logs import fields
from memfs.transport.disk import Disk, DiskLock

log = logging.getLogger(__name__)

FORMAT: Final = 1
RESERVE_BYTES: Final = 4 * MIB
"""What a primary applies while one sync lasts: 10,000 commands of 400 bytes."""


class JournalOwner(NamedTuple):
    """Whose journal it is."""

    cluster: str
    member: int
    """Its number in the cluster's views."""
    name: str


class JournalDirectory:
    """A journal directory, locked while it is open."""

    def __init__(self, disk: Disk, path: str) -> None:
        """Nothing happens before :meth:`open`."""
        self.path = path
        self.owner: JournalOwner | None = None
        self.full = False
        """Something found no room, or the reserve could not be made: only what frees room is
        accepted, until there is room for all of that."""
        self._missed = 0
        self._reserved = False
        self._disk = disk
        self._lock: DiskLock | None = None

    def open(self) -> None:
        """Lock the directory and learn whose it is. Raises ConfigError, DataLossError, OSError."""
        for part in ("", "/namespace", "/blocks"):
            self._disk.make_directory(self.path + part)
        self._lock = self._disk.lock(self.path + "/lock")
        if self._lock is None:
            raise ConfigError(
                f"journal: {self.path} is in use by another process: give each node its own"
            )
        self.owner = self._read_owner()
        self.restore()

    def close(self) -> None:
        """Unlock the directory."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def own(self, owner: JournalOwner) -> None:
        """Record the owner, durably."""
        record = {"format": FORMAT} | owner._asdict()
        self._disk.replace(self.path + "/owner", json.dumps(record, indent=1).encode() + b"\n")
        self.owner = owner

    def _read_owner(self) -> JournalOwner | None:
        path = self.path + "/owner"
        raw = self._disk.read(path)
        if raw is None:
            return None
        try:
            record = json.loads(raw)
            form, owner = record["format"], None
            if form == FORMAT:
                owner = JournalOwner(
                    str(record["cluster"]), int(record["member"]), str(record["name"])
                )
        except (ValueError, KeyError, TypeError) as error:
            raise DataLossError(f"the record of the owner is damaged: {error}", path=path) from None
        if owner is None:
            raise ConfigError(f"{path}: a journal of format {form}; this memfs reads {FORMAT}")
        return owner

    # --- the reserve -------------------------------------------------------------------------

    def release(self) -> bool:
        """Free the reserve for what has to be written; returns whether there was one."""
        if not self._reserved:
            return False
        self.refuse(0)
        self._reserved = False
        self._disk.remove(self.path + "/reserve")
        return True

    def refuse(self, missed: int) -> None:
        """Accept no more for now: there was no room for ``missed`` bytes beside the reserve."""
        self._missed = max(self._missed, missed)
        if not self.full:
            self.full = True
            log.error(
                "the disk of the journal is full: writes are refused", extra=fields(at=self.path)
            )

    def restore(self) -> bool:
        """Allocate the reserve; returns whether it exists and refused bytes would fit too."""
        try:
            if not self._reserved:
                self._disk.reserve(self.path + "/reserve", RESERVE_BYTES)
            self._reserved = True
            self._probe(self._missed)
        except OSError as error:
            if not self.full:
                log.error("no reserve on the disk of the journal", extra=fields(reason=error))
            self.full = True
            return False
        if self.full:
            log.warning("the disk of the journal has room again", extra=fields(at=self.path))
        self.full, self._missed = False, 0
        return True

    def _probe(self, length: int) -> None:
        """Check that so many bytes can be allocated. Raises OSError."""
        if not length:
            return
        try:
            self._disk.reserve(self.path + "/probe", length)
        finally:
            self._disk.remove(self.path + "/probe")
