"""Queries: stat, block maps, listings, links, totals, access. None of them changes the state.

Reads record no access times. A reply is cut so that it always fits into one record.
"""

from __future__ import annotations

from itertools import islice

from memfs import limits
from memfs.errors import (
    InvalidArgumentError,
    IsDirectoryError,
    MemfsError,
    NotDirectoryError,
)
from memfs.node.namespace.rules.permissions import EXECUTABLE, EXECUTE, READ, SEARCH, Caller
from memfs.node.namespace.rules.quotas import check_growth, quota_of
from memfs.node.namespace.rules.refusals import access_denied, text
from memfs.node.namespace.rules.subtrees import check_countable, check_removable
from memfs.node.namespace.tables.inodes import DIRECTORY, FILE, ROOT, SYMLINK
from memfs.node.namespace.tables.sizes import (
    ENTRY,
    FILE_WEIGHT,
    NAME,
    RECORD_ROOM,
    SUBDIRECTORY,
    SUMMARY_PAGE,
    ReplyRoom,
    attributes_bytes,
    blocks_bytes,
    text_bytes,
)
from memfs.node.namespace.tables.tree import reported
from memfs.node.namespace.tables.volume import Volume
from memfs.protocol.messages import (
    Access,
    BlocksReply,
    CheckRemoval,
    CheckVersions,
    CheckVersionsReply,
    Empty,
    FileReply,
    FileSystemReply,
    FileWeight,
    GetBlocks,
    List,
    ListReply,
    Lookup,
    LookupMany,
    LookupManyReply,
    LookupReply,
    OpenFile,
    ReadFiles,
    ReadFilesReply,
    ReadLink,
    ReadLinkReply,
    StatFileSystem,
    Subdirectory,
    Summarise,
    SummarisePage,
    SummarisePageReply,
    SummaryReply,
    VersionState,
)
from memfs.types import ROOT_INODE, Attributes, BlockVersion, ContentSummary, DirectoryEntry


def lookup(volume: Volume, caller: Caller, request: Lookup) -> LookupReply:
    """stat or lstat: needs search permission on the way only."""
    slot = volume.tree.find(caller, request.base, request.path, request.follow)
    return LookupReply(volume.attributes(slot))


def lookup_many(volume: Volume, caller: Caller, request: LookupMany) -> LookupManyReply:
    """stat of many paths; InvalidArgumentError when the answers would not fit."""
    check_batch(request.paths)
    found: list[Attributes | None] = []
    room = RECORD_ROOM
    for path in request.paths:
        try:
            slot = volume.tree.find(caller, ROOT_INODE, path, request.follow)
        except MemfsError:
            found.append(None)
            room -= 1
            continue
        attributes = volume.attributes(slot)
        found.append(attributes)
        room -= attributes_bytes(attributes)
    if room < 0:
        raise InvalidArgumentError("the answers do not fit into a record: ask for fewer")
    return LookupManyReply(tuple(found))


def get_blocks(volume: Volume, caller: Caller, request: GetBlocks) -> BlocksReply:
    """Open for reading: attributes and a page of the block map."""
    slot = _readable_file(volume, caller, request.base, request.path)
    if request.first < 0 or request.count < 0:
        raise InvalidArgumentError("first and count are not negative")
    first, total = request.first, volume.block_count(slot)
    external = bool(volume.mounts) and volume.mounts.is_external(slot)
    if request.skip_holes and not external:
        first = next(volume.blocks.positions(slot, first), total)
    end = min(first + min(request.count, limits.BLOCKS_PER_RECORD), total)
    blocks = volume.block_refs(slot, first, end)
    return BlocksReply(volume.attributes(slot), first, blocks)


def read_files(volume: Volume, caller: Caller, request: ReadFiles) -> ReadFilesReply:
    """The block maps of many files; the service adds the bytes that the primary holds.

    Fewer answers than paths when the record is full. A map longer than a record is cut: the
    size says so, and GetBlocks gives the rest.
    """
    check_batch(request.paths)
    files: list[FileReply] = []
    room = RECORD_ROOM
    for path in request.paths:
        file = file_reply(volume, caller, path)
        room -= file_bytes(file)
        if room < 0 and files:
            break
        files.append(file)
    return ReadFilesReply(tuple(files))


def open_file(volume: Volume, caller: Caller, request: OpenFile) -> FileReply:
    """open for reading: attributes and the beginning of the block map."""
    return _opened(volume, _readable_file(volume, caller, request.base, request.path))


