"""ioctl: the attributes of ``lsattr``, of which no file has any."""

from __future__ import annotations

import errno
from typing import Final

from memfs.fuse.kernel.protocol import IOCTL_IN, IOCTL_OUT, InHeader, Opcode
from memfs.fuse.mount import MountSession
from memfs.fuse.operations.handler import Handler, Parts, failure

GETFLAGS: Final = 0x80086601
GETFLAGS_32: Final = 0x80046601
GETXATTR: Final = 0x801C581F
"""``FS_IOC_*`` of linux/fs.h."""
_ANSWERED: Final = frozenset((GETFLAGS, GETFLAGS_32, GETXATTR))


def control(mount: MountSession, header: InHeader, body: bytes) -> Parts:
    """ioctl."""
    asked = IOCTL_IN.unpack(body)
    if asked.cmd not in _ANSWERED:
        raise failure(errno.ENOTTY)
    return (IOCTL_OUT.pack(0, 0, 0, 0), bytes(asked.out_size))


HANDLERS: Final[dict[int, Handler]] = {Opcode.IOCTL: control}
