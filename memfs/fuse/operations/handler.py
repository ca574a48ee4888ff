"""What a handler is: a request in, the parts of its reply out. Pure.

A handler that knows the answer returns it; one that must wait returns an awaitable, which the
server runs as a task (that costs as much as a small read); for a request without a reply it returns
None. A reply that is returned at once may lie in memory that the next request uses again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from memfs.fuse.kernel.protocol import InHeader
from memfs.fuse.mount import MountSession
from memfs.types import Buffer

Parts: TypeAlias = tuple[Buffer, ...]
Reply: TypeAlias = "Parts | Awaitable[Parts] | None"
Handler: TypeAlias = Callable[[MountSession, InHeader, bytes], Reply]

DONE: Parts = ()
"""The reply of requests whose only answer is success."""


def name_at(body: bytes, offset: int = 0) -> bytes:
    """The name that begins at ``offset``, without the NUL behind it."""
    return body[offset : body.index(b"\0", offset)]


def two_names_at(body: bytes, offset: int) -> tuple[bytes, bytes]:
    """Two names, one after the other."""
    first = name_at(body, offset)
    return first, name_at(body, offset + len(first) + 1)


def failure(number: int) -> OSError:
    """An error for the program that asked."""
    return OSError(number, os.strerror(number))


def check_utf8(raw: bytes) -> bytes:
    """The same bytes. Raises EILSEQ: names in the cluster are UTF-8."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        raise failure(errno.EILSEQ) from None
    return raw