def list_directory(volume: Volume, caller: Caller, request: List) -> ListReply:
    """A page of names after a name.

    Names need read permission on the directory. Attributes need search permission, as they do
    for stat; without it an entry tells inode and kind only, as readdir does.
    """
    if not 1 <= request.limit <= limits.ENTRIES_PER_PAGE:
        raise InvalidArgumentError(f"a page has 1 to {limits.ENTRIES_PER_PAGE} entries")
    tree = volume.tree
    slot = tree.find(caller, request.base, request.path)
    if tree.inodes.kind[slot] != DIRECTORY:
        itself = DirectoryEntry(b"", volume.attributes(slot))
        return ListReply(() if request.after else (itself,), 0)
    tree.require(caller, slot, READ, request.path)
    if request.names_only:
        names = _names(volume, slot, request)
        remaining = tree.directory(slot).remaining(names[-1] if names else request.after)
        return ListReply((), remaining, names)
    entries = _page(volume, slot, request, tree.may(caller, slot, SEARCH))
    last = entries[-1].name if entries else request.after
    return ListReply(entries, tree.directory(slot).remaining(last))


def read_link(volume: Volume, caller: Caller, request: ReadLink) -> ReadLinkReply:
    """readlink. Raises InvalidArgumentError for what is no symlink."""
    tree = volume.tree
    slot = tree.find(caller, request.base, request.path, follow=False)
    if tree.inodes.kind[slot] != SYMLINK:
        raise InvalidArgumentError("not a symlink", path=text(request.path))
    return ReadLinkReply(tree.targets.items[tree.inodes.extra[slot]])


def summarise(volume: Volume, caller: Caller, request: Summarise) -> SummaryReply:
    """Totals of a subtree or a file; needs read and search permission on all its directories."""
    tree = volume.tree
    slot = tree.find(caller, request.base, request.path)
    if tree.inodes.kind[slot] != DIRECTORY:
        length, space = tree.weight(slot)
        return SummaryReply(ContentSummary(length, 1, 0, space))
    check_countable(tree, caller, slot, request.path)
    totals = tree.directory(slot)
    return SummaryReply(
        ContentSummary(
            reported(totals.length), totals.files, totals.directories, reported(totals.space)
        ),
        *quota_of(tree, slot),
    )


def summarise_page(volume: Volume, caller: Caller, request: SummarisePage) -> SummarisePageReply:
    """What a page of names adds to a directory's totals, and the directories among them."""
    if not 1 <= request.limit <= limits.ENTRIES_PER_PAGE:
        raise InvalidArgumentError(f"a page has 1 to {limits.ENTRIES_PER_PAGE} entries")
    tree, inodes = volume.tree, volume.tree.inodes
    slot = tree.find(caller, request.base, request.path)
    if inodes.kind[slot] != DIRECTORY:
        raise NotDirectoryError("not a directory", path=text(request.path))
    tree.require(caller, slot, READ | SEARCH, request.path)
    length = files = space = 0
    below: list[Subdirectory] = []
    several: list[FileWeight] = []
    last, room = request.after, ReplyRoom(1, SUMMARY_PAGE)
    for name, child in islice(tree.directory(slot).after(request.after), request.limit):
        weight = tree.weight(child)
        if inodes.kind[child] == DIRECTORY:
            if not room.takes(SUBDIRECTORY + len(name)):
                break
            below.append(Subdirectory(name, inodes.id_of(child)))
        elif inodes.parent[child] == slot and tree.names_at_home(child) > 1:
            if not room.takes(FILE_WEIGHT):
                break
            several.append(FileWeight(inodes.id_of(child), *weight))
        elif inodes.parent[child] == slot:
            length, files, space = length + weight[0], files + 1, space + weight[1]
        last = name
    itself = 0 if request.after else 1
    summary = ContentSummary(reported(length), files, itself, reported(space))
    more = tree.directory(slot).remaining(last) > 0
    return SummarisePageReply(summary, tuple(below), tuple(several), last, more)


def check_removal(volume: Volume, caller: Caller, request: CheckRemoval) -> Empty:
    """Raise the error with which emptying a directory would be refused, if any."""
    tree = volume.tree
    slot = tree.find(caller, request.base, request.path, follow=False)
    if tree.inodes.kind[slot] != DIRECTORY:
        raise NotDirectoryError("not a directory", path=text(request.path))
    check_removable(tree, caller, slot, request.path, deep=request.deep)
    return Empty()


