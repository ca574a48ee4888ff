"""External stores in the namespace: the mount table, and what is known of the stores' objects.

Owns which directories are mounts, the version tag of every known object, which changes the store
lacks, and what was deleted here and not in the store yet. Does no I/O: what stores answered arrives
in commands.

A file below a mount is in one of these states::

    CLEAN       a tag, no blocks of its own: nodes fetch and cache them
    PERSISTED   a tag, and the blocks are the cluster's: both have the same content
    DIRTY       the content is the cluster's and the store lacks it; a tag says what it replaces
    PERSISTING  as DIRTY, and it is on its way to the store

A name that nobody asked the store for is not here at all (NOT_LISTED).

Invariants: tags, changes and residents belong to live slots; a change's content has blocks of its
own; a tombstone's key has no entry whose content the store knows.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

from memfs.errors import ReadOnlyMountError
from memfs.node.namespace.containers.slot_map import SlotMap
from memfs.node.namespace.rules.refusals import text
from memfs.node.namespace.tables.inodes import DIRECTORY, NOWHERE, ROOT
from memfs.node.namespace.tables.object_tags import Tags
from memfs.node.namespace.tables.tree import Tree
from memfs.node.namespace.tables.unsaved import Key, Tombstones, Totals, UnsavedChanges
from memfs.protocol.messages import StoreOption
from memfs.types import ObjectState

ATTEMPTS: Final = 32
"""Contents on their way to a store that are remembered per file: one of them may be in the store,
though its answer was lost, while all that came after it fail."""


class MountPoint(NamedTuple):
    """One mount."""

    number: int
    slot: int
    url: str
    mode: int
    options: tuple[StoreOption, ...]
    read_only: bool
    shared: bool
    policy: str
    ttl_ms: int
    sync_ms: int
    copies: int
    generation: int
    made: bool
    """The directory was made for it, and goes with it."""
    quota: int = 0
    """Bytes of cached blocks at most, on all nodes together; 0: no bound."""


_NAMES: Final = 1 << 18
"""Names that are remembered by slot, some 12 MiB."""


class Mounts:
    """The mount table and all that is known of objects. False where nothing is mounted."""

    __slots__ = (
        "_burying",
        "_names",
        "buried",
        "by_slot",
        "changes",
        "next_number",
        "pins",
        "recent",
        "resident",
        "tags",
        "tombstones",
        "unsaved",
    )

    def __init__(self) -> None:
        self.by_slot: dict[int, MountPoint] = {}
        self.next_number = 1
        self.tags = Tags()
        self.resident: SlotMap[None] = SlotMap()
        """Files with a tag whose blocks are the cluster's own."""
        self.unsaved = Totals()
        """What the stores lack, by the mount's number."""
        self.changes = UnsavedChanges(self.unsaved)
        self.tombstones = Tombstones(self.unsaved)
        self.buried: dict[int, Key] = {}
        """Deleted directories that Reclaim takes apart, and what their names were: as it does, a
        deletion is put on record of each name in them."""
        self._burying: Counter[Key] = Counter()
        """How many there are of a name."""
        self.pins: SlotMap[int] = SlotMap()
        """Until when what is in memory below a slot stays, in nanoseconds; 0: for ever."""
        self.recent: list[int | tuple[int, bytes]] = []
        """Slots changed and keys deleted since somebody looked: not a part of the state."""
        self._names: dict[int, bytes] = {}
        """Names that slots had when somebody looked for one near them: not a part of the state."""

    def __bool__(self) -> bool:
        return bool(self.by_slot)

    def mount_of(self, tree: Tree, slot: int) -> MountPoint | None:
        """The mount that an inode is below, or is. Costs a step per ancestor."""
        by_slot, parent = self.by_slot, tree.inodes.parent
        while slot:
            found = by_slot.get(slot)
            if found is not None or slot == ROOT:
                return found
            slot = parent[slot]
        return None

    def check_writable(self, tree: Tree, slot: int, path: bytes) -> None:
        """May what is below a directory, or in a file, be changed? Raises ReadOnlyMountError."""
        found = self.mount_of(tree, slot)
        if found is not None and found.read_only:
            raise ReadOnlyMountError(f"{found.url} is mounted read-only", path=text(path))

    def by_number(self, number: int) -> MountPoint | None:
        """The mount of a number."""
        return next((m for m in self.by_slot.values() if m.number == number), None)

    def is_external(self, slot: int) -> bool:
        """Is the content of a file only in the store (CLEAN)?"""
        return slot in self.tags and slot not in self.changes and slot not in self.resident

    def state(self, slot: int) -> ObjectState | None:
        """A file's state; None: it is below no mount, or the store was never asked."""
        change = self.changes.get(slot)
        if change is not None:
            return change.state
        if slot not in self.tags:
            return None
        return ObjectState.PERSISTED if slot in self.resident else ObjectState.CLEAN

    def forget(self, slot: int) -> None:
        """An inode is freed."""
        self.tags.pop(slot)
        self.resident.pop(slot, None)
        self.changes.pop(slot, None)
        self.pins.pop(slot, None)
        if slot in self.buried:
            self.end_burying(slot)

    def bury(self, slot: int, key: Key) -> None:
        """A directory was deleted, with all that is still in it."""
        self.buried[slot] = key
        self._burying[key] += 1

    def end_burying(self, slot: int) -> None:
        """Deletions of all that was in a directory are on record, or need not be."""
        key = self.buried.pop(slot)
        self._burying[key] -= 1
        if not self._burying[key]:
            del self._burying[key]

    def is_burying(self, key: Key) -> bool:
        """Are deletions in a directory of this name still to be put on record?"""
        return key in self._burying

    def pinned_until(self, tree: Tree, slot: int) -> int | None:
        """Until when a file is pinned, itself or with a directory above it; None: it is not."""
        if not self.pins:
            return None
        found: int | None = None
        parent = tree.inodes.parent
        while slot:
            until = self.pins.get(slot)
            if until is not None:
                found = 0 if not until or found == 0 else max(found or 0, until)
            if slot in self.by_slot or slot == ROOT:
                break
            slot = parent[slot]
        return found

    def replaced(self, slot: int, old: int) -> None:
        """``slot`` has the name of ``old`` now: what the store has there is what ``old`` was."""
        if not self.tags.count and not self.changes:
            return
        tag, change = self.tags.get(old), self.changes.get(old)
        if tag is not None:
            self.tags.set(slot, tag)
        else:
            self.tags.pop(slot)
        if change is not None:
            self.changes[slot] = change
        self.resident.pop(slot, None)

    def key_of(self, tree: Tree, mount: MountPoint, slot: int) -> bytes | None:
        """The path of an inode below its mount's directory; None: it is not there (any more)."""
        names = []
        while slot != mount.slot:
            parent = tree.inodes.parent[slot]
            if parent == NOWHERE or slot <= ROOT or tree.inodes.kind[parent] != DIRECTORY:
                return None
            name = self._name_of(tree, parent, slot)
            if name is None:
                return None
            names.append(name)
            slot = parent
        return b"/".join(reversed(names))

    def _name_of(self, tree: Tree, parent: int, slot: int) -> bytes | None:
        """The name of an inode in its directory. To find one costs a look at all, and finds those
        of its neighbours as well: they will be asked for next."""
        entries = tree.directory(parent)
        name = self._names.get(slot)
        if name is None or entries.get(name) != slot:
            if len(self._names) >= _NAMES:
                self._names.clear()
            found = entries.names_beside(slot)
            self._names.update(found)
            return found.get(slot)
        return name

    def is_deleted(self, number: int, key: bytes) -> bool:
        """Was an object deleted here while the store may have it, by itself or with a directory?"""
        if not self.tombstones:
            return False
        if (number, key) in self.tombstones:
            return True
        if not self._burying:
            return False
        parts = key.split(b"/")
        return any(
            (number, b"/".join(parts[:count])) in self._burying for count in range(len(parts))
        )
