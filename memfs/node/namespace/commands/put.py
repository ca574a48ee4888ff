"""PutFiles: whole small files published at once, and the inodes reserved for them.

Each file is a step of its own: it replaces atomically what its name held, or fails alone. Blocks
were written before, under an inode reserved by the same session, as generation 1; the
file's first lease will be generation 2.

To replace a file needs what rename over it needs (its directory) and what writing it needs (its
own mode), since it keeps its owner. A file with further names, or in a directory that the caller
may not change, is not replaced: UnsupportedError tells them to open and rewrite it. A final symlink
is followed, as by ``open``.
"""

from __future__ import annotations

from memfs import limits
from memfs.errors import (
    InvalidArgumentError,
    IsDirectoryError,
    MemfsError,
    NoSpaceError,
    PathExistsError,
    UnsupportedError,
    UploadLostError,
)
from memfs.node.namespace.commands.files import (
    check_unleased,
    check_writable,
    withdraw,
)
from memfs.node.namespace.rules.naming import (
    check_new_name,
    maker_unless_directory,
    place_of_file,
)
from memfs.node.namespace.rules.permissions import mode_after_write
from memfs.node.namespace.rules.published_content import check_blocks, layout_of
from memfs.node.namespace.rules.quotas import check_growth
from memfs.node.namespace.rules.refusals import text
from memfs.node.namespace.tables.inodes import DIRECTORY, FILE, RESERVED
from memfs.node.namespace.tables.sizes import ReplyRoom, attributes_bytes, text_bytes
from memfs.node.namespace.tables.tree import Place
from memfs.node.namespace.tables.volume import Command, Volume, check_mode
from memfs.protocol.messages import (
    Empty,
    NewFile,
    PutFiles,
    PutFilesReply,
    PutResult,
    ReleaseInodes,
    ReserveInodes,
    ReserveReply,
)
from memfs.types import ROOT_INODE

GENERATION = 1
"""Lease generation of a file that was put."""

_RESULT_BYTES = 17  # array, code, empty message, nil, inode


def reserve_inodes(volume: Volume, command: Command, request: ReserveInodes) -> ReserveReply:
    """Reserve inode ids for the caller's session."""
    if not 1 <= request.count <= limits.INODES_PER_RESERVATION:
        raise InvalidArgumentError(f"1 to {limits.INODES_PER_RESERVATION} inodes can be reserved")
    volume.check_session(command, request.count)
    inodes = volume.tree.inodes
    found = []
    for _ in range(request.count):
        slot = inodes.allocate()
        inodes.set_kind(slot, RESERVED)
        volume.sessions.reserve(command.client, slot, command.caller.user)
        found.append(inodes.id_of(slot))
    return ReserveReply(tuple(found))


def release_inodes(volume: Volume, command: Command, request: ReleaseInodes) -> Empty:
    """Free reserved ids that the session will not use; blocks stored under them are orphans."""
    command.ended += [inode for inode in request.inodes if _give_up(volume, command, inode)]
    for ref in request.withdrawn:
        withdraw(volume, command, ref.inode, (ref,))
    return Empty()


def _give_up(volume: Volume, command: Command, inode: int) -> bool:
    """Free an inode if it was reserved for the caller's session and not used yet."""
    slot = volume.tree.inodes.slot_of(inode)
    if not slot or not volume.sessions.has_reserved(command.client, slot):
        return False
    volume.sessions.drop_reservation(command.client, slot)
    volume.tree.inodes.free(slot)
    return True


def put_files(volume: Volume, command: Command, request: PutFiles) -> PutFilesReply:
    """Publish each file; the reply leaves out attributes that no longer fit into a record."""
    if len(request.files) > limits.FILES_PER_BATCH:
        raise InvalidArgumentError(f"more than {limits.FILES_PER_BATCH} files in a batch")
    results = []
    room = ReplyRoom(len(request.files), _RESULT_BYTES)
    for file in request.files:
        result = _put(volume, command, file)
        size = (
            attributes_bytes(result.attributes) if result.attributes else text_bytes(result.message)
        )
        results.append(result if room.takes(size) else result._replace(message="", attributes=None))
    return PutFilesReply(tuple(results))


