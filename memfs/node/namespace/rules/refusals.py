"""What a refusal says: who asked for what, and what denied it, in HDFS's words.

The texts are those of HDFS (``FSPermissionChecker``): the user, the access requested, and owner,
group and mode of the inode that denies it, which need not be the one that the path names. They tell
nothing that the user could not find out: the user may search everything above the inode that
denies, unless the request used a handle, whose directory is given by number.
"""

from __future__ import annotations

import stat
from typing import Final, Protocol

from memfs import limits
from memfs.errors import AccessDeniedError, NotPermittedError
from memfs.node.namespace.containers.interning import Arena, Interned
from memfs.node.namespace.rules.permissions import CHANGE, HAS_ACL, MODE_BITS, SEARCH, WRITE, Caller
from memfs.node.namespace.tables.directory import Entries
from memfs.node.namespace.tables.inodes import DIRECTORY, NOWHERE, ROOT, SYMLINK, Inodes
from memfs.paths import split
from memfs.types import FileKind

_ACTIONS: Final = (
    "NONE",
    "EXECUTE",
    "WRITE",
    "WRITE_EXECUTE",
    "READ",
    "READ_EXECUTE",
    "READ_WRITE",
    "ALL",
)
"""Hadoop's names of rwx bits."""
BY_INODE: Final = "/.reserved/.inodes/"
"""How HDFS writes the path of an inode by number."""


class NameTree(Protocol):
    """The tree of names, as far as a refusal looks at it."""

    @property
    def inodes(self) -> Inodes: ...

    @property
    def owners(self) -> Interned[tuple[str, str]]: ...

    @property
    def targets(self) -> Arena[bytes, bytes]: ...

    def may(self, caller: Caller, slot: int, wanted: int) -> bool:
        """Has the caller these rights?"""

    def directory(self, slot: int) -> Entries:
        """The names in a directory."""


def access_denied(
    tree: NameTree, caller: Caller, slot: int, wanted: int, path: bytes
) -> AccessDeniedError:
    """``slot`` lacks some of ``wanted`` for the caller, who gave ``path``."""
    if wanted == CHANGE:  # HDFS asks for each by itself
        wanted = WRITE if tree.may(caller, slot, SEARCH) else SEARCH
    return AccessDeniedError(
        f"Permission denied: user={caller.user}, access={_ACTIONS[wanted]}, "
        f"inode={_inode(tree, slot, path)}",
        path=text(path) or None,
    )


def not_owner(tree: NameTree, caller: Caller, slot: int, path: bytes) -> NotPermittedError:
    """Only the owner of ``slot`` and superusers may do this."""
    return NotPermittedError(
        f"Permission denied. user={caller.user} is not the owner of "
        f"inode={_path_to(tree, slot, path)}",
        path=text(path) or None,
    )


def sticky(
    tree: NameTree, caller: Caller, slot: int, parent: int, path: bytes
) -> NotPermittedError:
    """The sticky bit of ``parent`` keeps ``slot`` for its owner."""
    return NotPermittedError(
        f"Permission denied by sticky bit: user={caller.user}, path={_inode(tree, slot, path)}, "
        f"parent={_inode(tree, parent, path)}",
        path=text(path) or None,
    )


def names_kept(
    tree: NameTree, caller: Caller, slot: int, kept: int, path: bytes
) -> NotPermittedError:
    """The sticky bit of ``slot`` keeps so many of its names for their owners."""
    return NotPermittedError(
        f"Permission denied by sticky bit: user={caller.user}, names of others: {kept}, "
        f"parent={_inode(tree, slot, path)}",
        path=text(path) or None,
    )


def not_superuser(caller: Caller, path: bytes = b"") -> NotPermittedError:
    """Only superusers may do this."""
    return NotPermittedError(
        f"Access denied for user {caller.user}. Superuser privilege is required",
        path=text(path) or None,
    )


def text(path: bytes) -> str:
    """A path for a message."""
    return path[: limits.PATH_BYTES].decode("utf-8", "replace")


def _inode(tree: NameTree, slot: int, path: bytes) -> str:
    """``"/path":owner:group:drwxr-xr-x``, with ``+`` for an access control list."""
    owner, group = tree.owners.values[tree.inodes.owner[slot]]
    mode = tree.inodes.mode[slot]
    kind = FileKind(tree.inodes.kind[slot]).type_bits
    letters = stat.filemode(kind | mode & MODE_BITS)
    return (
        f'"{_path_to(tree, slot, path)}":{owner}:{group}:{letters}{"+" if mode & HAS_ACL else ""}'
    )


def _path_to(tree: NameTree, slot: int, path: bytes) -> str:
    """The prefix of ``path`` that leads to ``slot``; its number where none does, as from a handle.

    The path is walked again, since finding the name of a slot would scan its whole directory.
    """
    inodes = tree.inodes
    kinds, extra = inodes.kind, inodes.extra
    at, names, follows = ROOT, [b""], 0
    parts = split(path)
    parts.reverse()
    while at != slot and parts and kinds[at] == DIRECTORY:
        name = parts.pop()
        if name == b"..":
            at = inodes.parent[at]
            if len(names) > 1:
                names.pop()
            continue
        child = tree.directory(at).get(name)
        if kinds[child] == SYMLINK and child != slot:
            follows += 1
            if follows > limits.SYMLINK_FOLLOWS:
                break
            target = tree.targets.items[extra[child]]
            parts += reversed(split(target))
            if target.startswith(b"/"):
                at, names = ROOT, [b""]
            continue
        at = child or NOWHERE
        names.append(name)
    if at != slot:
        return f"{BY_INODE}{inodes.id_of(slot)}"
    return text(b"/".join(names) if len(names) > 1 else b"/")
