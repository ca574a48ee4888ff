"""The process's own memory counts too: what the kernel says it holds, beside what is charged.

Owns the comparison and what follows from it: namespace, results kept for retries, buffers,
connections and what malloc keeps are measured as a whole instead of being added up, and count
against the node's limit; near the limit of the container nothing is stored any more, for there the
kernel would kill the process. Must not know where the figures come from.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from memfs.limits import MIB
from memfs.logs import fields
from memfs.machine import Footprint
from memfs.quantities import show_size

log = logging.getLogger(__name__)

FREE_BYTES: Final = 44 * MIB
"""Of the process itself, which do not count: an empty node takes 40 MiB. With the dead bytes that a
store may keep beyond its limit, and what names may take beyond it, they make 64 MiB."""
POLL_SECONDS: Final = 1.0
TRIM_SECONDS: Final = 30.0
TRIM_BYTES: Final = 16 * MIB
"""Beyond FREE_BYTES: less is not worth the walk through the heap."""
REST_SECONDS: Final = 0.001
"""Between two steps of giving back, for what the event loop has to do otherwise."""
CONTAINER_SHARE: Final = 32
CONTAINER_BYTES_MOST: Final = 256 * MIB
"""Nothing is stored when less than a 32nd part of the container's limit is left, or 256 MiB;
stored again from twice as much on."""


class Measured(Protocol):
    """A store that gets the measured memory of its process."""

    @property
    def shared(self) -> int:
        """Bytes that it holds in memfds."""

    def measured(self, anonymous: int | None, refusal: str, headroom: int, scarcity: str) -> None:
        """The process takes so many of its own, None: nobody knows; why nothing may be stored, if
        so; bytes that may be taken until the next call, and what bounds them."""


class FootprintWatch:
    """Measures, tells the store, and has given back what is free."""

    def __init__(
        self, store: Measured, measure: Callable[[], Footprint], trim: Callable[[], Iterator[None]]
    ) -> None:
        """``trim`` gives memory that is free back to the system, in steps."""
        self.last = Footprint()
        """As measured last."""
        self.trouble = ""
        """Why nothing is stored, in words; empty: it is."""
        self._store = store
        self._measure = measure
        self._trim = trim

    @property
    def resident(self) -> int:
        """Bytes that the process and its memfds take; 0: not known.

        What the store knows of its memfds, which it need not have mapped, or what the kernel has
        seen of shared memory where that is more: the store has lost sight of some.
        """
        shared = max(self._store.shared, self.last.mapped)
        return self.last.anonymous + shared if self.last.anonymous else 0

    def look(self) -> None:
        """Measure once."""
        self.last = self._measure()
        self._judge_container()
        scarcity = self._scarcity(" for writers that wanted more within a second")
        known = self.last.anonymous
        anonymous = max(0, known - FREE_BYTES) if known else None
        self._store.measured(anonymous, self.trouble, self._headroom(), scarcity)

    async def run(self) -> None:
        """Look, forever."""
        looks = 0
        while True:
            self.look()
            looks += 1
            if looks * POLL_SECONDS >= TRIM_SECONDS:
                looks = 0
                if self.last.anonymous > FREE_BYTES + TRIM_BYTES:
                    for _ in self._trim():
                        await asyncio.sleep(REST_SECONDS)
            await asyncio.sleep(POLL_SECONDS)

    @property
    def _left(self) -> int:
        return self.last.container_limit - self.last.container

    @property
    def _needed(self) -> int:
        return min(self.last.container_limit // CONTAINER_SHARE, CONTAINER_BYTES_MOST)

    def _headroom(self) -> int:
        """What may be taken until the next look, which fast writers could fill otherwise."""
        return max(0, self._left - self._needed) if self.last.container_limit else sys.maxsize

    def _scarcity(self, since: str) -> str:
        left, limit = show_size(max(0, self._left)), show_size(self.last.container_limit)
        return (
            f"the node's container has {left} of {limit} left{since}: "
            "raise its memory limit, or lower the node's memory"
        )

    def _judge_container(self) -> None:
        if not self.last.container_limit:
            self.trouble = ""
            return
        left, needed = self._left, self._needed
        if not self.trouble and left < needed:
            self.trouble = self._scarcity("")
            log.warning("nothing is stored", extra=fields(reason=self.trouble))
        elif self.trouble and left >= 2 * needed:
            self.trouble = ""
            log.info("the container has memory again", extra=fields(left=left))
