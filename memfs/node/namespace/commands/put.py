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
from memfs.node.namespace.tables.directory import Entries
from memfs.node.namespace.tables.inodes import DIRECTORY, FILE, NOWHERE, RESERVED
from memfs.node.namespace.tables.sizes import ReplyRoom, attributes_bytes, text_bytes
from memfs.node.namespace.tables.tree import NO_DIRECTORY, Place
from memfs.node.namespace.tables.volume import Command, Volume, check_mode
from memfs.paths import check_name
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
    directory = _PutPlace(volume, command)
    for file in request.files:
        result = _put(volume, command, file, directory)
        size = (
            attributes_bytes(result.attributes) if result.attributes else text_bytes(result.message)
        )
        results.append(result if room.takes(size) else result._replace(message="", attributes=None))
    directory.leave()
    return PutFilesReply(tuple(results))


class _PutPlace:
    """The directory of the last new file. For those that follow it there its path is not walked
    again, nor the caller's right looked at, and what it has more is written once for all."""

    def __init__(self, volume: Volume, command: Command) -> None:
        self._volume = volume
        self._command = command
        self._above: bytes | None = None
        """As the paths call it, if they lead nowhere else."""
        self._slot = NOWHERE
        """NOWHERE: there is none yet."""
        self._entries: Entries = NO_DIRECTORY
        self._length = self._files = self._space = 0
        """What it has more, and is not charged yet."""

    def free_place(self, path: bytes, space: int) -> Place | None:
        """The place of a new name, if it is in this directory, after all that is to be checked.

        None: look where the path leads. Raises what ``check_new_name`` does.
        """
        above, _, name = path.rpartition(b"/")
        if above != self._above or self._entries.get(name):
            return None
        if name in (b"", b".", b"..") or len(path) > limits.PATH_BYTES or b"\0" in name:
            return None
        if len(name) > limits.NAME_BYTES:
            return None
        check_name(name)
        volume = self._volume
        if volume.tree.quotas:
            self._charge()
            check_growth(volume.tree, self._slot, 1, space, path)
        volume.check_inodes(self._command, 1, path)
        return self._slot, name, NOWHERE

    def enter(self, path: bytes, place: Place) -> None:
        """A new file goes to ``place``, after :meth:`leave`; all of it was checked."""
        above, _, name = path.rpartition(b"/")
        self._slot = place[0]
        self._entries = self._volume.tree.directory(self._slot)
        # Another name has come by a symlink: nothing says that ``above`` leads here.
        self._above = above if name == place[1] and not self._volume.mounts else None

    def add(self, length: int, space: int) -> None:
        """It has a new file."""
        self._length += length
        self._files += 1
        self._space += space

    def leave(self) -> None:
        """Write what the directory has more."""
        if self._files:
            self._volume.tree.touch(self._slot, self._command.now, self._command.index)
        self._charge()
        self._slot, self._above = NOWHERE, None

    def _charge(self) -> None:
        self._volume.tree.charge(self._slot, self._length, self._files, 0, self._space)
        self._length = self._files = self._space = 0


def _put(volume: Volume, command: Command, file: NewFile, directory: _PutPlace) -> PutResult:
    try:
        slot, replaced = _publish(volume, command, file, directory)
    except MemfsError as error:
        return PutResult(error.code, error.message)
    return PutResult(0, "", volume.attributes(slot), replaced)


def _publish(
    volume: Volume, command: Command, file: NewFile, directory: _PutPlace
) -> tuple[int, int]:
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
    place = directory.free_place(file.path, space)
    if place is None:
        directory.leave()  # quotas look at what is charged
        make = maker_unless_directory(volume, command, file.path, file.parents, space)
        follow = not file.exclusive
        place = place_of_file(volume, command, ROOT_INODE, file.path, follow, make)
        if place[2]:
            _check_replaceable(volume, command, place[0], place[2], file)
            growth = space - volume.tree.weight(place[2])[1]
            check_growth(volume.tree, place[0], 0, growth, file.path)
        else:
            check_new_name(volume, command, place, file.path, space)
            directory.enter(file.path, place)
    volume.sessions.drop_reservation(command.client, slot)
    replaced = volume.tree.inodes.id_of(place[2]) if place[2] else 0
    number = volume.tree.layouts.acquire(layout)
    volume.new_inode(
        command, place[0], FILE, file.mode, slot, number, GENERATION, file.size, file.unmasked
    )
    for position, ref in puts.items():
        volume.blocks.put(slot, position, ref, command.discards)
    if place[2]:
        _replace(volume, command, place, slot)
        volume.tree.charge(place[0], file.size, 1, 0, space)
    else:
        volume.tree.insert_name(place[0], place[1], slot)
        directory.add(file.size, space)
    volume.changed(command, slot)
    return slot, replaced


def _replace(volume: Volume, command: Command, place: Place, slot: int) -> None:
    """Let the name mean the new inode."""
    tree = volume.tree
    parent, name, old = place
    inherit(volume, command, slot, old)
    volume.mounts.replaced(slot, old)
    tree.replace_name(parent, name, slot)
    volume.unlink(command, parent, old)
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
