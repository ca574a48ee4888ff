"""Bounds on what clients may store on a node before the namespace knows of it, per user.

Two accounts. *Ahead*: a block write reserves room before its bytes arrive, and a sender that stops
after one byte would hold the rest; so bytes that are reserved and not received are bounded, and an
upload that stalls for some seconds loses its connection. *Unknown*: only the primary knows which of
the stored bytes belong to a file; so they are counted under the inode that the client named until
the primary is asked, at the latest when half of the allowance is used. Bytes of no file stay
counted, and so do those that a lease holder could still publish, except for the two newest versions
of each block. Above the bound a client is told to wait: the sweep drops orphans, and commits make
the other blocks known. Writes that other nodes forward were counted there.

Invariant: a user's account is the sum over their uploads in progress, or their inodes in question.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from memfs import errors, limits
from memfs.logs import fields
from memfs.node.blocks import BlockStore
from memfs.node.tasks import Tasks
from memfs.protocol import messages as m
from memfs.transport.bounds.ledgers import ClientLedger, Ledger, UserAtAddress

log = logging.getLogger(__name__)

LEAST_COUNTED: Final = 4 * limits.KIB
"""A smaller block counts as this: a node remembers no more inodes than that allows."""
ASKED_AT_ONCE: Final = 128
"""Inodes in one request to the primary: the largest ones, and as many chosen at random."""
PENDING_VERSIONS: Final = 2
"""Versions of a block that its writer may have stored unpublished: one, and its replacement."""
PAUSE_SECONDS: Final = 1.0
"""Between two requests to the primary about a user who stays above the bound."""
WATCHED_BYTES: Final = 256 * limits.KIB
"""Smaller uploads have arrived completely when they begin."""


class Uploads:
    """The two accounts of one node."""

    def __init__(
        self,
        store: BlockStore,
        ask: Callable[[m.CheckVersions], Awaitable[m.CheckVersionsReply]],
        tasks: Tasks,
        dice: random.Random,
        memory: int,
    ) -> None:
        """``ask`` puts a question to the primary as the superuser; ``memory`` of the node."""
        each = min(limits.AHEAD_BYTES_PER_PRINCIPAL, memory // limits.AHEAD_SHARE)
        self.ahead = Ledger[UserAtAddress](
            "bytes reserved for uploads that have not come", each, memory
        )
        each = min(limits.UNKNOWN_BYTES_PER_PRINCIPAL, memory // limits.UNKNOWN_SHARE)
        self.unknown = Ledger[UserAtAddress]("bytes that no file has (yet)", each, memory)
        self._inodes: dict[UserAtAddress, dict[int, int]] = {}
        self._asking: set[UserAtAddress] = set()
        self._store = store
        self._ask = ask
        self._tasks = tasks
        self._dice = dice

    def ledgers(self) -> dict[str, ClientLedger]:
        """The accounts, by the name that metrics show."""
        return {"ahead_bytes": self.ahead, "unknown_bytes": self.unknown}

    def begin(
        self, account: UserAtAddress, blocks: dict[int, int], reserved: int
    ) -> UploadReservation:
        """Admit a write of ``blocks``, bytes by inode. Raises BusyError that says what is too much.

        ``reserved``: bytes that the store sets aside for it.
        """
        counted = {inode: max(count, LEAST_COUNTED) for inode, count in blocks.items()}
        if refusal := self.unknown.refusal(account, sum(counted.values())):
            self._find_out(account)
            raise errors.BusyError(refusal)
        self.ahead.charge(account, reserved)
        return UploadReservation(self, account, counted, reserved)

    def stored(self, account: UserAtAddress, counted: dict[int, int]) -> None:
        """The blocks are in the store; whether a file has them is not known yet."""
        inodes = self._inodes.setdefault(account, {})
        for inode, count in counted.items():
            inodes[inode] = inodes.get(inode, 0) + count
            self.unknown.add(account, count)
        if 2 * self.unknown.of(account) > self.unknown.each:
            self._find_out(account)

    def _find_out(self, account: UserAtAddress) -> None:
        if account not in self._asking:
            self._asking.add(account)
            self._tasks.spawn(self._ask_about(account), "uploads")

    async def _ask_about(self, account: UserAtAddress) -> None:
        """Ask the primary until few enough bytes are in question, or all that are left belong to no
        file."""
        try:
            inodes = self._inodes.get(account, {})
            waiting = dict(inodes)
            while waiting and 2 * self.unknown.of(account) > self.unknown.each:
                asked = self._chosen(waiting)
                kept = 0
                for inode in asked:
                    del waiting[inode]
                    kept += await self._keep_counted(account, inode)
                if not kept and len(asked) == 2 * ASKED_AT_ONCE:
                    self._known(account, waiting)  # files written in turn exist in turn
                    return
            if self.unknown.of(account) > self.unknown.each:
                log.warning(
                    "blocks that no file has",
                    extra=fields(who=str(account), bytes=self.unknown.of(account)),
                )
            if 2 * self.unknown.of(account) > self.unknown.each:
                await asyncio.sleep(PAUSE_SECONDS)
        except errors.MemfsError as error:
            log.info("whose blocks these are stays open", extra=fields(reason=error))
            await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self._asking.discard(account)

    def _chosen(self, waiting: dict[int, int]) -> list[int]:
        """The inodes with most bytes, and others at random."""
        if len(waiting) <= 2 * ASKED_AT_ONCE:
            return list(waiting)
        largest = sorted(waiting, key=lambda inode: -waiting[inode])
        chance = self._dice.sample(largest[ASKED_AT_ONCE:], ASKED_AT_ONCE)
        return largest[:ASKED_AT_ONCE] + chance

    async def _keep_counted(self, account: UserAtAddress, inode: int) -> int:
        """Ask about one inode; stop counting what a file has, and what is not held any more.

        Returns the bytes that still count.
        """
        counted = self._inodes.get(account, {}).get(inode, 0)
        kept, pending = 0, Counter[int]()
        held = self._store.sizes(inode)
        for start in range(0, len(held), limits.VERSIONS_PER_DISCARD):
            batch = held[start : start + limits.VERSIONS_PER_DISCARD]
            versions = tuple([version for version, _ in batch])
            states = (await self._ask(m.CheckVersions(versions, account.user))).states
            for (version, size), state in zip(batch, states, strict=True):
                if state == m.VersionState.PENDING:
                    pending[version.index] += 1
                    if pending[version.index] <= PENDING_VERSIONS:
                        continue
                if state != m.VersionState.NAMED:
                    kept += max(size, LEAST_COUNTED)
        kept = min(kept, counted)
        self._known(account, {inode: counted - kept})
        return kept

    def _known(self, account: UserAtAddress, counted: dict[int, int]) -> None:
        inodes = self._inodes.get(account, {})
        for inode, count in counted.items():
            left = inodes.get(inode, 0) - count
            self.unknown.give_back(account, count)
            if left > 0:
                inodes[inode] = left
            else:
                inodes.pop(inode, None)
        if not inodes:
            self._inodes.pop(account, None)

    def check_invariants(self) -> None:
        """Assert the module's invariant."""
        self.ahead.check_invariants()
        self.unknown.check_invariants()
        for account, inodes in self._inodes.items():
            assert self.unknown.of(account) == sum(inodes.values())


