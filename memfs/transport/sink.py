"""How payloads are received: a sink lends memory and is told how much of it is filled.

The connection, the node's block service and the block store implement it, each adding a call for a
payload that is complete (``Incoming.complete``, ``Write.finish``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Sink(Protocol):
    """The destination of an arriving payload."""

    def buffers(self) -> Sequence[memoryview]:
        """Where it goes; together exactly as many bytes as the payload has."""

    def received(self, total: int) -> None:
        """``total`` bytes are there. Must be quick; an exception refuses the rest."""

    def abort(self) -> None:
        """The payload is incomplete or not wanted: release what it holds."""
