"""Copies that are not what the namespace says: corrupt, or not there.

Owns which ones are known, as the primary has verified them. A bad copy does not count from then on;
it is dropped once another one is named instead. The only copies of a block are never given up,
however bad: the block is reported as lost and stays listed, and they are verified again, since one
may have been repaired unnoticed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from memfs import errors
from memfs.logs import fields
from memfs.node.healing.peers import Peers
from memfs.node.namespace import Namespace
from memfs.node.replication.role import NamespaceRole
from memfs.node.tasks import Tasks
from memfs.protocol import messages as m
from memfs.transport.server import IncomingCall
from memfs.types import BlockRef

log = logging.getLogger(__name__)

KNOWN_BLOCKS = 100_000
"""Blocks with a bad copy that are remembered, 400 B each; others are met again."""
LOGGED_LOSSES = 1_000
"""Lost blocks that are named in the log, each once."""


class CorruptCopies:
    """The bad copies of the cluster, on the primary."""

    def __init__(self, role: NamespaceRole, peers: Peers, tasks: Tasks) -> None:
        """``tasks`` own the checks that run on the side."""
        self.copies: dict[m.BlockVersion, set[int]] = {}
        """Members whose copy of a version is bad."""
        self.confirmed = 0
        """Corrupt copies met so far."""
        self.followers: list[Callable[[m.BlockVersion], None]] = []
        """Called with each version of which a copy turned out bad, or good again."""
        self._role = role
        self._peers = peers
        self._tasks = tasks
        self._examining: set[tuple[m.BlockVersion, int]] = set()
        self._losses: set[m.BlockVersion] = set()

    @property
    def count(self) -> int:
        """Bad copies known."""
        return sum(map(len, self.copies.values()))

    async def report(self, call: IncomingCall[m.ReportCorrupt]) -> m.Empty:
        """Somebody met a bad copy (ReportCorrupt): verify it, have it replaced."""
        assert self._role.primary is not None
        await self._examine(call.request.block, call.request.member)
        return m.Empty()

    def suspect(self, version: m.BlockVersion, number: int) -> None:
        """A copy could not be used as a source: verify it on the side."""
        if len(self._examining) < KNOWN_BLOCKS and (version, number) not in self._examining:
            self._tasks.spawn(self._examine_quietly(version, number), "verify a copy")

    async def _examine_quietly(self, version: m.BlockVersion, number: int) -> None:
        try:
            await self._examine(version, number)
        except errors.MemfsError as error:
            log.info("a copy was not verified", extra=fields(member=number, reason=error))

    async def _examine(self, version: m.BlockVersion, number: int) -> None:
        if (version, number) in self._examining:
            return
        self._examining.add((version, number))
        try:
            reply = await self._peers.ask(number, m.VerifyBlocks((version,)))
        finally:
            self._examining.discard((version, number))
        ref = self._role.primary.namespace.block(version)
        if ref is None or number not in ref.replicas:
            return
        good, known = reply.codes == (0,), number in self.copies.get(version, ())
        if good != known:
            return  # nothing new
        if good:
            self.replaced(version, number)
        else:
            self._note(version, number, reply.codes[0], ref)
        for follow in self.followers:
            follow(version)

    def _note(self, version: m.BlockVersion, number: int, code: int, ref: BlockRef) -> None:
        corrupt = code == errors.CorruptBlockError.code
        self.confirmed += corrupt
        if len(self.copies) < KNOWN_BLOCKS:
            self.copies.setdefault(version, set()).add(number)
        log.error(
            "corrupt copy" if corrupt else "missing copy",
            extra=fields(member=number, block=version, others=len(ref.replicas) - 1),
        )

    def lost(self, version: m.BlockVersion, holders: tuple[int, ...]) -> None:
        """No good copy of a file's block is left: log that once, and verify the copies again."""
        if version not in self._losses and len(self._losses) < LOGGED_LOSSES:
            self._losses.add(version)
            log.error("data loss", extra=fields(block=version, holders=list(holders)))
        for number in self.copies.get(version, ()):
            self.suspect(version, number)

    def replaced(self, version: m.BlockVersion, number: int) -> None:
        """A member holds a good copy now."""
        self._drop(version, {number})

    def prune(self, namespace: Namespace) -> None:
        """Forget copies that no file names any more."""
        for version, numbers in list(self.copies.items()):
            ref = namespace.block(version)
            self._drop(version, numbers.difference(ref.replicas if ref else ()))

    def _drop(self, version: m.BlockVersion, numbers: set[int]) -> None:
        left = self.copies.get(version, set()) - numbers
        if left:
            self.copies[version] = left
        else:
            self.copies.pop(version, None)

    def forget_all(self) -> None:
        """Another node is the primary now."""
        self.copies.clear()
        self._losses.clear()
