"""All state that commands change, and the operations that several of them share.

Bundles tree, block maps, sessions, tokens, users and the queue of deleted trees; owns creating and
freeing inodes. Commands validate first and change afterwards: a refused one leaves no trace.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from memfs import limits
from memfs.errors import InvalidArgumentError, NameQuotaError
from memfs.node.namespace.rules.acls import NO_ACL, StoredAcl, inherited
from memfs.node.namespace.rules.permissions import (
    CHANGE,
    EXECUTE,
    HAS_ACL,
    MODE_BITS,
    SET_GID,
    STICKY,
    Caller,
    mode_without_foreign_gid,
)
from memfs.node.namespace.rules.refusals import not_superuser, sticky
from memfs.node.namespace.tables.accounts import Accounts
from memfs.node.namespace.tables.block_maps import BlockMaps
from memfs.node.namespace.tables.directory import Directory
from memfs.node.namespace.tables.inodes import (
    ABSORBED,
    DIRECTORY,
    FIFO,
    FILE,
    NOWHERE,
    RESERVED,
    ROOT,
    SYMLINK,
)
from memfs.node.namespace.tables.locks import Locks
from memfs.node.namespace.tables.mounts import Mounts
from memfs.node.namespace.tables.principal_limits import ANY, PrincipalLimits
from memfs.node.namespace.tables.results import Results
from memfs.node.namespace.tables.sessions import ClientSessions
from memfs.node.namespace.tables.tokens import Tokens
from memfs.node.namespace.tables.tree import Tree
from memfs.node.namespace.tables.unsaved import Change
from memfs.protocol.messages import BlockVersion
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
    parents_group: bool = False
    """Whether new inodes get the group of their directory, as in HDFS."""


class Opens(Protocol):
    """Who has which files open for reading: what the primary knows and the log does not."""

    def is_open(self, inode: int) -> bool:
        """Does any client have the file open, or is that not known yet?"""

    def has_open(self, client: int, inode: int) -> bool:
        """Has this client?"""


class Command:
    """The circumstances of one command, and the block versions that it leaves without a file."""

    __slots__ = (
        "caller",
        "client",
        "counted",
        "discards",
        "ended",
        "group",
        "held",
        "index",
        "now",
        "opens",
        "owner",
        "request_id",
        "results",
        "woken",
    )

    def __init__(
        self,
        caller: Caller,
        client: int,
        now: int,
        index: int,
        opens: Opens | None = None,
        held: tuple[int, ...] = (),
        request_id: int = 0,
        *,
        results: Results,
    ) -> None:
        """``opens``: what the primary knows of open files; else ``held`` is what it said then."""
        self.caller = caller
        self.results = results
        """Of earlier commands."""
        self.opens = opens
        self.held = list(held)
        """Inodes for which it made a difference that somebody has them open."""
        self.owner = caller.user
        """Of what is made, likewise ``group``: the caller's, unless they say otherwise."""
        self.counted = 0
        """Inodes that it names which count as the owner's already."""
        self.group = caller.group
        self.client = client
        self.request_id = request_id
        """In the order in which the client has sent its commands; 0: not a client's."""
        self.now = now
        """Nanoseconds by the clock of the then primary, which may have been set back."""
        self.index = index
        self.discards: list[BlockRef] = []
        self.ended: list[int] = []
        """Inodes under which their writers may have left versions that only nodes know of."""
        self.woken: list[int] = []
        """Tickets of requests for locks that wait no more."""

    def is_open(self, inode: int) -> bool:
        """Has any client the file open for reading?"""
        return self._is_held(inode, self.opens is not None and self.opens.is_open(inode))

    def has_open(self, inode: int) -> bool:
        """Has the client of this command?"""
        opens = self.opens
        return self._is_held(inode, opens is not None and opens.has_open(self.client, inode))

    def _is_held(self, inode: int, now: bool) -> bool:
        if self.opens is None:
            return inode in self.held
        if now:
            self.held.append(inode)
        return now

    def make_for(self, owner: str, group: str) -> None:
        """Set owner and group of what is created (empty: the caller's).

        The superuser makes files for anybody. Raises NotPermittedError, InvalidArgumentError.
        """
        caller = self.caller
        if not caller.superuser and not (
            owner in ("", caller.user) and (not group or group in caller.groups)
        ):
            raise not_superuser(caller)
        for name in (owner, group):
            if len(name.encode()) > limits.OWNER_BYTES:
                raise InvalidArgumentError(f"an owner's name has 1 to {limits.OWNER_BYTES} bytes")
        self.owner = owner or self.owner
        self.group = group or self.group