def _put(volume: Volume, command: Command, file: NewFile) -> PutResult:
    try:
        slot, replaced = _publish(volume, command, file)
    except MemfsError as error:
        return PutResult(error.code, error.message)
    return PutResult(0, "", volume.attributes(slot), replaced)


def _publish(volume: Volume, command: Command, file: NewFile) -> tuple[int, int]:
    """Check one file, then make it; its slot, and the inode that it replaces (0: none)."""
    check_mode(file.mode, file.unmasked)
    layout = layout_of(volume.settings, file.replication, file.block_size, file.group_blocks)
    slot = volume.tree.inodes.slot_of(file.inode)
    if not slot or not volume.sessions.has_reserved(command.client, slot):
        raise UploadLostError(
            f"inode {file.inode} is not reserved for this session, or no more: store the file anew"
        )
    puts = check_blocks(volume, slot, layout[0], file.size, file.blocks, GENERATION)
    space = file.size * layout[2]
    make = maker_unless_directory(volume, command, file.path, file.parents, space)
    follow = not file.exclusive
    place = place_of_file(volume, command, ROOT_INODE, file.path, follow, make)
    if place[2]:
        _check_replaceable(volume, command, place[0], place[2], file)
        growth = space - volume.tree.weight(place[2])[1]
        check_growth(volume.tree, place[0], 0, growth, file.path)
    else:
        check_new_name(volume, command, place, file.path, space)
    volume.sessions.drop_reservation(command.client, slot)
    replaced = volume.tree.inodes.id_of(place[2]) if place[2] else 0
    number = volume.tree.layouts.acquire(layout)
    volume.new_inode(
        command, place[0], FILE, file.mode, slot, number, GENERATION, file.size, file.unmasked
    )
    for position, ref in puts.items():
        volume.blocks.put(slot, position, ref, command.discards)
    _enter(volume, command, place, slot)
    volume.changed(command, slot)
    volume.tree.charge(place[0], file.size, 1, 0, space)
    return slot, replaced


def _enter(volume: Volume, command: Command, place: Place, slot: int) -> None:
    """Let the name mean the new inode."""
    tree = volume.tree
    parent, name, old = place
    if old:
        inherit(volume, command, slot, old)
        volume.mounts.replaced(slot, old)
        tree.replace_name(parent, name, slot)
        volume.unlink(command, parent, old)
    else:
        tree.insert_name(parent, name, slot)
    tree.touch(parent, command.now, command.index)


def _check_replaceable(
    volume: Volume, command: Command, parent: int, old: int, file: NewFile
) -> None:
    if file.exclusive:
        raise PathExistsError("the file exists", path=text(file.path))
    if volume.tree.inodes.kind[old] == DIRECTORY:
        raise IsDirectoryError("is a directory", path=text(file.path))
    check_unleased(volume, old, file.path)
    check_writable(volume, command, old, file.path)
    try:
        volume.check_removal(command.caller, parent, old, file.path)
    except PermissionError:
        raise UnsupportedError("only its content may be changed", path=text(file.path)) from None
    if volume.tree.inodes.links[old] > 1:
        raise UnsupportedError("the file has further names", path=text(file.path))
    check_inheritance(volume, command, old, file.path)


def check_inheritance(volume: Volume, command: Command, old: int, path: bytes) -> None:
    """Raise NoSpaceError where a replaced file stays for who has it open, and its extended
    attributes would be too many twice."""
    xattrs = volume.tree.xattrs
    owner = volume.tree.owner_of(old)
    refusal = xattrs.refusal(owner, xattrs.bytes_of(old), volume.most_xattrs(owner))
    if refusal and volume.is_in_use(command, old):
        raise NoSpaceError(refusal, path=text(path))


def inherit(volume: Volume, command: Command, slot: int, old: int) -> None:
    """Copy owner, group, mode, access list and extended attributes of the replaced file."""
    tree, inodes = volume.tree, volume.tree.inodes
    tree.owners.release(inodes.owner[slot])
    inodes.owner[slot] = tree.owners.retain(inodes.owner[old])
    inodes.set_mode(slot, mode_after_write(inodes.mode[old], command.caller))
    tree.set_acl(slot, tree.acl(old))
    tree.xattrs.give(slot, tree.owner_of(slot))
    tree.xattrs.copy(old, slot, tree.owner_of(slot))
