"""Files under a writer's lease: create, open for writing, commit, release.

A lease corresponds to a POSIX descriptor open for writing: permission is checked when it is granted
and never again. Its generation identifies the writer; commits of former writers are refused
(WriterFence). A file emptied by Create keeps mode, owner, links, attributes and layout; only its
replication may be set anew.
"""

from __future__ import annotations

from memfs import limits
from memfs.errors import (
    InvalidArgumentError,
    IsDirectoryError,
    LeaseHeldError,
    LeaseLostError,
    NotDirectoryError,
    PathExistsError,
    StaleHandleError,
)
from memfs.node.namespace.rules import mounted
from memfs.node.namespace.rules.growth import longest
from memfs.node.namespace.rules.naming import (
    check_new_name,
    maker_unless_directory,
    place_of_file,
)
from memfs.node.namespace.rules.permissions import CHANGE, WRITE, mode_after_write
from memfs.node.namespace.rules.published_content import Layout, check_blocks, check_time, layout_of
from memfs.node.namespace.rules.quotas import check_commit
from memfs.node.namespace.rules.refusals import text
from memfs.node.namespace.tables.inodes import DIRECTORY, FILE, NOWHERE
from memfs.node.namespace.tables.sessions import Holder
from memfs.node.namespace.tables.tree import Place
from memfs.node.namespace.tables.volume import FREED_AT_ONCE, Command, Volume, check_mode
from memfs.protocol.messages import (
    AcquireLease,
    Commit,
    Create,
    CreateUnnamed,
    LeaseReply,
    LookupReply,
    PublishDraft,
    ReleaseLease,
)
from memfs.types import Attributes, BlockRef

HOLDER_CHARACTERS = 100
"""Kept of what a writer says of itself."""


def create(volume: Volume, command: Command, request: Create) -> LeaseReply:
    """Make a file, or empty an existing one, and lease it to the caller."""
    command.make_for(request.owner, request.group)
    check_mode(request.mode, request.unmasked)
    layout = layout_of(
        volume.settings, request.replication, request.block_size, request.group_blocks
    )
    volume.check_session(command)
    path = request.path
    make = maker_unless_directory(volume, command, path, request.parents)
    follow = not request.exclusive
    place = place_of_file(volume, command, request.base, path, follow, make)
    slot = place[2]
    also_changed: tuple[Attributes, ...] = ()
    if slot:
        if request.exclusive:
            raise PathExistsError("the file exists", path=text(path))
        check_writable(volume, command, slot, path)
        _check_reopening(volume, slot, path)
        empty(volume, command, slot, request.replication)
    else:
        slot = _make_file(volume, command, place, request, layout)
        also_changed = volume.also_changed(path, place[0])
    _grant(volume, command, slot, request.holder)
    return LeaseReply(
        volume.attributes(slot), most=longest(volume, slot), also_changed=also_changed
    )


def create_unnamed(volume: Volume, command: Command, request: CreateUnnamed) -> LeaseReply:
    """Make a file without a name and lease it to the caller."""
    command.make_for(request.owner, request.group)
    check_mode(request.mode, request.unmasked)
    layout = layout_of(
        volume.settings, request.replication, request.block_size, request.group_blocks
    )
    volume.check_session(command)
    tree, path = volume.tree, request.path
    directory = tree.find(command.caller, request.base, path)
    if tree.inodes.kind[directory] != DIRECTORY:
        raise NotDirectoryError("not a directory", path=text(path))
    if volume.mounts:
        volume.mounts.check_writable(tree, directory, path)
    tree.require(command.caller, directory, CHANGE, path)
    volume.check_inodes(command, 1, path)
    number = tree.layouts.acquire(layout)
    slot = volume.new_inode(
        command, directory, FILE, request.mode, layout=number, unmasked=request.unmasked
    )
    tree.inodes.set_parent(slot, NOWHERE)
    tree.inodes.links[slot] = 0
    tree.unlinked.add(slot)
    if request.linkable:
        tree.linkable.add(slot)
    _grant(volume, command, slot, request.holder)
    return LeaseReply(volume.attributes(slot), most=longest(volume, slot))


