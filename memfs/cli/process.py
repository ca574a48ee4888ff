"""A process that serves until it is told to stop: its signals, its parent's end, its memory.

Shared by ``memfs node`` and ``memfs gateway``; knows neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal

from memfs import limits

KEPT_BYTES = 64 * limits.MIB
"""Most freed memory at the end of the heap: the buffers of a few busy streams."""
HEAP_BYTES_MAX = 32 * limits.MIB
"""What is larger is mapped by itself: the most that glibc allows."""

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop_signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the next one has its usual, immediate effect."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop() -> None:
        stopping.set()
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    for number in SIGNALS:
        loop.add_signal_handler(number, stop)
    return stopping


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the process that started this one is gone."""
    import ctypes

    set_parent_death_signal = 1
    with contextlib.suppress(AttributeError):  # a C library without prctl
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)


def keep_freed_memory() -> None:
    """Let the C library keep freed buffers instead of unmapping each of them.

    By default whatever exceeds 128 KiB is mapped anew: the page faults of an upload's buffers then
    cost more than receiving it.
    """
    import ctypes

    trim_threshold, mmap_threshold = -1, -3
    with contextlib.suppress(AttributeError):  # a C library without mallopt
        library = ctypes.CDLL(None)
        library.mallopt(trim_threshold, KEPT_BYTES)
        library.mallopt(mmap_threshold, HEAP_BYTES_MAX)
