"""A process that serves until it is told to stop: the signals for that, and the parent's end.

Shared by ``memfs node`` and ``memfs gateway``; knows neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal

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
