"""What the server answers and tells: replies, notifications, ioctls of the device."""

from __future__ import annotations

from typing import Final, NamedTuple

from memfs.fuse.kernel.structures import ATTR, Structure


class InitOut(NamedTuple):
    """What was agreed on."""

    major: int
    minor: int
    max_readahead: int
    flags: int
    max_background: int
    congestion_threshold: int
    max_write: int
    time_gran: int
    max_pages: int
    map_alignment: int
    flags2: int
    max_stack_depth: int


INIT_OUT = Structure("fuse_init_out", InitOut, "IIIIHHIIHHII24x")


class EntryOut(NamedTuple):
    """A name, and what it means: the attributes follow as ``fuse_attr``."""

    nodeid: int
    generation: int
    entry_valid: int
    attr_valid: int
    entry_valid_nsec: int
    attr_valid_nsec: int


ENTRY_OUT = Structure("fuse_entry_out", EntryOut, "QQQQII")
ENTRY_OUT_SIZE: Final = ENTRY_OUT.size + ATTR.size


class AttrOut(NamedTuple):
    """How long the attributes are good, which follow as ``fuse_attr``."""

    attr_valid: int
    attr_valid_nsec: int


ATTR_OUT = Structure("fuse_attr_out", AttrOut, "QI4x")


class OpenOut(NamedTuple):
    """An open file; of CREATE it follows the entry."""

    fh: int
    open_flags: int
    backing_id: int


OPEN_OUT = Structure("fuse_open_out", OpenOut, "QIi")


class WriteOut(NamedTuple):
    """Bytes written."""

    size: int


WRITE_OUT = Structure("fuse_write_out", WriteOut, "I4x")


class StatfsOut(NamedTuple):
    """Of STATFS: ``fuse_kstatfs``."""

    blocks: int
    bfree: int
    bavail: int
    files: int
    ffree: int
    bsize: int
    namelen: int
    frsize: int


STATFS_OUT = Structure("fuse_kstatfs", StatfsOut, "QQQQQIII28x")


class GetxattrOut(NamedTuple):
    """How much room a value, or a list of names, needs."""

    size: int


GETXATTR_OUT = Structure("fuse_getxattr_out", GetxattrOut, "I4x")


class IoctlOut(NamedTuple):
    """Of IOCTL, before the bytes that go out."""

    result: int
    flags: int
    in_iovs: int
    out_iovs: int


IOCTL_OUT = Structure("fuse_ioctl_out", IoctlOut, "iIII")


class LseekOut(NamedTuple):
    """Where data, or a hole, begins."""

    offset: int


LSEEK_OUT = Structure("fuse_lseek_out", LseekOut, "Q")


class Dirent(NamedTuple):
    """One entry of a directory, before its name, which is padded to eight bytes."""

    ino: int
    off: int
    """Where reading goes on after it."""
    namelen: int
    type: int
    """DT_*: the file's type bits shifted right by twelve."""


DIRENT = Structure("fuse_dirent", Dirent, "QQII")


# --- notifications -----------------------------------------------------------------------------


class InvalInodeOut(NamedTuple):
    """Forget attributes, and data from ``off`` on (below 0: none)."""

    ino: int
    off: int
    len: int


NOTIFY_INVAL_INODE_OUT = Structure("fuse_notify_inval_inode_out", InvalInodeOut, "Qqq")


class InvalEntryOut(NamedTuple):
    """Forget a name, which follows with a NUL."""

    parent: int
    namelen: int
    flags: int


NOTIFY_INVAL_ENTRY_OUT = Structure("fuse_notify_inval_entry_out", InvalEntryOut, "QII")


class DeleteOut(NamedTuple):
    """A name is gone, which follows with a NUL."""

    parent: int
    child: int
    namelen: int


NOTIFY_DELETE_OUT = Structure("fuse_notify_delete_out", DeleteOut, "QQI4x")


# --- ioctls of the device ----------------------------------------------------------------------


class BackingMap(NamedTuple):
    """A descriptor that the kernel may read by itself."""

    fd: int
    flags: int


BACKING_MAP = Structure("fuse_backing_map", BackingMap, "iI8x")
