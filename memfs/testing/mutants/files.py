"""Guards of files: leases, generations, names and ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memfs.node.namespace import files
from memfs.node.namespace.inodes import FILE, Inodes
from memfs.testing.mutants.registry import mutant, without
from memfs.testing.patches import replaced

without(
    "SingleWriter",
    "a file that somebody writes is leased to another one",
    "two-writers",
    "memfs.node.namespace.files._check_unleased",
    shown_by="LeaseSteal",
)


@mutant(
    "WriterFence",
    "the namespace takes commits of a former lease generation",
    shown_by="LeaseSteal",
)
def commits_of_former_writers() -> Iterator[None]:
    leased = files._leased

    def lenient(volume: Any, command: Any, inode: int, generation: int) -> int:
        slot: int = volume.tree.inodes.slot_of(inode)
        if slot and volume.tree.inodes.kind[slot] == FILE:
            return slot
        return leased(volume, command, inode, generation)

    def release(volume: Any, _command: Any, slot: int) -> None:
        volume.sessions.drop_lease(slot)

    with replaced(files, "_leased", lenient), replaced(files, "_release", release):
        yield


without(
    "TreeAcyclic",
    "a directory can be moved below itself",
    "no-ancestor-check",
    "memfs.node.namespace.rename._check_cycle",
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
