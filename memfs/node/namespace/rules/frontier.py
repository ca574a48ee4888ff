"""Which objects of external stores have to be looked up before a request can be carried out.

Pure: a request is examined first, and what is unknown comes back as a question for a store. The
answer enters the log as a command, and the request is examined again, until nothing is missing. So
neither a query nor a command ever meets a name whose state in the store is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple, Protocol

from memfs import limits
from memfs.errors import MemfsError
from memfs.node.namespace.rules.named import named_paths
from memfs.node.namespace.tables.inodes import DIRECTORY, FILE, NOWHERE, ROOT, SYMLINK
from memfs.node.namespace.tables.mounts import MountPoint
from memfs.node.namespace.tables.volume import Volume
from memfs.paths import split
from memfs.protocol import messages as m
from memfs.types import ROOT_INODE


class Knowledge(Protocol):
    """What was asked of the stores, and when: soft state of the primary."""

    def knows_name(self, mount: MountPoint, directory: int, name: bytes, exists: bool) -> bool:
        """Is what the namespace knows of a name recent enough?"""

    def listed(self, mount: MountPoint, directory: int, later: bool) -> bytes | None:
        """Before which name a recent enough listing of a directory is known; None: all of it.

        ``later``: for a later page.
        """


class Question(NamedTuple):
    """What to ask a store."""

    mount: MountPoint
    directory: int
    """Inode of the directory; it is below the mount, or is it."""
    key: bytes
    """Of the directory, below the mount."""
    name: bytes | None
    """The name asked about, None: all of them."""
    part: bool = False
    """A page of the listing may do."""
    later: bool = False
    """It goes on with what an earlier page came from."""


_LISTING: Final = (m.List, m.Rename, m.RemoveDirectory, m.SummarisePage)
_DEEP: Final = (m.Summarise, m.RemoveDirectory)


def questions(volume: Volume, request: object, knowledge: Knowledge) -> Iterator[Question]:
    """What stores have to be asked before ``request`` can be carried out: the first question of
    each path that it names. Nothing: all is known."""
    for base, path in named_paths(request):
        found = _on_the_way(volume, base, path, request, knowledge)
        if found is not None:
            yield found


def _on_the_way(
    volume: Volume, base: int, path: bytes, request: object, knowledge: Knowledge
) -> Question | None:
    tree, inodes = volume.tree, volume.tree.inodes
    try:
        parts = split(path)
    except MemfsError:
        return None  # it will be refused
    slot = ROOT if base == ROOT_INODE else inodes.slot_of(base)
    mount = volume.mounts.mount_of(tree, slot)
    parts.reverse()
    follows = 0
    while parts:
        name = parts.pop()
        if inodes.kind[slot] != DIRECTORY or slot == NOWHERE:
            return None
        if name == b"..":
            slot = inodes.parent[slot]
            mount = volume.mounts.mount_of(tree, slot)
            continue
        child = tree.directory(slot).get(name)
        if mount is not None:
            found = _entry(volume, mount, slot, name, child, bool(parts), knowledge)
            if found is not None:
                return found
        if not child:
            return None
        if inodes.kind[child] == SYMLINK and follows < limits.SYMLINK_FOLLOWS:
            follows += 1
            target = tree.targets.items[inodes.extra[child]]
            parts += reversed(split(target))
            if target.startswith(b"/"):
                slot = ROOT
            mount = volume.mounts.mount_of(tree, slot)
            continue
        slot = child
        mount = volume.mounts.by_slot.get(slot, mount)
    return _below(volume, slot, request, knowledge)


def _entry(
    volume: Volume,
    mount: MountPoint,
    slot: int,
    name: bytes,
    child: int,
    on_the_way: bool,
    knowledge: Knowledge,
) -> Question | None:
    """What to ask of one name of a directory below a mount."""
    mounts, inodes = volume.mounts, volume.tree.inodes
    if child:
        ours = child in mounts.changes or child in mounts.by_slot
        if ours or child in volume.sessions.writers or inodes.kind[child] != FILE:
            return None
    elif on_the_way and slot in mounts.changes:
        return None
    if knowledge.knows_name(mount, inodes.id_of(slot), name, bool(child)):
        return None
    return _ask(volume, mount, slot, name)


def _below(volume: Volume, slot: int, request: object, knowledge: Knowledge) -> Question | None:
    """What to ask of all names of a directory, and of those below it."""
    inodes = volume.tree.inodes
    if inodes.kind[slot] != DIRECTORY or not isinstance(request, (*_LISTING, *_DEEP)):
        return None
    mount = volume.mounts.mount_of(volume.tree, slot)
    if isinstance(request, m.RemoveDirectory) and mount is not None and not request.recursive:
        return _listing(volume, mount, slot, request, knowledge)
    if not isinstance(request, _DEEP):
        return None if mount is None else _listing(volume, mount, slot, request, knowledge)
    pending = [slot]
    if mount is None:  # mounts may lie below
        pending = [s for s in volume.mounts.by_slot if volume.tree.has_ancestor(s, slot)]
    while pending:
        slot = pending.pop()
        mount = volume.mounts.mount_of(volume.tree, slot)
        if mount is not None:
            found = _listing(volume, mount, slot, request, knowledge)
            if found is not None:
                return found
        for _, child in volume.tree.directory(slot).items():
            if inodes.kind[child] == DIRECTORY:
                pending.append(child)
    return None


def _listing(
    volume: Volume, mount: MountPoint, slot: int, request: object, knowledge: Knowledge
) -> Question | None:
    inode, after = volume.tree.inodes.id_of(slot), getattr(request, "after", b"")
    bound = knowledge.listed(mount, inode, bool(after))
    part = isinstance(request, m.List)
    if bound is None or (part and bound and _holds_page(volume, slot, after, bound)):
        return None
    found = _ask(volume, mount, slot, None)
    return found and found._replace(part=part, later=bool(after))


def _holds_page(volume: Volume, slot: int, after: bytes, bound: bytes) -> bool:
    """Can a page begin, and say that there is more, when names are complete before ``bound``?"""
    names = [name for name, _ in islice(volume.tree.directory(slot).after(after), 2)]
    return len(names) == 2 and names[0] < bound


def _ask(volume: Volume, mount: MountPoint, slot: int, name: bytes | None) -> Question | None:
    key = volume.mounts.key_of(volume.tree, mount, slot)
    if key is None:
        return None
    if name is not None:
        whole = key + b"/" + name if key else name
        if volume.mounts.is_deleted(mount.number, whole):
            return None
    return Question(mount, volume.tree.inodes.id_of(slot), key, name)
