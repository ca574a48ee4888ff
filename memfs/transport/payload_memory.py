"""Memory for payloads that nobody has a place for."""

from __future__ import annotations

import mmap

from memfs import limits

_MAPPED_FROM_BYTES = 256 * limits.KIB


def fresh_memory(length: int) -> memoryview:
    """Writable memory of ``length`` bytes.

    Large memory is mapped: its pages cost nothing before bytes arrive in them, so a header that
    merely announces a payload of 64 MiB takes no memory.
    """
    if length < _MAPPED_FROM_BYTES:
        return memoryview(bytearray(length))
    return memoryview(mmap.mmap(-1, length))