def acquire_lease(volume: Volume, command: Command, request: AcquireLease) -> LeaseReply:
    """Lease an existing file to the caller, with ``steal`` from whoever has it."""
    path = request.path
    slot = volume.tree.find(command.caller, request.base, path)
    check_writable(volume, command, slot, path)
    volume.check_session(command)
    if request.steal:
        if slot in volume.sessions.writers:
            command.ended.append(volume.tree.inodes.id_of(slot))
        volume.sessions.drop_lease(slot)
    else:
        _check_reopening(volume, slot, path)
    _grant(volume, command, slot, request.holder)
    count = volume.block_count(slot)
    last = volume.block_refs(slot, count - 1, count)[0] if count else None
    return LeaseReply(volume.attributes(slot), last, longest(volume, slot))


def release_lease(volume: Volume, command: Command, request: ReleaseLease) -> LookupReply:
    """End the caller's lease; uncommitted blocks are dropped, and so is a draft."""
    withdraw(volume, command, request.inode, request.withdrawn)
    slot = leased(volume, command, request.inode, request.generation)
    volume.tree.inodes.change[slot] = command.index
    reply = LookupReply(volume.attributes(slot))
    end_lease(volume, command, slot)
    return reply._replace(attributes=reply.attributes._replace(leased=False))


def commit(volume: Volume, command: Command, request: Commit) -> LookupReply:
    """Publish blocks and size of a leased file; blocks of an ended lease are discarded."""
    slot = writing(volume, command, request)
    tree, inodes = volume.tree, volume.tree.inodes
    size = request.size
    block_size = tree.layouts.values[inodes.layout[slot]][0]
    puts = check_blocks(volume, slot, block_size, size, request.blocks, request.generation)
    check_commit(tree, slot, size)
    if request.modified_ns is not None:
        check_time(request.modified_ns)
    change_content(volume, command, slot, puts, size)
    withdraw(volume, command, request.inode, request.withdrawn)
    if request.modified_ns is not None:
        tree.mark(slot, command.now, command.index)
        inodes.modified[slot] = request.modified_ns
    if request.release:
        inodes.change[slot] = command.index
        end_lease(volume, command, slot)
    return LookupReply(volume.attributes(slot))


def writing(volume: Volume, command: Command, request: Commit | PublishDraft) -> int:
    """The slot that the caller commits to; without a lease its blocks are discarded.

    So are those of a commit that the caller has given up and followed by another one, which would
    be undone by what was sent before it. Raises StaleHandleError, LeaseLostError.
    """
    try:
        slot = leased(volume, command, request.inode, request.generation)
        if not volume.sessions.note_commit(slot, command.request_id):
            raise LeaseLostError("the same writer has committed something later")
        return slot
    except (StaleHandleError, LeaseLostError):
        withdraw(volume, command, request.inode, (*request.withdrawn, *request.blocks))
        raise


def withdraw(volume: Volume, command: Command, inode: int, refs: tuple[BlockRef, ...]) -> None:
    """Discard versions that the writer names and no file refers to, now or later.

    From a client without a valid lease this is done only where nobody can publish the version any
    more. It takes effect even if the command is refused.
    """
    inodes = volume.tree.inodes
    slot = inodes.slot_of(inode)
    own = slot and volume.sessions.writers.get(slot) == command.client
    for ref in refs:
        version = ref.version
        if version.inode != inode or not 0 < len(ref.replicas) <= limits.REPLICAS_MAX:
            continue
        mine = own and version.generation == inodes.generation[slot]
        if not (volume.blocks.current(version) if mine else volume.is_live(version)):
            command.discards.append(ref)


