"""Checks whether a lease generation that fences a writer off was given out by the namespace.

A node learns generations from block writes; where capabilities are switched off
(:mod:`memfs.node.block_service.guard`), a writer can name any. So a block write alone fences no
writer for good: where it would refuse one, the primary is asked, and until it has answered the
writer is told to try again. Versions under a generation that was never given out are forgotten. The
usual write costs nothing more.

Invariant: only versions that were held before the primary was asked are forgotten: a generation
may be given out the moment after the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from memfs import errors
from memfs.logs import fields
from memfs.node.blocks import BlockStore
from memfs.node.tasks import Tasks
from memfs.protocol import messages as m

log = logging.getLogger(__name__)

CONFIRMED: Final = 4096
"""Inodes of which a confirmed generation is remembered: 100 bytes each."""
_NEVER_OPENED: Final = 1
"""The generation of a reserved inode, of which the namespace does not tell."""


class Fences:
    """The generations in doubt, and those that were confirmed."""

    def __init__(
        self, store: BlockStore, ask: Callable[[m.Lookup], Awaitable[m.LookupReply]], tasks: Tasks
    ) -> None:
        """``ask`` puts a question to the primary as the superuser."""
        self._store = store
        self._ask = ask
        self._tasks = tasks
        self._asking: set[int] = set()
        self._confirmed: dict[int, int] = {}
        self.disowned = 0
        """Versions forgotten since the start."""

    def error_for(
        self, request: m.WriteBlock | m.WriteBlocks, error: errors.LeaseLostError
    ) -> errors.MemfsError:
        """The error for a writer that the store refused with ``error``."""
        blocks = request.blocks if isinstance(request, m.WriteBlocks) else (request,)
        for inode, generation in {block.inode: block.generation for block in blocks}.items():
            highest = self._store.generation(inode)
            if highest <= generation:
                continue  # the doubt was cleared meanwhile
            if highest <= self._confirmed.get(inode, -1):
                return error
            if inode not in self._asking:
                self._asking.add(inode)
                self._tasks.spawn(self._compare_with_primary(inode, highest), "lease generation")
        return errors.UnavailableError("the primary is asked whose lease counts: try again")

    async def _compare_with_primary(self, inode: int, highest: int) -> None:
        claimed = self._store.claims(inode)
        try:
            true = await self._true_generation(inode)
        except errors.MemfsError as error:
            log.info("a lease generation stays in doubt", extra=fields(inode=inode, reason=error))
            return
        finally:
            self._asking.discard(inode)
        if highest <= true:
            self._confirm(inode, highest)
            return
        forged = [version for version in claimed if version.generation > true]
        self.disowned += len(forged)
        log.warning(
            "forgot blocks under a lease generation that was never given out",
            extra=fields(inode=inode, generation=highest, true=true, blocks=len(forged)),
        )
        self._store.disown(inode, forged, true)

    async def _true_generation(self, inode: int) -> int:
        try:
            reply = await self._ask(m.Lookup(b"", base=inode))
        except errors.StaleHandleError:
            return _NEVER_OPENED
        return reply.attributes.generation

    def _confirm(self, inode: int, generation: int) -> None:
        self._confirmed.pop(inode, None)
        self._confirmed[inode] = generation
        if len(self._confirmed) > CONFIRMED:
            del self._confirmed[next(iter(self._confirmed))]
