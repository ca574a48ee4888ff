"""Inode ids reserved for files that are written before they are published.

Owns the stock of one session, sorted by where the ring puts a file of that id: a batch takes ids
that lie on the same nodes, so that its blocks travel in few requests. Invariant: an id is given out
once, since the blocks of an attempt bear one version.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import NamedTuple

from memfs import limits
from memfs.client.calls.deadline import turn
from memfs.client.session.held.keepalive import PING_SECONDS
from memfs.client.session.session import Session
from memfs.client.session.suspects import Suspects
from memfs.errors import MemfsError
from memfs.protocol import messages as m
from memfs.types import BlockRef

log = logging.getLogger(__name__)

RESERVE = limits.INODES_PER_RESERVATION
FIRST_RESERVE = 64
"""The first reservation: most clients write few files this way."""
SILENCE_SECONDS = 4 * PING_SECONDS
"""After this long without contact the cluster may have given the ids to others."""


class Share(NamedTuple):
    """Ids whose files go to one chain of nodes."""

    chain: tuple[int, ...]
    inodes: list[int]


class Reservations:
    """Reserved inodes of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._stock: dict[int, None] = {}
        self._shares: dict[frozenset[int], Share] = {}
        self._sorted_for = (0, 0, 0)  # epoch, copies and silent nodes that _shares was made for
        self._reserving = asyncio.Lock()
        self._size = FIRST_RESERVE
        self._held = False
        self._releasing: set[asyncio.Task[None]] = set()

    async def reserve(self, count: int, copies: int, deadline: float) -> list[Share]:
        """``count`` ids, on as few chains as the stock allows."""
        await self._fill(count, deadline)
        self._sort(copies)
        taken: list[Share] = []
        while count:
            key, share = max(self._shares.items(), key=_stock_of_share)
            cut = max(0, len(share.inodes) - count)
            inodes = share.inodes[cut:]
            del share.inodes[cut:]
            if not share.inodes:
                del self._shares[key]
            for inode in inodes:
                del self._stock[inode]
            taken.append(Share(share.chain, inodes))
            count -= len(inodes)
        return taken

    async def reserve_elsewhere(
        self, count: int, copies: int, suspects: Suspects, deadline: float
    ) -> Share:
        """``count`` ids for one chain that avoids ``suspects``, after others failed."""
        await self._fill(count, deadline)
        inodes = list(self._stock)[:count]
        chain = self._session.known.place(inodes[0], 0, copies, suspects)
        for inode in inodes:
            del self._stock[inode]
        self._sorted_for = (0, 0, 0)
        return Share(chain, inodes)

    def forget_stock(self) -> None:
        """The session was ended: the ids in stock may not be this client's any more."""
        stock = list(self._stock)
        for start in range(0, len(stock), RESERVE):
            self.give_back(stock[start : start + RESERVE])
        self._stock.clear()
        self._sorted_for = (0, 0, 0)

    def give_back(self, inodes: Iterable[int], stored: Iterable[BlockRef] = ()) -> None:
        """Return ids and blocks that will not be used; the primary is told in the background."""
        request = m.ReleaseInodes(tuple(inodes), tuple(stored))
        task = asyncio.create_task(self._release(request))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    async def _release(self, request: m.ReleaseInodes) -> None:
        try:
            await self._session.ask(request)
        except MemfsError as error:
            log.warning("unused inodes stay reserved for now: %s", error)

    async def close(self) -> None:
        """Stop returning ids: the end of the session returns all of them."""
        for task in list(self._releasing):
            task.cancel()
        await asyncio.gather(*self._releasing, return_exceptions=True)

    async def _fill(self, count: int, deadline: float) -> None:
        """Reserve until ``count`` ids are in stock; those of a lost session are forgotten."""
        async with turn(self._reserving, deadline):
            if self._held and self._session.keepalive.silence() > SILENCE_SECONDS:
                self.forget_stock()
            if not self._held:
                self._held = True
                self._session.keepalive.hold()
            while len(self._stock) < count:
                request = m.ReserveInodes(max(self._size, min(RESERVE, count)))
                self._size = RESERVE
                reply = await self._session.primary.ask_or_undo(
                    request, None, deadline, self._release_reply
                )
                self._stock.update(dict.fromkeys(reply.inodes))
                self._sorted_for = (0, 0, 0)

    async def _release_reply(self, reply: m.ReserveReply) -> None:
        """Return ids whose requester was cancelled."""
        await self._session.ask(m.ReleaseInodes(reply.inodes))

    def _sort(self, copies: int) -> None:
        """Group the stock by the nodes that the ring names."""
        silent = self._session.silent
        silent.counts()
        wanted = (self._session.known.epoch, copies, silent.version)
        if self._sorted_for == wanted:
            return
        suspects = self._session.suspects()
        self._shares = {}
        for inode in self._stock:
            chain = self._session.known.place(inode, 0, copies, suspects)
            self._shares.setdefault(frozenset(chain), Share(chain, [])).inodes.append(inode)
        self._sorted_for = wanted


def _stock_of_share(item: tuple[frozenset[int], Share]) -> int:
    return len(item[1].inodes)