def access(volume: Volume, caller: Caller, request: Access) -> Empty:
    """access(2), and the quotas. The superuser may execute what anybody may execute."""
    if not 0 <= request.mask <= 7:
        raise InvalidArgumentError(f"{request.mask} is no access mask")
    tree = volume.tree
    slot = tree.find(caller, request.base, request.path)
    tree.require(caller, slot, request.mask, request.path)
    if (
        request.mask & EXECUTE
        and tree.inodes.kind[slot] == FILE
        and not tree.inodes.mode[slot] & EXECUTABLE
    ):
        raise access_denied(tree, caller, slot, request.mask, request.path)
    directory = slot if tree.inodes.kind[slot] == DIRECTORY else tree.inodes.parent[slot]
    check_growth(tree, directory, request.names, request.space, request.path)
    return Empty()


def stat_file_system(volume: Volume, caller: Caller, request: StatFileSystem) -> FileSystemReply:
    """Counts and defaults; the service adds the bytes."""
    totals = volume.tree.directory(ROOT)
    settings = volume.settings
    return FileSystemReply(
        0,
        0,
        totals.files,
        totals.directories,
        settings.replication,
        settings.block_size,
        settings.group_blocks,
    )


def _page(volume: Volume, slot: int, request: List, searchable: bool) -> tuple[DirectoryEntry, ...]:
    describe = volume.attributes if searchable else volume.bare_attributes
    room = RECORD_ROOM
    entries = []
    for name, child in islice(volume.tree.directory(slot).after(request.after), request.limit):
        attributes = describe(child)
        room -= ENTRY + len(name) + attributes_bytes(attributes)
        if room < 0:
            break
        entries.append(DirectoryEntry(name, attributes))
    return tuple(entries)


def _names(volume: Volume, slot: int, request: List) -> tuple[bytes, ...]:
    found = islice(volume.tree.directory(slot).after(request.after), request.limit)
    names = tuple([name for name, _ in found])
    while sum(map(len, names)) + NAME * len(names) > RECORD_ROOM:
        names = names[: len(names) // 2]
    return names


def _readable_file(volume: Volume, caller: Caller, base: int, path: bytes) -> int:
    tree = volume.tree
    slot = tree.find(caller, base, path)
    if tree.inodes.kind[slot] == DIRECTORY:
        raise IsDirectoryError("is a directory", path=text(path))
    if tree.inodes.kind[slot] != FILE:
        raise InvalidArgumentError("not a file", path=text(path))
    tree.require(caller, slot, READ, path)
    return slot


def file_reply(volume: Volume, caller: Caller, path: bytes) -> FileReply:
    """A file of a batch, or its error."""
    try:
        slot = _readable_file(volume, caller, ROOT_INODE, path)
    except MemfsError as error:
        return FileReply(error.code, error.message)
    return _opened(volume, slot)


def _opened(volume: Volume, slot: int) -> FileReply:
    end = min(volume.block_count(slot), limits.BLOCKS_PER_RECORD)
    return FileReply(0, "", volume.attributes(slot), blocks=volume.block_refs(slot, 0, end))


def file_bytes(file: FileReply) -> int:
    """Most bytes that it takes in a record."""
    held = attributes_bytes(file.attributes) if file.attributes else 1
    return 48 + text_bytes(file.message) + held + blocks_bytes(file.blocks)


def check_batch(paths: tuple[bytes, ...]) -> None:
    """Raise InvalidArgumentError for too many."""
    if len(paths) > limits.FILES_PER_BATCH:
        raise InvalidArgumentError(f"at most {limits.FILES_PER_BATCH} paths at once")


def check_versions(volume: Volume, caller: Caller, request: CheckVersions) -> CheckVersionsReply:
    """What files, or writers who have leases, have to do with block versions."""
    user = request.user
    return CheckVersionsReply(bytes([_state(volume, each, user) for each in request.versions]))


def _state(volume: Volume, version: BlockVersion, user: str) -> VersionState:
    if volume.blocks.current(version) is not None:
        return VersionState.NAMED
    inodes, sessions = volume.tree.inodes, volume.sessions
    slot = inodes.slot_of(version.inode)
    if slot not in sessions.writers or inodes.generation[slot] != version.generation:
        return VersionState.UNKNOWN
    holder = sessions.holders.get(slot)
    return VersionState.PENDING if holder is None or holder.user == user else VersionState.UNKNOWN
