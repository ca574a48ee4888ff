"""What mounts believe, against what was acknowledged (NoStaleCache), seen from outside.

At the moment at which a command's answer leaves the primary, no other client that may believe what
it has read (its watch is trusted, by its own clock) knows an inode that the command has touched as
it was before. Must not change anything; who the mounts are is told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from memfs.node.namespace.tables.inodes import NOWHERE
from memfs.node.replication.cache_leases import CacheLeases
from memfs.node.replication.primary import Primary
from memfs.testing.patches import replaced
from tests.support.mounted import Kernel


class Touched(NamedTuple):
    """An inode as a command has left it."""

    inode: int
    change: int
    """Log index of the last command that changed it, or has removed it."""


class Beliefs:
    """Looks at every answer of a primary to a command."""

    def __init__(self, looked: Callable[[], None], breach: Callable[[str], None]) -> None:
        """``looked`` is called at every comparison, ``breach`` with what is wrong."""
        self.mounts: Callable[[], Iterable[Kernel]] = lambda: ()
        """Those that are served now."""
        self._looked = looked
        self._breach = breach
        self._client = 0
        self._inodes: tuple[int, ...] = ()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look meanwhile."""
        submit, change = Primary.submit, CacheLeases.change

        def changed(caches: CacheLeases, client: int, inodes: Iterable[int]) -> Any:
            self._client, self._inodes = client, tuple(inodes)
            return change(caches, client, self._inodes)

        def observed(primary: Primary, *arguments: Any, **options: Any) -> Any:
            self._inodes = ()
            answer = submit(primary, *arguments, **options)
            client, touched = self._client, self._left_by(primary)
            if not touched:
                return answer
            if isinstance(answer, asyncio.Future):
                answer.add_done_callback(lambda done: self._answered(done, client, touched))
            else:
                self._look(client, touched)
            return answer

        with replaced(CacheLeases, "change", changed), replaced(Primary, "submit", observed):
            yield

    def _left_by(self, primary: Primary) -> list[Touched]:
        namespace = primary.namespace
        inodes = namespace.volume.tree.inodes
        slots = [(inode, inodes.slot_of(inode)) for inode in self._inodes]
        return [
            Touched(inode, namespace.applied if slot == NOWHERE else inodes.change[slot])
            for inode, slot in slots
        ]

    def _answered(
        self, answer: asyncio.Future[Any], client: int, touched: Iterable[Touched]
    ) -> None:
        if not answer.cancelled() and answer.exception() is None:
            self._look(client, touched)

    def _look(self, client: int, touched: Iterable[Touched]) -> None:
        for kernel in self.mounts():
            session = kernel.mount.cluster.session
            if session.client == client or kernel.trusted_ns() <= 0:
                continue
            for inode, change in touched:
                self._looked()
                known = kernel.mount.known.attributes(inode)
                if known is not None and known.change < change:
                    text = (
                        f"client {session.client:x} believes inode {inode:x} as of {known.change}"
                    )
                    self._breach(f"{text}, {change} was acknowledged")
