"""The whole of what commands change, and the acts that several of them share.

Bundles tree, block maps, sessions, tokens and the queue of deleted trees; owns how an inode comes
to be and how it goes. Commands validate first and change afterwards: a refused one leaves no trace.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from memfs import limits
from memfs.errors import InvalidArgumentError, NotPermittedError
from memfs.node.namespace.acl_rules import NO_ACL, inherited
from memfs.node.namespace.blocks import BlockMaps
from memfs.node.namespace.directory import Directory
from memfs.node.namespace.inodes import DIRECTORY, FILE, NOWHERE, ROOT, SYMLINK
from memfs.node.namespace.permissions import (
    CHANGE,
    EXECUTE,
    HAS_ACL,
    MODE_BITS,
    SET_GID,
    STICKY,
    Caller,
)
from memfs.node.namespace.sessions import Sessions
from memfs.node.namespace.tokens import Tokens
from memfs.node.namespace.tree import Tree, text
from memfs.types import Attributes, BlockRef

_PERMISSIONS: Final = 0o777

FREED_AT_ONCE: Final = limits.VERSIONS_PER_DISCARD
"""Blocks that one command drops itself; more are left to Reclaim."""


class Settings(NamedTuple):
    """What a cluster's namespace was formed with; part of every snapshot."""

    superuser: str
    supergroup: str
    replication: int
    """Copies of a new file's blocks unless it says otherwise; likewise the next two."""
    block_size: int
    group_blocks: int


class Command:
    """The circumstances of one command, and the block versions that it leaves without a file."""

    __slots__ = ("caller", "client", "discards", "index", "now")

    def __init__(self, caller: Caller, client: int, now: int, index: int) -> None:
        self.caller = caller
        self.client = client
        self.now = now
        """Nanoseconds; never less than an earlier command's."""
        self.index = index
        self.discards: list[BlockRef] = []


