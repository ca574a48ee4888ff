"""Files without a name: written out of sight, and named, whole, by the command that commits.

A draft is leased when it is created and freed with its lease: a writer that fails or is killed
leaves nothing behind, and the target name is unchanged. A draft belongs to no directory and counts
in no quota until it is published.

Publishing over a file does what rename over it would, where the caller may remove the old one:
readers keep the old file open. Where the caller may not, or where the file has further names, the
content changes in one step and the inode stays, as under O_TRUNC. Either way owner, group, mode,
access list and extended attributes are those of the replaced file.
"""

from __future__ import annotations

from typing import Final

from memfs.errors import (
    InvalidArgumentError,
    PathExistsError,
    StaleHandleError,
)
from memfs.node.namespace.commands import files
from memfs.node.namespace.commands.put import check_inheritance, inherit
from memfs.node.namespace.rules.acls import NO_ACL
from memfs.node.namespace.rules.growth import longest_draft
from memfs.node.namespace.rules.naming import (
    check_missing,
    check_new_name,
    maker_unless_directory,
    place_of_file,
)
from memfs.node.namespace.rules.permissions import mode_after_write
from memfs.node.namespace.rules.published_content import check_blocks, check_time, layout_of
from memfs.node.namespace.rules.quotas import NONE, check_growth, check_replication
from memfs.node.namespace.rules.refusals import text
from memfs.node.namespace.tables.inodes import ABSORBED, FILE, NOWHERE
from memfs.node.namespace.tables.tree import Make, Place, ends_as_directory
from memfs.node.namespace.tables.volume import FREED_AT_ONCE, Command, Volume, check_mode
from memfs.protocol.messages import (
    AdoptDraft,
    CreateDraft,
    FileVersion,
    LeaseReply,
    LookupReply,
    PublishDraft,
)

_PRIVATE: Final = 0o600
_GENERATION: Final = 1


def create_draft(volume: Volume, command: Command, request: CreateDraft) -> LeaseReply:
    """Make a file without a name, leased to the caller. Refused where publishing would be."""
    layout = layout_of(
        volume.settings, request.replication, request.block_size, request.group_blocks
    )
    volume.check_session(command)
    tree = volume.tree
    if request.path:
        old = _check_target(volume, command, request, 0)
    else:
        old = _own(volume, command, request.base)
    if old and not request.replication:
        layout = (*layout[:2], tree.layouts.values[tree.inodes.layout[old]][2])
    slot = tree.inodes.allocate()
    owner = tree.owners.acquire((command.caller.user, command.caller.group))
    number = tree.layouts.acquire(layout)
    now, index = command.now, command.index
    tree.inodes.fill(slot, FILE, _PRIVATE, owner, NOWHERE, now, index, number, _GENERATION)
    tree.inodes.links[slot] = 0
    tree.nameless.add(slot)
    # Nobody meets it: it has no name.
    volume.sessions.grant(command.client, slot, None, command.caller.user)
    most = NONE
    if request.path:
        most = longest_draft(volume, command.caller, slot, request.base, request.path)
    return LeaseReply(volume.attributes(slot), most=most)


def _own(volume: Volume, command: Command, inode: int) -> int:
    """The slot of a file that the caller writes. Raises StaleHandleError, LeaseLostError."""
    slot = volume.tree.inodes.slot_of(inode)
    return files.leased(volume, command, inode, volume.tree.inodes.generation[slot] if slot else 0)


def publish_draft(volume: Volume, command: Command, request: PublishDraft) -> LookupReply:
    """Commit the last blocks of a draft, give it its name and end its lease, all or nothing."""
    tree = volume.tree
    slot = files.writing(volume, command, request)
    if slot not in tree.nameless:
        raise InvalidArgumentError(_why_no_draft(volume, slot))
    check_mode(request.mode, request.unmasked)
    if request.modified_ns is not None:
        check_time(request.modified_ns)
    block_size, _, replication = tree.layouts.values[tree.inodes.layout[slot]]
    puts = check_blocks(volume, slot, block_size, request.size, request.blocks, request.generation)
    for version in request.unchanged:
        _check_unchanged(volume, version)
    command.counted = 1
    space = request.size * replication
    make = maker_unless_directory(volume, command, request.path, request.parents, space)
    _check_target(volume, command, request, space)
    follow = not request.exclusive
    place = place_of_file(volume, command, request.base, request.path, follow, make)
    files.change_content(volume, command, slot, puts, request.size)
    files.withdraw(volume, command, request.inode, request.withdrawn)
    slot = _give_name(volume, command, request, place, slot)
    if request.modified_ns is not None:
        tree.inodes.modified[slot] = request.modified_ns
    return LookupReply(volume.attributes(slot))


