"""What the kernel asks: a structure for the fixed part of each request that has one."""

from __future__ import annotations

from typing import NamedTuple

from memfs.fuse.kernel.structures import Structure


class InitIn(NamedTuple):
    """What the kernel is, and can."""

    major: int
    minor: int
    max_readahead: int
    flags: int
    flags2: int


INIT_IN = Structure("fuse_init_in", InitIn, "IIIII44x")


class GetattrIn(NamedTuple):
    """Of GETATTR."""

    getattr_flags: int
    fh: int


GETATTR_IN = Structure("fuse_getattr_in", GetattrIn, "I4xQ")


class SetattrIn(NamedTuple):
    """Of SETATTR; ``valid`` says which fields count."""

    valid: int
    fh: int
    size: int
    lock_owner: int
    atime: int
    mtime: int
    ctime: int
    atimensec: int
    mtimensec: int
    ctimensec: int
    mode: int
    uid: int
    gid: int


SETATTR_IN = Structure("fuse_setattr_in", SetattrIn, "I4xQQQqqqIIII4xII4x")


class MknodIn(NamedTuple):
    """Of MKNOD, before the name."""

    mode: int
    rdev: int
    umask: int


MKNOD_IN = Structure("fuse_mknod_in", MknodIn, "III4x")


class MkdirIn(NamedTuple):
    """Of MKDIR, before the name."""

    mode: int
    umask: int


MKDIR_IN = Structure("fuse_mkdir_in", MkdirIn, "II")


class RenameIn(NamedTuple):
    """Of RENAME, before both names."""

    newdir: int


RENAME_IN = Structure("fuse_rename_in", RenameIn, "Q")


class Rename2In(NamedTuple):
    """Of RENAME2, before both names."""

    newdir: int
    flags: int


RENAME2_IN = Structure("fuse_rename2_in", Rename2In, "QI4x")


class LinkIn(NamedTuple):
    """Of LINK, before the name."""

    oldnodeid: int


LINK_IN = Structure("fuse_link_in", LinkIn, "Q")


class OpenIn(NamedTuple):
    """Of OPEN and OPENDIR."""

    flags: int
    open_flags: int


OPEN_IN = Structure("fuse_open_in", OpenIn, "II")


class CreateIn(NamedTuple):
    """Of CREATE, before the name, and of TMPFILE."""

    flags: int
    mode: int
    umask: int
    open_flags: int


CREATE_IN = Structure("fuse_create_in", CreateIn, "IIII")


class ReleaseIn(NamedTuple):
    """Of RELEASE and RELEASEDIR."""

    fh: int
    flags: int
    release_flags: int
    lock_owner: int


RELEASE_IN = Structure("fuse_release_in", ReleaseIn, "QIIQ")


class FlushIn(NamedTuple):
    """Of FLUSH."""

    fh: int
    lock_owner: int


FLUSH_IN = Structure("fuse_flush_in", FlushIn, "Q8xQ")


class ReadIn(NamedTuple):
    """Of READ, READDIR and READDIRPLUS."""

    fh: int
    offset: int
    size: int
    read_flags: int
    lock_owner: int
    flags: int


READ_IN = Structure("fuse_read_in", ReadIn, "QQIIQI4x")


class WriteIn(NamedTuple):
    """Of WRITE, before the bytes."""

    fh: int
    offset: int
    size: int
    write_flags: int
    lock_owner: int
    flags: int


WRITE_IN = Structure("fuse_write_in", WriteIn, "QQIIQI4x")


class FsyncIn(NamedTuple):
    """Of FSYNC and FSYNCDIR."""

    fh: int
    fsync_flags: int


FSYNC_IN = Structure("fuse_fsync_in", FsyncIn, "QI4x")


class SetxattrIn(NamedTuple):
    """Of SETXATTR, before name and value."""

    size: int
    flags: int
    setxattr_flags: int


SETXATTR_IN = Structure("fuse_setxattr_in", SetxattrIn, "III4x")


class GetxattrIn(NamedTuple):
    """Of GETXATTR, before the name, and of LISTXATTR."""

    size: int


GETXATTR_IN = Structure("fuse_getxattr_in", GetxattrIn, "I4x")


class LkIn(NamedTuple):
    """Of GETLK, SETLK and SETLKW."""

    fh: int
    owner: int
    start: int
    end: int
    type: int
    pid: int
    lk_flags: int


LK_IN = Structure("fuse_lk_in", LkIn, "QQQQIII4x")


class AccessIn(NamedTuple):
    """Of ACCESS."""

    mask: int


ACCESS_IN = Structure("fuse_access_in", AccessIn, "I4x")


class InterruptIn(NamedTuple):
    """Of INTERRUPT."""

    unique: int


INTERRUPT_IN = Structure("fuse_interrupt_in", InterruptIn, "Q")


class IoctlIn(NamedTuple):
    """Of IOCTL, before the argument's bytes."""

    fh: int
    flags: int
    cmd: int
    arg: int
    in_size: int
    out_size: int


IOCTL_IN = Structure("fuse_ioctl_in", IoctlIn, "QIIQII")


class FallocateIn(NamedTuple):
    """Of FALLOCATE."""

    fh: int
    offset: int
    length: int
    mode: int


FALLOCATE_IN = Structure("fuse_fallocate_in", FallocateIn, "QQQI4x")


class LseekIn(NamedTuple):
    """Of LSEEK: SEEK_DATA or SEEK_HOLE."""

    fh: int
    offset: int
    whence: int


LSEEK_IN = Structure("fuse_lseek_in", LseekIn, "QQI4x")


class CopyFileRangeIn(NamedTuple):
    """Of COPY_FILE_RANGE."""

    fh_in: int
    off_in: int
    nodeid_out: int
    fh_out: int
    off_out: int
    len: int
    flags: int


COPY_FILE_RANGE_IN = Structure("fuse_copy_file_range_in", CopyFileRangeIn, "QQQQQQQ")


class ForgetIn(NamedTuple):
    """Of FORGET."""

    nlookup: int


FORGET_IN = Structure("fuse_forget_in", ForgetIn, "Q")


class BatchForgetIn(NamedTuple):
    """Of BATCH_FORGET, before so many ``fuse_forget_one``."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which no record needs


BATCH_FORGET_IN = Structure("fuse_batch_forget_in", BatchForgetIn, "I4x")


class ForgetOne(NamedTuple):
    """One node of a BATCH_FORGET."""

    nodeid: int
    nlookup: int


FORGET_ONE = Structure("fuse_forget_one", ForgetOne, "QQ")
