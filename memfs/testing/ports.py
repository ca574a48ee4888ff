"""Ports for servers under test: free now, and not the next outgoing connection's.

A port that the kernel names (port 0) lies in the range that it also gives to outgoing connections:
until the server has started, or while it is restarted, one of those may take it. These lie below.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections import deque
from typing import Final

from memfs.config import MONITORING_OFFSET

_LOWEST: Final = 20_000
_EACH: Final = 3_000
"""Ports of one worker of pytest-xdist, of four: they do not take each other's."""

_given: deque[int] = deque(maxlen=400)
"""The last ones: their servers may not have started yet."""
_dice = random.SystemRandom()


def free_port(count: int = 1) -> int:
    """The first of ``count`` ports in a row of loopback that nobody listens at.

    Those 1000 higher, where nodes have their monitoring, are free too. A port is not returned again
    soon.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    lowest = _LOWEST + _EACH * (worker % 4)
    while True:
        first = _dice.randrange(lowest, lowest + _EACH - MONITORING_OFFSET - count)
        ports = [
            first + number + more for number in range(count) for more in (0, MONITORING_OFFSET)
        ]
        if not set(_given) & set(ports) and all(map(_is_free, ports)):
            _given.extend(ports)
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False
