"""Local files as targets of a copy: what becomes of what lies there already.

Owns the rules, which are those of cp(1): a file keeps its inode's owner, mode and further names and
takes new content, a symlink is written through, a directory or a special file is never replaced.
Invariant: a file has new content only when all of it has arrived.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from memfs.client.transfer.cluster_target import DANGLING
from memfs.client.transfer.copying import Item, part_of
from memfs.limits import SYMLINK_FOLLOWS

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_UNREPLACEABLE = (errno.EBUSY, errno.EPERM, errno.EACCES, errno.EROFS, errno.EXDEV)
"""What tells that a name cannot be given to another inode: a mount point, a directory of others."""


class LocalPlace(NamedTuple):
    """Where a file's content goes."""

    path: str
    """The target, or what its symbolic links lead to."""
    found: os.stat_result | None
    """The file that is there."""
    fixed: bool = False
    """It is a file that only a descriptor still names."""


def find_place(target: str) -> LocalPlace:
    """Follow ``target`` as cp does.

    Raises OSError for a directory, a special file, a link that leads nowhere, and a file that must
    not be written.
    """
    path, fixed = target, False
    for _ in range(SYMLINK_FOLLOWS):
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            if path != target:
                raise OSError(errno.ENOENT, DANGLING, target) from None
            return LocalPlace(path, None)
        if not stat.S_ISLNK(found.st_mode):
            break
        if _is_descriptor(found):
            found, fixed = os.stat(path), True  # noqa: PTH116
            break
        path = os.path.join(os.path.dirname(path), os.readlink(path))  # noqa: PTH115, PTH118, PTH120
    else:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), target)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a file, directory or symbolic link", target)
    os.close(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
    return LocalPlace(path, found, fixed)


def _is_descriptor(found: os.stat_result) -> bool:
    """Whether a link is one of those in ``/proc`` that lead to an open file, not to a name."""
    with contextlib.suppress(OSError):
        return found.st_dev == os.stat("/proc/self/").st_dev  # noqa: PTH116
    return False


@contextlib.contextmanager
def completed(item: Item) -> Iterator[tuple[int, str]]:
    """Descriptor and name of a new local file, which becomes the target at a good end only."""
    place = find_place(item.target)
    descriptor, part = _open_part(place, item.mode & 0o777)
    try:
        try:
            yield descriptor, part
        finally:
            os.close(descriptor)
        _publish(part, place)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _open_part(place: LocalPlace, mode: int) -> tuple[int, str]:
    """A file beside the target, or elsewhere when only the target itself may be written."""
    part = part_of(place.path)
    try:
        return os.open(part, _NEW, mode), part
    except OSError:
        if place.found is None:
            raise
        return tempfile.mkstemp(prefix="memfs-")


def _publish(part: str, place: LocalPlace) -> None:
    if place.found is None:
        Path(part).replace(place.path)
        return
    if place.found.st_nlink == 1 and not place.fixed and _inherits(part, place):
        try:
            Path(part).replace(place.path)
            return
        except OSError as error:
            if error.errno not in _UNREPLACEABLE:
                raise
    _write_through(part, place.path)
    Path(part).unlink()


def _inherits(part: str, place: LocalPlace) -> bool:
    """Make ``part`` all that the target is but for its content; whether that is possible."""
    found = place.found
    assert found is not None
    made = os.stat(part)  # noqa: PTH116
    try:
        if (made.st_uid, made.st_gid) != (found.st_uid, found.st_gid):
            os.chown(part, found.st_uid, found.st_gid)
        Path(part).chmod(stat.S_IMODE(found.st_mode))
        for name in os.listxattr(place.path):
            os.setxattr(part, name, os.getxattr(place.path, name))
    except OSError as error:
        return error.errno == errno.ENOTSUP
    return True


def _write_through(part: str, path: str) -> None:
    """Copy into the inode that is there, once there is room for all of it."""
    with Path(part).open("rb") as source, Path(path).open("r+b") as target:
        size, before = os.fstat(source.fileno()).st_size, os.fstat(target.fileno()).st_size
        if size > before:
            try:
                os.posix_fallocate(target.fileno(), before, size - before)
            except OSError:
                target.truncate(before)
                raise
        shutil.copyfileobj(source, target, 1 << 20)
        target.truncate(size)
