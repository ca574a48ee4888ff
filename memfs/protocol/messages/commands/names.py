"""Commands on names: directories, links and special files are made, names moved and removed."""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.registry import message
from memfs.types import ROOT_INODE, Attributes, RenameMode


class MadeReply(NamedTuple):
    """Attributes of what was made."""

    attributes: Attributes
    also_changed: tuple[Attributes, ...] = ()
    """For a path that begins at a handle: the new attributes of the directory."""


class NamesReply(NamedTuple):
    """Names were changed."""

    also_changed: tuple[Attributes, ...] = ()
    """For paths that begin at handles: the new attributes of the directories, and of what was
    moved."""


@message(134, command=True)
class MakeDirectory(NamedTuple):
    """mkdir; with ``parents`` mkdir -p (an existing directory is then no error)."""

    path: bytes
    mode: int = 0o755
    parents: bool = False
    base: int = ROOT_INODE
    unmasked: int | None = None
    """As of :class:`Create`."""
    owner: str = ""
    """As of :class:`Create`, likewise the next."""
    group: str = ""

    @staticmethod
    def reply() -> type[MadeReply]:
        return MadeReply


@message(139, command=True)
class MakeSymlink(NamedTuple):
    """symlink: ``target`` is stored as it is."""

    path: bytes
    target: bytes
    parents: bool = False
    base: int = ROOT_INODE
    owner: str = ""
    """As of :class:`Create`, likewise the next."""
    group: str = ""
    replace: bool = False
    """What has the name makes way, as under :class:`Rename`; a directory refuses."""

    @staticmethod
    def reply() -> type[MadeReply]:
        return MadeReply


@message(166, command=True)
class MakeNode(NamedTuple):
    """mknod of a FIFO or socket, or for superusers of a device: a name that only mounts can use."""

    path: bytes
    kind: int
    """A :class:`FileKind` that is special."""
    mode: int = 0o644
    device: int = 0
    """As of :class:`Attributes`; 0 for what is no device."""
    base: int = ROOT_INODE
    unmasked: int | None = None
    """As of :class:`Create`, likewise the next two."""
    owner: str = ""
    group: str = ""

    @staticmethod
    def reply() -> type[MadeReply]:
        return MadeReply


@message(140, command=True)
class MakeLink(NamedTuple):
    """link: a further name for a file."""

    source: bytes
    path: bytes
    source_base: int = ROOT_INODE
    base: int = ROOT_INODE
    replace: bool = False
    """As of :class:`MakeSymlink`; nothing is done where the name is the file's already."""

    @staticmethod
    def reply() -> type[MadeReply]:
        return MadeReply


@message(135, command=True)
class Rename(NamedTuple):
    """rename; one atomic step whatever the size of the tree."""

    source: bytes
    target: bytes
    mode: int = RenameMode.REPLACE
    source_base: int = ROOT_INODE
    target_base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[NamesReply]:
        return NamesReply


@message(136, command=True)
class Unlink(NamedTuple):
    """Remove a name of a file or symlink."""

    path: bytes
    base: int = ROOT_INODE
    inode: int = 0
    """Only if that is what it names (0: whatever it is), otherwise StaleHandleError."""
    generation: int = 0
    """... and nobody was granted a later lease (0: whoever was)."""

    @staticmethod
    def reply() -> type[NamesReply]:
        return NamesReply


class UnlinkResult(NamedTuple):
    """Outcome for one name of an :class:`UnlinkMany`."""

    code: int
    message: str


class UnlinkManyReply(NamedTuple):
    """Outcomes in order."""

    results: tuple[UnlinkResult, ...]


@message(179, command=True)
class UnlinkMany(NamedTuple):
    """Remove names of files and symlinks, each by itself: ``limits.FILES_PER_COMMAND`` at most."""

    paths: tuple[bytes, ...]

    @staticmethod
    def reply() -> type[UnlinkManyReply]:
        return UnlinkManyReply


@message(137, command=True)
class RemoveDirectory(NamedTuple):
    """rmdir; with ``recursive`` the whole tree, O(1) for the caller."""

    path: bytes
    recursive: bool = False
    base: int = ROOT_INODE

    @staticmethod
    def reply() -> type[NamesReply]:
        return NamesReply