class Volume:
    """All state of the namespace but the log's position and the recorded results."""

    __slots__ = ("blocks", "reclaim", "sessions", "settings", "tokens", "tree")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tree = Tree()
        self.blocks = BlockMaps(self.tree.inodes)
        self.sessions = Sessions()
        self.tokens = Tokens()
        self.reclaim: list[int] = []
        """Stack of detached slots: deleted trees and files with many blocks."""

    # --- looking -----------------------------------------------------------------------------

    def attributes(self, slot: int) -> Attributes:
        """What stat says of an inode."""
        tree = self.tree
        inodes = tree.inodes
        kind = inodes.kind[slot]
        (
            incarnation,
            owners,
            links,
            layout,
            generation,
            size,
            modified,
            changed,
            change,
            accessed,
        ) = inodes.stat(slot)
        owner, group = tree.owners.values[owners]
        block_size, group_blocks, replication = tree.layouts.values[layout]
        children = tree.directories.items[inodes.extra[slot]].count if kind == DIRECTORY else 0
        mode = inodes.mode[slot]
        return tuple.__new__(
            Attributes,
            (
                incarnation << 32 | slot,
                kind,
                mode & MODE_BITS,
                links,
                owner,
                group,
                size,
                modified,
                changed,
                accessed,
                block_size,
                group_blocks,
                replication,
                generation,
                change,
                children,
                slot in self.sessions.writers,
                mode >= HAS_ACL,
            ),
        )

    def bare_attributes(self, slot: int) -> Attributes:
        """What readdir says of an inode to who may not stat it: id and kind."""
        inodes = self.tree.inodes
        return Attributes(
            inodes.id_of(slot), inodes.kind[slot], 0, 0, "", "", 0, 0, 0, 0, 0, 0, 0, 0, 0
        )

    def block_count(self, slot: int) -> int:
        """Positions of a file, holes included."""
        block_size = self.tree.layouts.values[self.tree.inodes.layout[slot]][0]
        return -(-self.tree.inodes.size[slot] // block_size)

    # --- coming to be ------------------------------------------------------------------------

    def new_inode(
        self,
        command: Command,
        parent: int,
        kind: int,
        mode: int,
        slot: int = NOWHERE,
        layout: int = 0,
        generation: int = 0,
        size: int = 0,
        unmasked: int | None = None,
    ) -> int:
        """Fill a row (a fresh one, or reserved ``slot``) for what ``command`` makes in ``parent``.

        Owner is the caller; group the caller's first, or the directory's when that has set-gid,
        in which case new directories inherit the bit too. A default list of the directory is
        inherited, and limited by ``unmasked`` (None: ``mode``). Not yet named, not yet charged.
        """
        tree, caller = self.tree, command.caller
        inodes = tree.inodes
        group = caller.group
        parent_mode = inodes.mode[parent]
        acl = NO_ACL
        if parent_mode & HAS_ACL and kind != SYMLINK and (default := tree.acl(parent).default):
            if unmasked is not None:
                mode = mode & ~_PERMISSIONS | unmasked & _PERMISSIONS
            acl, mode = inherited(default, mode, kind == DIRECTORY)
        if parent_mode & SET_GID:
            group = tree.owners.values[inodes.owner[parent]][1]
            if kind == DIRECTORY:
                mode |= SET_GID
            elif mode & EXECUTE << 3 and not caller.superuser and group not in caller.groups:
                mode &= ~SET_GID
        slot = slot or inodes.allocate()
        owner = tree.owners.acquire((caller.user, group))
        now, index = command.now, command.index
        inodes.fill(slot, kind, mode, owner, parent, now, index, layout, generation, size)
        if acl is not NO_ACL:
            tree.set_acl(slot, acl)
        return slot

    def make_root(self, now: int) -> None:
        """Begin a new file system."""
        tree = self.tree
        slot = tree.inodes.allocate()
        assert slot == ROOT
        owner = tree.owners.acquire((self.settings.superuser, self.settings.supergroup))
        tree.inodes.fill(slot, DIRECTORY, 0o755, owner, ROOT, now, 0)
        tree.inodes.extra[slot] = tree.directories.add(Directory())
        tree.inodes.links[slot] = 2

    def make_directory(
        self, command: Command, parent: int, name: bytes, mode: int, unmasked: int | None = None
    ) -> int:
        """Add an empty directory. The caller has checked name, depth and permission."""
        tree = self.tree
        inodes = tree.inodes
        slot = self.new_inode(command, parent, DIRECTORY, mode, unmasked=unmasked)
        inodes.extra[slot] = tree.directories.add(Directory())
        inodes.links[slot] = 2
        tree.directory(parent).insert(name, slot)
        inodes.links[parent] += 1
        tree.charge(parent, 0, 0, 1, 0)
        tree.touch(parent, command.now, command.index)
        return slot

    # --- going -------------------------------------------------------------------------------

    def check_removal(self, caller: Caller, parent: int, slot: int, path: bytes) -> None:
        """May the caller take the name of ``slot`` out of ``parent``? The sticky bit included.

        Raises AccessDeniedError, NotPermittedError.
        """
        tree = self.tree
        if caller.superuser:
            return
        tree.require(caller, parent, CHANGE, path)
        if (
            tree.inodes.mode[parent] & STICKY
            and not tree.owns(caller, slot)
            and not tree.owns(caller, parent)
        ):
            raise NotPermittedError("the sticky bit protects it", path=text(path))

    def unlink(self, command: Command, parent: int, slot: int) -> None:
        """A name of a file or symlink in ``parent`` is gone; with its last one, so is the inode."""
        tree = self.tree
        inodes = tree.inodes
        if inodes.links[slot] > 1:
            inodes.links[slot] -= 1
            tree.drop_link(parent, slot)
            tree.mark(slot, command.now, command.index)
            return
        length, space = tree.weight(slot)
        tree.charge(parent, -length, -1, 0, -space)
        inodes.parent[slot] = NOWHERE
        inodes.links[slot] = 0
        if inodes.kind[slot] == FILE:
            self.sessions.drop_lease(slot)
        self.free(command, slot)

    def free(self, command: Command, slot: int) -> None:
        """Free a nameless file or symlink, or what there is time for now."""
        if self.tree.inodes.kind[slot] == FILE:
            self.blocks.forget(slot, command.discards, FREED_AT_ONCE)
        self.tree.forget(slot)

    def remove_directory(self, command: Command, parent: int, slot: int) -> None:
        """A directory's name in ``parent`` is gone; what is below is left to Reclaim."""
        tree = self.tree
        tree.charge_subtree(parent, slot, -1)
        tree.inodes.links[parent] -= 1
        tree.inodes.parent[slot] = NOWHERE
        if tree.directory(slot).count:
            self.reclaim.append(slot)
        else:
            tree.forget(slot)

    # --- accounts ----------------------------------------------------------------------------

    @property
    def reclaiming(self) -> int:
        """Inodes of deleted trees still to be freed, plus pieces of dropped block tables.

        Zero exactly when Reclaim has nothing to do.
        """
        totals = self.tree.directory(ROOT)
        absorbed = sum(map(len, self.blocks.absorbed.values()))
        live = totals.files + totals.directories + self.sessions.reserved + absorbed
        return len(self.tree.inodes) - live + len(self.blocks.dropped)


def check_mode(mode: int, unmasked: int | None = None) -> None:
    """Raise InvalidArgumentError for bits outside 0..0o7777."""
    for bits in (mode, unmasked or 0):
        if not 0 <= bits <= MODE_BITS:
            raise InvalidArgumentError(f"mode {bits:o} has bits beyond {MODE_BITS:o}")


def check_replication(replication: int) -> None:
    """Raise InvalidArgumentError for a number of copies out of range."""
    if not 1 <= replication <= limits.REPLICAS_MAX:
        raise InvalidArgumentError(
            f"{replication} replicas: 1 to {limits.REPLICAS_MAX} are possible"
        )
