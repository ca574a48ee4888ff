"""Memory for payloads without a destination of their own. Owns a pool of memory of earlier replies:
having the kernel clear and map new pages costs more than receiving the bytes. Invariant: memory is
reused only when no view of it is left; the pool is bounded, and the kernel may reclaim the pages of
all but its newest pieces. Offering a piece costs more than filling it, and whoever reads batch
after batch takes the newest ones again.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import weakref
from collections import deque

from memfs import limits

_MAPPED_FROM_BYTES = 256 * limits.KIB
KEPT = 8
"""Pooled pieces of one process, 64 MiB at most. Each holds a reply with a batch of small files."""
WARM = 2
"""Of them, those that the kernel may not reclaim: 16 MiB at most."""
_KEPT_BYTES_MOST = limits.WHOLE_REPLY_BYTES
_warm: deque[mmap.mmap] = deque()
"""The newest free pieces, the newest last. Removed and added by atomic operations: loops may run in
several threads, and views may end in any."""
_cold: deque[mmap.mmap] = deque()
"""The other free pieces."""


def fresh_memory(length: int) -> memoryview:
    """Writable memory of ``length`` bytes.

    Large memory is mapped: its pages cost nothing before bytes arrive in them, so a header that
    merely announces a payload of 64 MiB takes no memory.
    """
    if length < _MAPPED_FROM_BYTES:
        return memoryview(bytearray(length))
    return memoryview(mmap.mmap(-1, length))


def reply_memory(length: int) -> memoryview:
    """As :func:`fresh_memory`, but for a payload that fills it: it may hold bytes of others."""
    if not _MAPPED_FROM_BYTES <= length <= _KEPT_BYTES_MOST:
        return fresh_memory(length)
    size = 1 << (length - 1).bit_length()
    memory = _unused(size)
    if memory is None:  # of this process alone: a forked child receives into copies
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    array = (ctypes.c_ubyte * size).from_buffer(memory)
    weakref.finalize(array, _keep, memory).atexit = False
    return memoryview(array).cast("B")[:length]


def _unused(size: int) -> mmap.mmap | None:
    """A pooled piece of ``size``, the newest there is, or None."""
    for pool in (_warm, _cold):
        for _ in range(len(pool)):
            with contextlib.suppress(IndexError):  # another thread was faster
                memory = pool.pop()
                if len(memory) == size:
                    return memory
                pool.appendleft(memory)
    return None


def _keep(memory: mmap.mmap) -> None:
    if len(_warm) + len(_cold) >= KEPT:
        return
    _warm.append(memory)
    if len(_warm) > WARM:
        with contextlib.suppress(IndexError):  # another thread was faster
            oldest = _warm.popleft()
            oldest.madvise(mmap.MADV_FREE)
            _cold.append(oldest)
