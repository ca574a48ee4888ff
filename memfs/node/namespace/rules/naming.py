"""Places of names to be made, moved or removed: the rules for last components and missing parents.

As Linux, errors included: the last component of such a path is never followed when it is a symlink,
trailing slashes insist on a directory, and ``.``, ``..`` and the root cannot be moved or removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memfs.errors import (
    InvalidArgumentError,
    IsDirectoryError,
    NotDirectoryError,
    PathExistsError,
    PathNotFoundError,
    RequestError,
)
from memfs.node.namespace.rules.permissions import CHANGE
from memfs.node.namespace.rules.quotas import check_growth
from memfs.node.namespace.rules.refusals import text
from memfs.node.namespace.tables.inodes import DIRECTORY
from memfs.node.namespace.tables.tree import Make, Place, ends_as_directory
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.paths import check_name

PARENT_MODE = 0o755
"""Mode of directories that are made on the way (``parents``), but for a default list."""

_PARENT_UNMASKED = 0o777
_OWNER_CHANGES = CHANGE << 6  # whatever a default list says: the way goes on below


Refusal = Callable[[bytes, bytes], RequestError]
"""Makes the error for (path, its last component): ``.``, ``..`` or, of the root, empty."""


def no_name(path: bytes, last: bytes) -> RequestError:
    """An argument that is out of place."""
    return InvalidArgumentError("the path does not end in a name", path=text(path))


def unnamed(path: bytes) -> bytes | None:
    """The last component when it is ``.``, ``..`` or, of the root, empty; None: it is a name."""
    last = path.rstrip(b"/").rpartition(b"/")[2]
    return last if last in (b"", b".", b"..") else None


def check_way(volume: Volume, command: Command, base: int, path: bytes) -> None:
    """Walk to the directory of the last component. Raises what ``Tree.locate`` does."""
    above, slash, _ = path.rstrip(b"/").rpartition(b"/")
    if above:
        volume.tree.find(command.caller, base, above + slash)


def entry_of(
    volume: Volume,
    command: Command,
    base: int,
    path: bytes,
    refusal: Refusal = no_name,
    *,
    must_be_directory: bool = True,
) -> Place:
    """The place of a name to be made, removed or moved; it need not exist.

    With ``must_be_directory`` a slash at the end refuses what exists and is none.

    Raises what ``Tree.locate`` does, and ``refusal`` for ``.``, ``..`` and the root.
    """
    last = unnamed(path)
    if last is not None:
        check_way(volume, command, base, path)
        raise refusal(path, last)
    bare = path.rstrip(b"/")
    place = volume.tree.locate(command.caller, base, bare, follow=False)
    slot = place[2]
    slashes = must_be_directory and len(bare) != len(path)
    if slot and slashes and volume.tree.inodes.kind[slot] != DIRECTORY:
        raise NotDirectoryError("not a directory", path=text(path))
    return place


def existing_entry_of(
    volume: Volume, command: Command, base: int, path: bytes, refusal: Refusal = no_name
) -> Place:
    """As :func:`entry_of`; raises PathNotFoundError when there is nothing of that name."""
    place = entry_of(volume, command, base, path, refusal)
    if not place[2]:
        raise PathNotFoundError("no such file or directory", path=text(path))
    return place


def free_place_of(
    volume: Volume,
    command: Command,
    base: int,
    path: bytes,
    make: Make | None = None,
    *,
    replace: bool = False,
) -> Place:
    """The place of a new name of something that is no directory; with ``replace`` one that may be
    taken.

    Raises what ``Tree.locate`` does, PathExistsError for any name that is taken, whatever slashes
    follow it, else PathNotFoundError when some do.
    """
    bare = path.rstrip(b"/") or path
    place = volume.tree.locate(command.caller, base, bare, False, make)
    if place[2]:
        if not replace:
            raise PathExistsError("the name is taken", path=text(path))
        if unnamed(path) is not None:
            raise IsDirectoryError("is a directory", path=text(path))
        if len(bare) != len(path):
            raise NotDirectoryError("not a directory", path=text(path))
    elif ends_as_directory(path):
        raise PathNotFoundError("no such directory", path=text(path))
    return place


def check_replaced(volume: Volume, command: Command, place: Place, path: bytes) -> None:
    """May something that is no directory take this name from what has it, as in rename(2)?"""
    parent, _, old = place
    volume.check_removal(command.caller, parent, old, path)
    if volume.tree.inodes.kind[old] == DIRECTORY:
        raise IsDirectoryError("is a directory", path=text(path))


def place_of_file(
    volume: Volume, command: Command, base: int, path: bytes, follow: bool, make: Make | None
) -> Place:
    """The place of a file that is made unless it is there (O_CREAT); ``name/`` is none.

    Raises what ``Tree.locate`` does, IsDirectoryError, PathNotFoundError.
    """
    if path.endswith(b"/") and unnamed(path) is None:
        volume.tree.locate(command.caller, base, path.rstrip(b"/"), False)
        raise IsDirectoryError("a file's name has no slash at its end", path=text(path))
    place = volume.tree.locate(command.caller, base, path, follow, make)
    if not place[2] and ends_as_directory(path):
        raise PathNotFoundError("no such directory", path=text(path))
    return place


def check_new_name(
    volume: Volume, command: Command, place: Place, path: bytes, space: int = 0
) -> None:
    """May the caller make this free name? Raises AccessDeniedError, QuotaExceededError..."""
    check_name(place[1])
    if volume.mounts:
        volume.mounts.check_writable(volume.tree, place[0], path)
    volume.tree.require(command.caller, place[0], CHANGE, path)
    check_growth(volume.tree, place[0], 1, space, path)
    volume.check_inodes(command, 1, path)


def maker(volume: Volume, command: Command, path: bytes, space: int = 0) -> Make:
    """What makes the missing directories of a path, after checking that it can make all of them.

    ``space``: what the file at the end will take, replicas counted.
    """

    def make(parent: int, name: bytes, rest: list[bytes]) -> int:
        check_missing(volume, command, path, parent, (name, *rest), space)
        slot = volume.make_directory(command, parent, name, PARENT_MODE, _PARENT_UNMASKED)
        volume.tree.set_mode(slot, volume.tree.inodes.mode[slot] | _OWNER_CHANGES)
        volume.changed(command, slot)
        return slot

    return make


def check_missing(
    volume: Volume,
    command: Command,
    path: bytes,
    parent: int,
    missing: Sequence[bytes],
    space: int,
) -> None:
    """May the components ``missing`` of a path be made below ``parent``?"""
    for component in missing:
        check_name(component)
    volume.tree.check_depth(parent, len(missing))
    if volume.mounts:
        volume.mounts.check_writable(volume.tree, parent, path)
    volume.tree.require(command.caller, parent, CHANGE, path)
    check_growth(volume.tree, parent, len(missing), space, path)
    volume.check_inodes(command, len(missing), path)


def maker_unless_directory(
    volume: Volume, command: Command, path: bytes, parents: bool, space: int = 0
) -> Make | None:
    """The maker for a path that must not name a directory in the end."""
    wanted = parents and not ends_as_directory(path)
    return maker(volume, command, path, space) if wanted else None