class UploadReservation:
    """One write under way."""

    def __init__(
        self, uploads: Uploads, account: UserAtAddress, counted: dict[int, int], reserved: int
    ) -> None:
        """Made by :meth:`Uploads.begin`."""
        self._uploads = uploads
        self._account = account
        self._counted = counted
        self._ahead = reserved
        self._reserved = reserved
        self._total = 0
        self._seen = 0
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, stalled: Callable[[str], None]) -> None:
        """Call ``stalled`` with the reason when nothing comes for too long."""
        loop = asyncio.get_running_loop()
        seconds = limits.UPLOAD_STALLED_SECONDS

        def look() -> None:
            if self._total == self._seen:
                stalled(f"nothing of an upload came in {seconds:g} s, and memory is kept for it")
                return
            self._seen = self._total
            self._timer = loop.call_later(seconds, look)

        self._seen = -1 if not self._total else self._total
        self._timer = loop.call_later(seconds, look)

    def received(self, total: int) -> None:
        """``total`` bytes are there."""
        self._total = total
        left = max(0, self._reserved - total)
        if left < self._ahead:
            self._uploads.ahead.give_back(self._account, self._ahead - left)
            self._ahead = left

    def end(self, *, stored: bool) -> None:
        """It is complete, and stored; or it came to nothing. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._uploads.ahead.give_back(self._account, self._ahead)
        self._ahead = 0
        counted, self._counted = self._counted, {}
        if stored and counted:
            self._uploads.stored(self._account, counted)