class Volume:
    """All state of the namespace but the log's position and the recorded results."""

    __slots__ = (
        "accounts",
        "blocks",
        "limits",
        "locks",
        "mounts",
        "reclaim",
        "sessions",
        "settings",
        "tokens",
        "tree",
    )

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tree = Tree()
        self.blocks = BlockMaps(self.tree.inodes)
        self.sessions = ClientSessions()
        self.locks = Locks(self.sessions)
        self.tokens = Tokens()
        self.accounts = Accounts()
        self.limits = PrincipalLimits(settings.superuser)
        self.mounts = Mounts()
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
                inodes.extra[slot] if kind >= FIFO else 0,
                int(self.mounts.state(slot) or 0) if self.mounts else 0,
            ),
        )

    def bare_attributes(self, slot: int) -> Attributes:
        """What readdir says of an inode to who may not stat it: id and kind."""
        inodes = self.tree.inodes
        return Attributes(
            inodes.id_of(slot), inodes.kind[slot], 0, 0, "", "", 0, 0, 0, 0, 0, 0, 0, 0, 0
        )

    def is_live(self, version: BlockVersion) -> bool:
        """Does a file refer to this block version, or can it still come to (NoEarlyGC)?

        It can while its inode is reserved, or leased under the generation it names and no later
        version of the block is published under it.
        """
        inodes = self.tree.inodes
        slot = inodes.slot_of(version.inode)
        if not slot:
            return False
        kind = inodes.kind[slot]
        if kind == RESERVED:
            return True
        if not version.generation:  # cached of a store; no writer's generation is 0
            return self.mounts.is_external(slot) and version.sequence == inodes.generation[slot]
        if (
            kind == FILE
            and slot in self.sessions.writers
            and inodes.generation[slot] == version.generation
        ):
            return not self.blocks.is_outdated(version)
        return kind in (FILE, ABSORBED) and self.blocks.current(version) is not None

    def block_count(self, slot: int) -> int:
        """Positions of a file, holes included."""
        block_size = self.tree.layouts.values[self.tree.inodes.layout[slot]][0]
        return -(-self.tree.inodes.size[slot] // block_size)

    def block_refs(self, slot: int, first: int, end: int) -> tuple[BlockRef, ...]:
        """References of positions ``first`` to ``end`` - 1, holes included.

        Of what a store has, they name what nodes fetch and cache: generation 0, the file's own
        generation as sequence, a CRC that nobody knows yet, and no replicas: who looks at the
        view fills them in.
        """
        if not self.mounts or not self.mounts.is_external(slot):
            return self.blocks.refs(slot, first, end)
        inodes = self.tree.inodes
        inode, size, sequence = inodes.id_of(slot), inodes.size[slot], inodes.generation[slot]
        block_size = self.tree.layouts.values[inodes.layout[slot]][0]
        return tuple(
            [
                BlockRef(inode, at, 0, sequence, min(block_size, size - at * block_size), 0, ())
                for at in range(first, end)
            ]
        )

    def changed(self, command: Command, slot: int) -> None:
        """Record that the store lacks the content of ``slot``, if it is below a mount."""
        mounts, inodes = self.mounts, self.tree.inodes
        if not mounts:
            return
        mount = mounts.mount_of(self.tree, slot)
        if mount is None:
            return
        size = inodes.size[slot] if inodes.kind[slot] == FILE else 0
        former = mounts.changes.get(slot)
        mounts.changes[slot] = (
            Change(command.index, command.now, (), mount.number, size)
            if former is None
            else former._replace(version=command.index, size=size)
        )
        mounts.resident.pop(slot, None)
        mounts.recent.append(slot)

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

        Owner is the command's, and so is the group, or the directory's when that has set-gid, in
        which case new directories inherit the bit too, or when the settings say so. A default
        list of the directory is inherited, and limited by ``unmasked`` (None: ``mode``). Not yet
        named, not yet charged.
        """
        tree = self.tree
        inodes = tree.inodes
        mode, group, acl = self._birthright(command, parent, kind, mode, unmasked)
        slot = slot or inodes.allocate()
        owner = tree.owners.acquire((command.owner, group))
        now, index = command.now, command.index
        inodes.fill(slot, kind, mode, owner, parent, now, index, layout, generation, size)
        if acl is not NO_ACL:
            tree.set_acl(slot, acl)
        return slot

    def dress(
        self, command: Command, parent: int, slot: int, mode: int, unmasked: int | None
    ) -> None:
        """Give a file without a name the attributes that :meth:`new_inode` would give it in
        ``parent``."""
        tree = self.tree
        mode, group, acl = self._birthright(command, parent, FILE, mode, unmasked)
        tree.owners.release(tree.inodes.owner[slot])
        tree.inodes.owner[slot] = tree.owners.acquire((command.caller.user, group))
        tree.xattrs.give(slot, command.caller.user)
        tree.inodes.set_mode(slot, mode)
        tree.set_acl(slot, acl)

    def _birthright(
        self, command: Command, parent: int, kind: int, mode: int, unmasked: int | None
    ) -> tuple[int, str, StoredAcl]:
        """Mode, group and access list of what the caller makes in ``parent``."""
        tree = self.tree
        inodes = tree.inodes
        caller, group = command.caller, command.group
        parent_mode = inodes.mode[parent]
        acl = NO_ACL
        if parent_mode & HAS_ACL and kind != SYMLINK and (default := tree.acl(parent).default):
            if unmasked is not None:
                mode = mode & ~_PERMISSIONS | unmasked & _PERMISSIONS
            acl, mode = inherited(default, mode, kind == DIRECTORY)
        hands_on = bool(parent_mode & SET_GID)
        if hands_on or caller.parents_group or self.settings.parents_group:
            group = tree.owners.values[inodes.owner[parent]][1]
            if kind != DIRECTORY and mode & EXECUTE << 3:
                mode = mode_without_foreign_gid(mode, group, caller)
        if hands_on and kind == DIRECTORY:
            mode |= SET_GID
        return mode, group, acl

    def also_changed(self, path: bytes, *slots: int) -> tuple[Attributes, ...]:
        """What else a command has changed, for a client that names inodes by handle: it caches the
        attributes of directories, and would ask for them next."""
        if path.startswith(b"/"):
            return ()
        return tuple([self.attributes(slot) for slot in dict.fromkeys(slots)])

    def make_root(self, now: int) -> None:
        """Begin a new file system."""
        tree = self.tree
        slot = tree.inodes.allocate()
        assert slot == ROOT
        owner = tree.owners.acquire((self.settings.superuser, self.settings.supergroup))
        tree.inodes.fill(slot, DIRECTORY, 0o755, owner, ROOT, now, 0)
        tree.inodes.set_extra(slot, tree.directories.add(Directory()))
        tree.inodes.links[slot] = 2

    def make_directory(
        self, command: Command, parent: int, name: bytes, mode: int, unmasked: int | None = None
    ) -> int:
        """Add an empty directory. The caller has checked name, depth and permission."""
        tree = self.tree
        inodes = tree.inodes
        slot = self.new_inode(command, parent, DIRECTORY, mode, unmasked=unmasked)
        inodes.set_extra(slot, tree.directories.add(Directory()))
        inodes.links[slot] = 2
        tree.insert_name(parent, name, slot)
        inodes.links[parent] += 1
        tree.charge(parent, 0, 0, 1, 0)
        tree.count_guard(slot, parent, 1)
        tree.touch(parent, command.now, command.index)
        return slot

    # --- going -------------------------------------------------------------------------------

    def check_removal(self, caller: Caller, parent: int, slot: int, path: bytes) -> None:
        """May the caller take the name of ``slot`` out of ``parent``? The sticky bit included.

        Raises AccessDeniedError, NotPermittedError.
        """
        tree = self.tree
        if self.mounts:
            self.mounts.check_writable(tree, parent, path)
        if caller.superuser:
            return
        tree.require(caller, parent, CHANGE, path)
        if (
            tree.inodes.mode[parent] & STICKY
            and not tree.owns(caller, slot)
            and not tree.owns(caller, parent)
        ):
            raise sticky(tree, caller, slot, parent, path)

    def unlink(self, command: Command, parent: int, slot: int) -> None:
        """A name of a file or symlink in ``parent`` was removed; with the last one the inode goes.

        It stays while somebody has it open.
        """
        tree = self.tree
        inodes = tree.inodes
        if inodes.links[slot] > 1:
            inodes.links[slot] -= 1
            tree.drop_link(parent, slot)
            tree.mark(slot, command.now, command.index)
            return
        if self.mounts and slot in self.mounts.changes:
            self.mounts.forget(slot)  # the store will not learn of it
        length, space = tree.weight(slot)
        tree.charge(parent, -length, -1, 0, -space)
        inodes.set_parent(slot, NOWHERE)
        inodes.links[slot] = 0
        if inodes.kind[slot] == FILE and self.is_in_use(command, slot):
            self.tree.unlinked.add(slot)
            self.tree.mark(slot, command.now, command.index)
        else:
            self.free(command, slot)

    def is_in_use(self, command: Command, slot: int) -> bool:
        """Has anybody the file open, for writing or for reading?"""
        return slot in self.sessions.writers or command.is_open(self.tree.inodes.id_of(slot))

    def free(self, command: Command, slot: int) -> None:
        """Free a nameless file or symlink, or what there is time for now."""
        if self.tree.inodes.kind[slot] == FILE:
            self.blocks.forget(slot, command.discards, FREED_AT_ONCE)
        self.forget(command, slot)

    def forget(self, command: Command, slot: int) -> None:
        """Free an inode that has no name, no entries and no blocks any more."""
        self.end_locks(command, slot)
        if self.mounts.tags.count or self.mounts:
            self.mounts.forget(slot)
        self.tree.forget(slot)

    def end_locks(self, command: Command, slot: int) -> None:
        """Nobody can open an inode any more: its locks go with it."""
        if self.locks.held:
            command.woken += self.locks.end_inode(slot)

    def remove_directory(self, command: Command, parent: int, slot: int) -> None:
        """A directory's name in ``parent`` is gone; what is below is left to Reclaim."""
        tree = self.tree
        tree.charge_subtree(parent, slot, -1)
        tree.inodes.links[parent] -= 1
        tree.inodes.set_parent(slot, NOWHERE)
        if tree.directory(slot).count:
            self.reclaim.append(slot)
        else:
            self.forget(command, slot)

    # --- what one user may have --------------------------------------------------------------

    def check_session(
        self, command: Command, reserve: int = 0, client: int = 0, user: str = ""
    ) -> None:
        """May a client, the caller's by default, hold more? Raises BusyError."""
        user = user or command.caller.user
        most = self.limits.of("sessions", user, limits.SESSIONS_PER_USER)
        self.sessions.check_room(client or command.client, user, most, reserve)

    def check_inodes(self, command: Command, count: int, path: bytes) -> None:
        """May the owner of what is made have so many more? Raises NameQuotaError."""
        if not self.limits.has("inodes"):
            return
        most = self.limits.of("inodes", command.owner, ANY)
        held = self.tree.owners.inodes_of(command.owner) - command.counted
        if held + count > most:
            raise NameQuotaError(
                f"{command.owner} has {held} files, directories and links, {most} are allowed "
                "(limit inodes)",
                path=path.decode("utf-8", "replace") or None,
            )

    def most_xattrs(self, owner: str) -> int:
        """Bytes of extended attributes that an owner may have."""
        return self.limits.of("xattr_bytes", owner, limits.XATTRS_BYTES_PER_OWNER)

    # --- accounts ----------------------------------------------------------------------------

    @property
    def reclaiming(self) -> int:
        """Inodes of deleted trees still to be freed, plus pieces of dropped block tables.

        Zero exactly when Reclaim has nothing to do.
        """
        totals = self.tree.directory(ROOT)
        absorbed = sum(map(len, self.blocks.absorbed.values()))
        held = self.sessions.reserved + len(self.tree.nameless) + len(self.tree.unlinked)
        live = totals.files + totals.directories + held + absorbed
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
