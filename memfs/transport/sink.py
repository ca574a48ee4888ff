"""The one way in which bytes are received: a sink lends memory and is told how much of it is full.

The connection, the node's block service and the block store receive through it, each adding what
ends a payload that came whole (``Incoming.complete``, ``Write.finish``).
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
        """The payload does not come to its end, or does not count: give back what it holds."""