def change_content(
    volume: Volume, command: Command, slot: int, puts: dict[int, BlockRef], size: int
) -> None:
    """Merge blocks into a file's map and set its size."""
    tree, inodes = volume.tree, volume.tree.inodes
    before = inodes.size[slot]
    if volume.mounts:
        mounted.check_whole(volume, slot, puts, size)
    for position, ref in puts.items():
        volume.blocks.put(slot, position, ref, command.discards)
    if not puts and size == before:
        return
    if size < before:
        block_size = tree.layouts.values[inodes.layout[slot]][0]
        volume.blocks.cut(slot, -(-size // block_size), command.discards, FREED_AT_ONCE)
    if size != before:
        tree.resize(slot, size)
    inodes.set_mode(slot, mode_after_write(inodes.mode[slot], command.caller))
    tree.touch(slot, command.now, command.index)
    volume.changed(command, slot)


def check_writable(volume: Volume, command: Command, slot: int, path: bytes) -> None:
    """Is it a file that the caller may write? Raises IsDirectoryError, AccessDeniedError..."""
    kind = volume.tree.inodes.kind[slot]
    if kind == DIRECTORY:
        raise IsDirectoryError("is a directory", path=text(path))
    if kind != FILE:  # a handle of the symlink itself
        raise InvalidArgumentError("not a file", path=text(path))
    if volume.mounts:
        volume.mounts.check_writable(volume.tree, slot, path)
    volume.tree.require(command.caller, slot, WRITE, path)


def empty(volume: Volume, command: Command, slot: int, replication: int) -> None:
    """Drop the content of a file at once, as O_TRUNC does; 0 keeps its replication."""
    tree, inodes = volume.tree, volume.tree.inodes
    volume.blocks.cut(slot, 0, command.discards, FREED_AT_ONCE)
    tree.resize(slot, 0)
    if replication:
        tree.set_replication(slot, replication)
    inodes.set_mode(slot, mode_after_write(inodes.mode[slot], command.caller))
    tree.touch(slot, command.now, command.index)
    volume.changed(command, slot)


def _make_file(
    volume: Volume, command: Command, place: Place, request: Create, layout: Layout
) -> int:
    check_new_name(volume, command, place, request.path)
    tree = volume.tree
    parent, name, _ = place
    number = tree.layouts.acquire(layout)
    slot = volume.new_inode(
        command, parent, FILE, request.mode, layout=number, unmasked=request.unmasked
    )
    tree.insert_name(parent, name, slot)
    tree.charge(parent, 0, 1, 0, 0)
    tree.touch(parent, command.now, command.index)
    volume.changed(command, slot)
    return slot


def check_unleased(volume: Volume, slot: int, path: bytes) -> None:
    """Raise LeaseHeldError, which says who and what can be done, while a file has a writer."""
    sessions = volume.sessions
    if slot in sessions.writers:
        holder = sessions.holders.get(slot)
        who = f": {holder}" if holder is not None else ""
        raise LeaseHeldError(
            f"another writer has the file open{who}; if it is gone for good, end its lease "
            "(memfs recover-lease, fs.recover_lease)",
            path=text(path),
        )


def _check_reopening(volume: Volume, slot: int, path: bytes) -> None:
    check_unleased(volume, slot, path)
    if volume.tree.inodes.generation[slot] == limits.GENERATION_MAX:
        raise LeaseHeldError("the file was opened for writing too often: copy it")


def _grant(volume: Volume, command: Command, slot: int, where: str) -> None:
    volume.tree.inodes.generation[slot] += 1
    volume.tree.inodes.change[slot] = command.index
    holder = Holder(command.caller.user, where[:HOLDER_CHARACTERS], command.now)
    volume.sessions.grant(command.client, slot, holder, command.caller.user)


def leased(volume: Volume, command: Command, inode: int, generation: int) -> int:
    """The slot of a file that the caller has leased. Raises StaleHandleError, LeaseLostError."""
    inodes = volume.tree.inodes
    slot = inodes.slot_of(inode)
    if not slot or inodes.kind[slot] != FILE:
        raise StaleHandleError("the file was deleted")
    if volume.sessions.writers.get(slot) != command.client or (
        inodes.generation[slot] != generation
    ):
        raise LeaseLostError("the lease is over: open the file again")
    return slot


def end_lease(volume: Volume, command: Command, slot: int) -> None:
    """Remove the file's lease; a file without a name stays only while readers have it open."""
    tree = volume.tree
    volume.sessions.drop_lease(slot)
    if slot in tree.nameless:
        tree.nameless.discard(slot)
        volume.free(command, slot)
    elif slot in tree.unlinked and not volume.is_in_use(command, slot):
        tree.end_unlinked(slot)
        volume.free(command, slot)
