"""Files under a writer's lease: create, open for writing, commit, release.

A lease is what a descriptor open for writing is in POSIX: permission is checked when it is
granted and never again. Its generation names the writer; commits of former ones are refused
(WriterFence). A file emptied by Create keeps mode, owner, links, attributes and layout; only its
replication may be set anew.
"""

from __future__ import annotations

from memfs.errors import (
    InvalidArgumentError,
    IsDirectoryError,
    LeaseHeldError,
    LeaseLostError,
    PathExistsError,
    StaleHandleError,
)
from memfs.node.namespace.content import Layout, check_blocks, check_time, layout_of
from memfs.node.namespace.inodes import DIRECTORY, FILE
from memfs.node.namespace.naming import check_new_name, maker_unless_directory
from memfs.node.namespace.permissions import WRITE, mode_after_write
from memfs.node.namespace.quotas import check_commit
from memfs.node.namespace.tree import Place, ends_as_directory, text
from memfs.node.namespace.volume import FREED_AT_ONCE, Command, Volume, check_mode
from memfs.protocol.messages import (
    AcquireLease,
    Commit,
    Create,
    LeaseReply,
    LookupReply,
    ReleaseLease,
)

_GENERATION_MAX = (1 << 32) - 1


def create(volume: Volume, command: Command, request: Create) -> LeaseReply:
    """Make a file, or empty an existing one, and lease it to the caller."""
    check_mode(request.mode, request.unmasked)
    layout = layout_of(
        volume.settings, request.replication, request.block_size, request.group_blocks
    )
    volume.sessions.check_room(command.client)
    path = request.path
    make = maker_unless_directory(volume, command, path, request.parents)
    place = volume.tree.locate(command.caller, request.base, path, not request.exclusive, make)
    slot = place[2]
    if slot:
        if request.exclusive:
            raise PathExistsError("the file exists", path=text(path))
        check_writable(volume, command, slot, path)
        _check_unleased(volume, slot, path)
        empty(volume, command, slot, request.replication)
    else:
        slot = _make_file(volume, command, place, request, layout)
    _grant(volume, command, slot)
    return LeaseReply(volume.attributes(slot))


def acquire_lease(volume: Volume, command: Command, request: AcquireLease) -> LeaseReply:
    """Lease an existing file to the caller, with ``steal`` from whoever has it."""
    path = request.path
    slot = volume.tree.find(command.caller, request.base, path)
    check_writable(volume, command, slot, path)
    volume.sessions.check_room(command.client)
    if request.steal:
        volume.sessions.drop_lease(slot)
    else:
        _check_unleased(volume, slot, path)
    _grant(volume, command, slot)
    count = volume.block_count(slot)
    last = volume.blocks.get(slot, count - 1) if count else None
    return LeaseReply(volume.attributes(slot), last)


def release_lease(volume: Volume, command: Command, request: ReleaseLease) -> LookupReply:
    """End the caller's lease; what it did not commit is nobody's."""
    slot = _leased(volume, command, request.inode, request.generation)
    _release(volume, command, slot)
    return LookupReply(volume.attributes(slot))


def commit(volume: Volume, command: Command, request: Commit) -> LookupReply:
    """Publish blocks and size of a leased file."""
    slot = _leased(volume, command, request.inode, request.generation)
    tree, inodes = volume.tree, volume.tree.inodes
    size, before = request.size, inodes.size[slot]
    block_size = tree.layouts.values[inodes.layout[slot]][0]
    puts = check_blocks(volume, slot, block_size, size, request.blocks, request.generation)
    check_commit(tree, slot, size)
    if request.modified_ns is not None:
        check_time(request.modified_ns)
    for position, ref in puts.items():
        volume.blocks.put(slot, position, ref, command.discards)
    if puts or size != before:
        if size < before:
            count = -(-size // block_size)
            volume.blocks.cut(slot, count, command.discards, FREED_AT_ONCE)
        if size != before:
            tree.resize(slot, size)
        inodes.mode[slot] = mode_after_write(inodes.mode[slot], command.caller)
        tree.touch(slot, command.now, command.index)
    if request.modified_ns is not None:
        tree.mark(slot, command.now, command.index)
        inodes.modified[slot] = request.modified_ns
    if request.release:
        _release(volume, command, slot)
    return LookupReply(volume.attributes(slot))


def check_writable(volume: Volume, command: Command, slot: int, path: bytes) -> None:
    """Is it a file that the caller may write? Raises IsDirectoryError, AccessDeniedError..."""
    kind = volume.tree.inodes.kind[slot]
    if kind == DIRECTORY:
        raise IsDirectoryError("is a directory", path=text(path))
    if kind != FILE:  # a handle of the symlink itself
        raise InvalidArgumentError("not a file", path=text(path))
    volume.tree.require(command.caller, slot, WRITE, path)


def empty(volume: Volume, command: Command, slot: int, replication: int) -> None:
    """Drop the content of a file at once, as O_TRUNC does; 0 keeps its replication."""
    tree, inodes = volume.tree, volume.tree.inodes
    volume.blocks.cut(slot, 0, command.discards, FREED_AT_ONCE)
    tree.resize(slot, 0)
    if replication:
        tree.set_replication(slot, replication)
    inodes.mode[slot] = mode_after_write(inodes.mode[slot], command.caller)
    tree.touch(slot, command.now, command.index)


def check_new_file(
    volume: Volume, command: Command, place: Place, path: bytes, space: int = 0
) -> None:
    """May the caller make a file of this free name? Raises IsDirectoryError for ``name/``."""
    if ends_as_directory(path):
        raise IsDirectoryError("a file's name has no slash at its end", path=text(path))
    check_new_name(volume, command, place, path, space)


def _make_file(
    volume: Volume, command: Command, place: Place, request: Create, layout: Layout
) -> int:
    check_new_file(volume, command, place, request.path)
    tree = volume.tree
    parent, name, _ = place
    number = tree.layouts.acquire(layout)
    slot = volume.new_inode(
        command, parent, FILE, request.mode, layout=number, unmasked=request.unmasked
    )
    tree.directory(parent).insert(name, slot)
    tree.charge(parent, 0, 1, 0, 0)
    tree.touch(parent, command.now, command.index)
    return slot


def _check_unleased(volume: Volume, slot: int, path: bytes) -> None:
    if slot in volume.sessions.writers:
        raise LeaseHeldError("another writer has the file open", path=text(path))
    if volume.tree.inodes.generation[slot] == _GENERATION_MAX:
        raise LeaseHeldError("the file was opened for writing too often: copy it")


def _grant(volume: Volume, command: Command, slot: int) -> None:
    volume.tree.inodes.generation[slot] += 1
    volume.tree.inodes.change[slot] = command.index
    volume.sessions.grant(command.client, slot)


def _leased(volume: Volume, command: Command, inode: int, generation: int) -> int:
    """The slot of a file that the caller has leased. Raises StaleHandleError, LeaseLostError."""
    inodes = volume.tree.inodes
    slot = inodes.slot_of(inode)
    if not slot or inodes.kind[slot] != FILE or not volume.tree.is_attached(slot):
        raise StaleHandleError("the file was deleted")
    if volume.sessions.writers.get(slot) != command.client or (
        inodes.generation[slot] != generation
    ):
        raise LeaseLostError("the lease is over: open the file again")
    return slot


def _release(volume: Volume, command: Command, slot: int) -> None:
    volume.tree.inodes.change[slot] = command.index
    volume.sessions.drop_lease(slot)
