"""What this server and a kernel agree on when they meet. Pure.

Everything that a kernel of Linux 5.4 or later offers and that this server understands is taken;
what is missing costs speed, never correctness.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from memfs import limits
from memfs.fuse.kernel.protocol import (
    MAJOR,
    MINOR,
    MINOR_MIN,
    MINOR_ORDERED,
    InitFlag,
    InitIn,
    InitOut,
)

WRITE_BYTES: Final = 1 * limits.MIB
"""Most bytes of one request: what the kernel's MAX_PAGES allows (256 pages)."""
PAGE_BYTES: Final = 4096
BACKGROUND: Final = 128
"""Reads ahead and asynchronous requests under way at once: 128 MiB of 1 MiB each."""

ALWAYS: Final = (
    InitFlag.ASYNC_READ
    | InitFlag.ATOMIC_O_TRUNC
    | InitFlag.EXPORT_SUPPORT
    | InitFlag.BIG_WRITES
    | InitFlag.DONT_MASK
    | InitFlag.AUTO_INVAL_DATA
    | InitFlag.DO_READDIRPLUS
    | InitFlag.READDIRPLUS_AUTO
    | InitFlag.ASYNC_DIO
    | InitFlag.PARALLEL_DIROPS
    | InitFlag.MAX_PAGES
    | InitFlag.CACHE_SYMLINKS
    | InitFlag.HANDLE_KILLPRIV_V2
    | InitFlag.SETXATTR_EXT
    | InitFlag.INIT_EXT
    | InitFlag.CREATE_SUPP_GROUP
    | InitFlag.DIRECT_IO_ALLOW_MMAP
    | InitFlag.HAS_RESEND
)


class Agreement(NamedTuple):
    """The agreed features."""

    flags: int
    """All 64 bits."""
    minor: int

    def has(self, flag: InitFlag) -> bool:
        """Whether a feature was agreed on."""
        return bool(self.flags & flag)

    @property
    def keeps_order(self) -> bool:
        """Whether attributes that are withdrawn while a reply with them is on its way stay
        withdrawn: since Linux 5.8, which the version tells apart from 5.10 on."""
        return self.minor >= MINOR_ORDERED

    def reply(self, readahead: int) -> InitOut:
        """The answer to INIT. ``readahead``: most bytes that the kernel may read ahead."""
        return InitOut(
            major=MAJOR,
            minor=self.minor,
            max_readahead=readahead,
            flags=self.flags & 0xFFFFFFFF,
            max_background=BACKGROUND,
            congestion_threshold=BACKGROUND * 3 // 4,
            max_write=WRITE_BYTES,
            time_gran=1,
            max_pages=WRITE_BYTES // PAGE_BYTES,
            map_alignment=0,
            flags2=self.flags >> 32,
            max_stack_depth=0,
        )

    def text(self) -> str:
        """For a process that takes over."""
        return f"{self.minor} {self.flags:x}"

    @classmethod
    def of_text(cls, text: str) -> Agreement:
        """The inverse of :meth:`text`."""
        minor, flags = text.split()
        return cls(int(flags, 16), int(minor))


def agree(said: InitIn, *, writeback: bool, acls: bool, locks: bool) -> Agreement | None:
    """The agreement with a kernel that said so; None when it is too old.

    ``writeback``: the kernel gathers writes; ``acls``: it checks access control lists; ``locks``:
    they are kept in the cluster.
    """
    if said.major != MAJOR or said.minor < MINOR_MIN:
        return None
    offered = said.flags
    if offered & InitFlag.INIT_EXT:
        offered |= said.flags2 << 32
    wanted = ALWAYS
    if writeback:
        wanted |= InitFlag.WRITEBACK_CACHE
    if acls:
        wanted |= InitFlag.POSIX_ACL
    if locks:
        wanted |= InitFlag.POSIX_LOCKS | InitFlag.FLOCK_LOCKS
    return Agreement(offered & wanted, min(MINOR, said.minor))
