"""Files that go in numbers: ``UnlinkMany``, and what ``Reclaim`` frees.

What :func:`~memfs.node.namespace.commands.links.unlink` does for a name is done here for all names
of a directory that follow one another: its path is walked once, the caller's right looked at once,
its totals and times written once. An ordinary file, of one name and one block at most, of which
nobody holds anything, is one read and one write of its row. All else goes the way of a single one.

Invariant: names, rows, totals, the order in which slots come back, and what is discarded are as
after the same removals one by one.
"""

from __future__ import annotations

from memfs import limits
from memfs.errors import InvalidArgumentError, MemfsError
from memfs.node.namespace.commands.links import is_directory, unlink
from memfs.node.namespace.rules.naming import existing_entry_of
from memfs.node.namespace.rules.permissions import HAS_ACL, STICKY
from memfs.node.namespace.tables.directory import Entries
from memfs.node.namespace.tables.inodes import DIRECTORY, FILE, NOWHERE, SYMLINK
from memfs.node.namespace.tables.sizes import ReplyRoom, text_bytes
from memfs.node.namespace.tables.tree import NO_DIRECTORY
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.protocol.messages import Unlink, UnlinkMany, UnlinkManyReply, UnlinkResult
from memfs.types import ROOT_INODE, BlockRef

_RESULT_BYTES = 7  # array, code, empty message
_REMOVED = UnlinkResult(0, "")

_tuple = tuple.__new__
"""Makes a named tuple in a third of the time that its name takes."""


def unlink_many(volume: Volume, command: Command, request: UnlinkMany) -> UnlinkManyReply:
    """Take each name away, or say why not; texts that no longer fit into a record are left out."""
    if len(request.paths) > limits.FILES_PER_COMMAND:
        raise InvalidArgumentError(f"more than {limits.FILES_PER_COMMAND} names in a command")
    results = []
    room = ReplyRoom(len(request.paths), _RESULT_BYTES)
    names = _Names(volume, command)
    for path in request.paths:
        try:
            names.remove(path)
        except MemfsError as error:
            told = error.message if room.takes(text_bytes(error.message)) else ""
            results.append(UnlinkResult(error.code, told))
        else:
            results.append(_REMOVED)
    names.leave()
    return UnlinkManyReply(tuple(results))


class _Names:
    """The names of one command, directory by directory."""

    def __init__(self, volume: Volume, command: Command) -> None:
        self._volume = volume
        self._command = command
        self._removal = FileRemoval(volume, command)
        self._above = b"/"
        """The present directory as the paths call it."""
        self._parent = NOWHERE
        """Its slot; NOWHERE: there is none."""
        self._entries: Entries = NO_DIRECTORY
        self._sticky = False
        """The caller's right depends on the file."""
        self._changed = False

    def remove(self, path: bytes) -> None:
        """Take a name away. Raises what ``unlink`` does."""
        volume, command = self._volume, self._command
        if volume.mounts:
            unlink(volume, command, Unlink(path))
            return
        above, _, name = path.rpartition(b"/")
        slot = self._entries.get(name) if above == self._above and self._parent else NOWHERE
        if not slot or len(path) > limits.PATH_BYTES:
            slot = self._enter(above, path)
        elif self._sticky:
            volume.check_removal(command.caller, self._parent, slot, path)
        kind = volume.tree.inodes.kind[slot]
        if kind == DIRECTORY:
            raise is_directory(path, name)
        volume.tree.remove_name(self._parent, name)
        self._changed = True
        self._removal.drop(self._parent, slot)
        if kind == SYMLINK:
            self.leave()  # perhaps it was part of the way here

    def _enter(self, above: bytes, path: bytes) -> int:
        """Walk the whole way, to another directory perhaps; the slot that the path names."""
        volume, command = self._volume, self._command
        parent, _, slot = existing_entry_of(volume, command, ROOT_INODE, path, is_directory)
        volume.check_removal(command.caller, parent, slot, path)
        if above != self._above or parent != self._parent:
            self.leave()
            self._above, self._parent = above, parent
            self._entries = volume.tree.directory(parent)
            mode = volume.tree.inodes.mode[parent]
            self._sticky = not command.caller.superuser and bool(mode & STICKY)
        return slot

    def leave(self) -> None:
        """No more names of the present directory follow, as far as is known."""
        self._removal.finish()
        if self._changed:
            self._volume.tree.touch(self._parent, self._command.now, self._command.index)
        self._parent, self._changed = NOWHERE, False


class FileRemoval:
    """Files whose names are gone, freed one after the other: see ``Volume.unlink``."""

    def __init__(self, volume: Volume, command: Command) -> None:
        self._volume = volume
        self._command = command
        mounts = volume.mounts
        self._mounted = bool(mounts or mounts.tags.count or mounts.changes or mounts.pins)
        self._have_xattrs = bool(len(volume.tree.xattrs))
        self._parent = NOWHERE
        self._length = self._files = self._space = 0
        """What the directory ``_parent`` has less, and is not charged yet."""

    def drop(self, parent: int, slot: int) -> None:
        """A name of a file or symlink in ``parent`` was removed; with the last one the inode
        goes."""
        volume, command, tree = self._volume, self._command, self._volume.tree
        inodes, row = tree.inodes, tree.inodes.file_row(slot)
        incarnation, owner, links, layout, _, size, written, sequence, length, crc, replicas = row
        inode = incarnation << 32 | slot
        if (
            self._mounted
            or links != 1
            or inodes.kind[slot] != FILE
            or inodes.extra[slot]
            or inodes.mode[slot] & HAS_ACL
            or slot in volume.sessions.writers
            or slot in volume.blocks.absorbed
            or (self._have_xattrs and tree.xattrs.of(slot))
            or command.is_open(inode)
        ):
            volume.unlink(command, parent, slot)
            return
        if parent != self._parent:
            self.finish()
            self._parent = parent
        self._length += size
        self._files += 1
        self._space += size * tree.layouts.values[layout][2]
        if replicas:
            holders = volume.blocks.replica_sets
            ref = (inode, 0, written, sequence, length, crc, holders.values[replicas])
            command.discards.append(_tuple(BlockRef, ref))
            holders.release(replicas)
        volume.end_locks(command, slot)
        tree.touched.append(inode)
        tree.owners.release(owner)
        tree.layouts.release(layout)
        inodes.free_file(slot, incarnation)

    def finish(self) -> None:
        """Charge the directory with what it has less."""
        if self._files:
            self._volume.tree.charge(self._parent, -self._length, -self._files, 0, -self._space)
        self._parent = NOWHERE
        self._length = self._files = self._space = 0
