"""A process that serves until it is told to stop: its signals, its parent's end, its memory.

Shared by ``memfs node``, ``memfs gateway`` and the workers of mounts; knows none of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable

from memfs import limits
from memfs.logs import fields
from memfs.machine import Footprint, footprint, trim_malloc
from memfs.paths import Endpoint

KEPT_BYTES = 64 * limits.MIB
"""Most freed memory at the end of the heap: the buffers of a few busy streams."""
HEAP_BYTES_MAX = 32 * limits.MIB
"""What is larger is mapped by itself: the most that glibc allows."""

TRIM_SECONDS = 30.0
TRIM_BYTES = 256 * limits.MIB
"""A smaller process keeps what it has freed."""

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop_signals(noticed: Callable[[int], None] = lambda number: None) -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; ``noticed`` is called at once. The next signal has its
    usual, immediate effect.
    """
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop(number: int) -> None:
        noticed(number)
        stopping.set()
        for each in SIGNALS:
            loop.remove_signal_handler(each)

    for number in SIGNALS:
        loop.add_signal_handler(number, stop, number)
    return stopping


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Ask the kernel for a signal when the parent process ends."""
    import ctypes

    set_parent_death_signal = 1
    with contextlib.suppress(AttributeError):  # a C library without prctl
        ctypes.CDLL(None).prctl(set_parent_death_signal, number)


def warn_insecure(where: Endpoint) -> None:
    """Put on record what the setting ``insecure`` means at this address."""
    log.warning(
        "insecure: whoever reaches this address reads and changes all files, under any user's name",
        extra=fields(address=where),
    )


def keep_freed_memory() -> None:
    """Let the C library keep freed buffers instead of unmapping each of them.

    By default whatever exceeds 128 KiB is mapped anew: the page faults of an upload's buffers then
    cost more than receiving it. What lies between living objects it keeps for good, unless it is
    told to :func:`give_freed_memory_back`.
    """
    import ctypes

    trim_threshold, mmap_threshold = -1, -3
    with contextlib.suppress(AttributeError):  # a C library without mallopt
        library = ctypes.CDLL(None)
        library.mallopt(trim_threshold, KEPT_BYTES)
        library.mallopt(mmap_threshold, HEAP_BYTES_MAX)


@contextlib.asynccontextmanager
async def give_freed_memory_back(
    seconds: float = TRIM_SECONDS,
    measure: Callable[[], Footprint] = footprint,
    trim: Callable[[], None] = trim_malloc,
) -> AsyncIterator[None]:
    """Meanwhile a large process gives its freed memory back to the system, every so many
    seconds."""
    trimming = asyncio.create_task(_trim(seconds, measure, trim), name="trim")
    try:
        yield
    finally:
        trimming.cancel()
        await asyncio.gather(trimming, return_exceptions=True)


async def _trim(seconds: float, measure: Callable[[], Footprint], trim: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        if measure().anonymous > TRIM_BYTES:
            await asyncio.to_thread(trim)  # to free 1 GiB takes the kernel 0.14 s


def free_wreckage() -> None:
    """Have the collector look for what nobody needs, and give it back."""
    gc.collect()
    trim_malloc()


def set_aside_what_lives_long() -> None:
    """Keep Python's cyclic collector away from what is there now: it looks at the rest only."""
    gc.collect()
    gc.freeze()