def adopt_draft(volume: Volume, command: Command, request: AdoptDraft) -> LookupReply:
    """Move a draft's content into a file that only a store has; the file stays leased."""
    tree, inodes = volume.tree, volume.tree.inodes
    slot = files.leased(volume, command, request.inode, request.generation)
    draft = files.leased(volume, command, request.draft, request.draft_generation)
    if draft not in tree.nameless:
        raise InvalidArgumentError(_why_no_draft(volume, draft))
    if not volume.mounts.is_external(slot):
        raise StaleHandleError("the cluster has the content of the file: open it again")
    if inodes.size[draft] != inodes.size[slot]:
        raise InvalidArgumentError("the draft is not as long as the file")
    check_replication(tree, slot, tree.layouts.values[inodes.layout[draft]][2], b"")
    _fill_in(volume, command, slot, draft)
    return LookupReply(volume.attributes(slot))


def _why_no_draft(volume: Volume, slot: int) -> str:
    if slot in volume.tree.linkable:
        return "the file is no draft: a link gives it its name"
    if slot in volume.tree.unlinked:
        return "the file is no draft: it was deleted, or made to have no name"
    return "the file has a name already"


def _check_target(
    volume: Volume, command: Command, request: CreateDraft | PublishDraft, space: int
) -> int:
    """May the name hold a file of the caller's that takes ``space``? Changes nothing.

    Returns the slot of the file that has it now.
    """
    tree, path = volume.tree, request.path
    try:
        place = place_of_file(
            volume,
            command,
            request.base,
            path,
            not request.exclusive,
            _prober(volume, command, path, space) if request.parents else None,
        )
    except _WouldBeMade:
        return NOWHERE
    old = place[2]
    if not old:
        check_new_name(volume, command, place, path, space)
        return NOWHERE
    if request.exclusive:
        raise PathExistsError("the file exists", path=text(path))
    files.check_writable(volume, command, old, path)
    if not request.recover:
        files.check_unleased(volume, old, path)
    check_inheritance(volume, command, old, path)
    growth = space - tree.weight(old)[1]
    check_growth(tree, tree.inodes.parent[old], 0, growth, path)
    return old


class _WouldBeMade(Exception):
    """A path leads through directories that are missing and may be made."""


def _prober(volume: Volume, command: Command, path: bytes, space: int) -> Make | None:
    """A maker that checks and makes nothing."""
    if ends_as_directory(path):
        return None

    def probe(parent: int, name: bytes, rest: list[bytes]) -> int:
        check_missing(volume, command, path, parent, (name, *rest), space)
        raise _WouldBeMade

    return probe


def _check_unchanged(volume: Volume, version: FileVersion) -> None:
    slot = volume.tree.inodes.slot_of(version.inode)
    if not slot or volume.tree.inodes.change[slot] != version.change:
        raise StaleHandleError("a file that this one was made from has changed meanwhile")


def _give_name(
    volume: Volume, command: Command, request: PublishDraft, place: Place, slot: int
) -> int:
    """Give the name the draft's content; returns the slot of the file that has the name."""
    tree, inodes = volume.tree, volume.tree.inodes
    parent, name, old = place
    if old and not _may_replace(volume, command, place, request.path):
        volume.sessions.drop_lease(old)
        _fill_in(volume, command, old, slot)
        return old
    tree.nameless.discard(slot)
    volume.sessions.drop_lease(slot)
    inodes.links[slot] = 1
    inodes.set_parent(slot, parent)
    if old:
        inherit(volume, command, slot, old)
        volume.mounts.replaced(slot, old)
        if request.recover:
            volume.sessions.drop_lease(old)
        tree.replace_name(parent, name, slot)
        volume.unlink(command, parent, old)
    else:
        volume.dress(command, parent, slot, request.mode, request.unmasked)
        tree.insert_name(parent, name, slot)
    length, space = tree.weight(slot)
    tree.charge(parent, length, 1, 0, space)
    tree.touch(parent, command.now, command.index)
    tree.touch(slot, command.now, command.index)
    volume.changed(command, slot)
    return slot


def _may_replace(volume: Volume, command: Command, place: Place, path: bytes) -> bool:
    """May the inode at ``place`` go, so that another one takes its name?"""
    parent, _, old = place
    if volume.tree.inodes.links[old] > 1:
        return False
    try:
        volume.check_removal(command.caller, parent, old, path)
    except PermissionError:
        return False
    return True


def _fill_in(volume: Volume, command: Command, old: int, draft: int) -> None:
    """Move the draft's content into a file that keeps its inode; the draft ends."""
    tree, inodes = volume.tree, volume.tree.inodes
    size = inodes.size[draft]
    volume.sessions.drop_lease(draft)
    tree.nameless.discard(draft)
    volume.blocks.cut(old, 0, command.discards, FREED_AT_ONCE)
    tree.resize(old, 0)
    tree.layouts.release(inodes.layout[old])
    inodes.layout[old] = tree.layouts.retain(inodes.layout[draft])
    volume.blocks.absorb(old, 0, draft)
    tree.resize(old, size)
    if inodes.kind[draft] == ABSORBED:
        tree.owners.release(inodes.owner[draft])
        tree.layouts.release(inodes.layout[draft])
        tree.xattrs.forget(draft)
        tree.set_acl(draft, NO_ACL)
    else:
        tree.forget(draft)
    inodes.set_mode(old, mode_after_write(inodes.mode[old], command.caller))
    tree.touch(old, command.now, command.index)
    volume.changed(command, old)
