"""Guards of files: leases, generations, names and ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memfs.node.namespace.commands import files
from memfs.node.namespace.tables.inodes import FILE, Inodes
from memfs.testing.patches import replaced
from tests.support.mutants.registry import mutant, without

without(
    "SingleWriter",
    "a file that somebody writes is leased to another one",
    "two-writers",
    "memfs.node.namespace.commands.files.check_unleased",
    shown_by="LeaseSteal",
)


@mutant(
    "WriterFence",
    "the namespace takes commits of a former lease generation",
    shown_by="LeaseSteal",
)
def commits_of_former_writers() -> Iterator[None]:
    leased = files.leased

    def lenient(volume: Any, command: Any, inode: int, generation: int) -> int:
        slot: int = volume.tree.inodes.slot_of(inode)
        if slot and volume.tree.inodes.kind[slot] == FILE:
            return slot
        return leased(volume, command, inode, generation)

    def release(volume: Any, _command: Any, slot: int) -> None:
        volume.sessions.drop_lease(slot)

    with replaced(files, "leased", lenient), replaced(files, "end_lease", release):
        yield


async def _not_reclaimed(*_arguments: Any) -> None:
    """What a cancelled open was granted stays with the client."""


without(
    "NoLostLease",
    "the lease of an open that was cancelled is not given back",
    "keeps-leases-of-cancelled-opens",
    "memfs.client.session.held.grants.Grants._reclaim",
    _not_reclaimed,
    shown_by="cancel AppendLog LeaseSteal",
)

without(
    "TreeAcyclic",
    "a directory can be moved below itself",
    "no-ancestor-check",
    "memfs.node.namespace.commands.rename._check_cycle",
    shown_by="RenameDance",
)


@mutant(
    "IdNoReuse",
    "the id of a deleted file is given to the next one",
    shown_by="DeleteCreate FillAndFree DirectorySet",
)
def inode_ids_come_back() -> Iterator[None]:
    free = Inodes.free

    def recycle(self: Any, slot: int) -> None:
        before = self.incarnation[slot]
        free(self, slot)
        self.incarnation[slot] = before

    with replaced(Inodes, "free", recycle):
        yield


without(
    "LockExclusion",
    "a lock is granted whatever others hold",
    "no-conflicts-of-locks",
    "memfs.node.namespace.tables.locks.Locks.conflict",
    shown_by="FileLocks",
)

without(
    "LockHandOver",
    "whoever unlocks grants nothing to those who wait",
    "locks-are-not-handed-on",
    "memfs.node.namespace.tables.locks.Locks.grant",
    lambda *_arguments: [],
    shown_by="FileLocks",
)

without(
    "LockHandOver",
    "locks outlive the session of their client",
    "locks-outlive-sessions",
    "memfs.node.namespace.tables.locks.Locks.end_session",
    lambda *_arguments: [],
    shown_by="FileLocks client_crash",
)


async def _not_unlocked(*_arguments: Any) -> None:
    """What a cancelled call was granted stays with the client."""


without(
    "NoLostLock",
    "the lock of a call that was cancelled is not given back",
    "keeps-locks-of-cancelled-calls",
    "memfs.client.session.held.locks.SessionLocks._undo",
    _not_unlocked,
    shown_by="cancel FileLocks",
)


without(
    "OpenFilesStay",
    "a deleted file goes though others have it open",
    "frees-open-files",
    "memfs.node.replication.open_files.OpenFiles.is_open",
    lambda self, inode: False,
    shown_by="HeldOpen",
)

without(
    "OpenFilesStay",
    "a new primary frees deleted files before clients have told what they have open",
    "no-grace-for-open-files",
    "memfs.node.replication.open_files.OpenFiles.all_registered",
    property(lambda self: True),
    shown_by="HeldOpen crash planned_restart pause",
)
