"""How long tests wait for what must come to pass.

Long, since nothing is measured by it: a machine may be busy with much else. A wait that is over
early costs nothing, and one that is never over is a failure whenever it is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

PATIENCE_SECONDS: Final = 240.0


def until(condition: Callable[[], object]) -> None:
    """Wait for what a cluster, a process or another thread does on its own."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
