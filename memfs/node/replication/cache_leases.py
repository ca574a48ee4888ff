"""Cache leases: clients that use what they have read are told before it changes (NoStaleRead).

Owns which watching client has read which inode, and until when it may believe that. Soft state of
one term: a client's lease ends within the primary's own read lease, so a new primary that may serve
knows that nobody believes anything of the time before. Invariant: a command that changes an inode
is not acknowledged before every other client that had read it has said that it forgot, or may not
believe it any more. Must not know sockets or the namespace's rules.

What clients have read takes memory of the primary: one has at most ``limits.WATCHED_INODES``, and
while there is no memory left a client that reads more forgets as much of what it had read before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable
from itertools import islice
from typing import Final

from memfs import limits
from memfs.protocol import messages as m

LEASE_NS: Final = 2_000_000_000
"""Longest that a client may believe something after it has asked."""
INODES_PER_REPLY: Final = 1_000
WATCHED_ANYWAY: Final = 4_096
"""Inodes of all clients that may be cached however little memory there is: 1.4 MiB."""
WATCHED_BYTES: Final = 350
"""Of an inode that one client has cached."""
_MILLION: Final = 1_000_000
_SEQUENCES: Final = 1 << 62
"""Larger than the number of any answer."""
_NOTHING: Final = m.WatchReply(0, (), 0, True)
"""To a client that is gone, or has lost its lease."""


class Barrier:
    """A command that waits until some clients have forgotten something."""

    __slots__ = ("future", "left")

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.left = 0

    def one_less(self) -> None:
        """One of the clients has forgotten it."""
        self.left -= 1
        if not self.left and not self.future.done():
            self.future.set_result(None)


class Watcher:
    """One client."""

    def __init__(self, client: int, sequence: int) -> None:
        """``sequence``: what it has confirmed last, to whomever: it has not seen the next one."""
        self.client = client
        self.fresh = True
        """It must forget everything, since what it read before is not known, and has not confirmed
        that."""
        self.until_ns = 0
        """When its lease ends, unless it asks again."""
        self.held: dict[int, None] = {}
        """Inodes that it has read, the oldest first."""
        self.changed: dict[int, None] = {}
        """Inodes that it is to forget, and has not been told of."""
        self.sequence = sequence if sequence < _SEQUENCES else 0
        """Of the last answer."""
        self.unconfirmed: dict[int, None] = {}
        """The inodes in that answer, until the next request confirms it."""
        self.barriers: deque[tuple[int, Barrier]] = deque()
        """Commands that wait for it, by the sequence that it has to confirm."""
        self.parked: asyncio.Future[None] | None = None


class CacheLeases:
    """Watching clients of one primary."""

    def __init__(
        self,
        now_ns: Callable[[], int],
        lease_until: Callable[[], int | None],
        longest_ns: int = LEASE_NS,
        remember: Callable[[int], bool] = lambda count: True,
    ) -> None:
        """``lease_until``: when the primary's read lease ends, None: never, since it is alone;
        ``longest_ns``: for how long no backup that joins now can take over; ``remember``
        takes bytes of memory, and says whether there are any left."""
        self._now_ns = now_ns
        self._lease_until = lease_until
        self._longest_ns = min(LEASE_NS, longest_ns)
        self._remember = remember
        self._count = 0
        """Inodes that clients have read, those of all of them added up."""
        self._watchers: dict[int, Watcher] = {}
        self._holders: dict[int, set[int]] = {}
        """Clients that may believe something of an inode: they did not say that they forgot it."""
        self._open: dict[int, set[Barrier]] = {}
        """What commands wait for, by the client that sent them."""
        self._revoked = False

    def __len__(self) -> int:
        return len(self._watchers)

    # --- what clients read, and what changes ------------------------------------------------

    def note(self, client: int, request: object, record: object = None) -> None:
        """Note what a client reads; record None: that there is no such file."""
        watcher = self._watchers.get(client)
        if watcher is None:
            return
        before = len(watcher.held)
        inodes = (getattr(request, "base", 0), *_inodes_of(record))
        for inode in inodes:
            watcher.held.pop(inode, None)
            watcher.held[inode] = None
            self._holders.setdefault(inode, set()).add(client)
        held = len(watcher.held)
        grown = held - before
        self._count += grown
        excess = held - limits.WATCHED_INODES
        if grown and not self._remember(grown * WATCHED_BYTES) and self._count > WATCHED_ANYWAY:
            excess = max(excess, min(self._count - WATCHED_ANYWAY, held - len(inodes)))
        if excess > 0:  # found at once: whoever looks for the oldest passes all that were dropped
            self._count -= excess
            for oldest in list(islice(watcher.held, excess)):
                del watcher.held[oldest]
                watcher.changed[oldest] = None  # nobody waits for that

    def held(self) -> list[int]:
        """All inodes of which some client has cached something."""
        return list(self._holders)

    def change(self, client: int, inodes: Iterable[int]) -> asyncio.Future[None] | None:
        """A command of ``client`` has changed these inodes. Returns what its answer has to wait
        for.

        The client that sent the command forgets by itself.
        """
        if not self._watchers:
            return None
        barrier, longest, now_ns = None, 0, self._now_ns()
        told: dict[int, int] = {}
        for inode in inodes:
            for holder in list(self._holders.get(inode, ())):
                watcher = self._watchers[holder]
                if holder == client:
                    continue
                if watcher.until_ns <= now_ns:
                    self._drop(watcher)
                    continue
                told[holder] = max(told.get(holder, 0), self._tell(watcher, inode))
        for holder, sequence in told.items():
            watcher = self._watchers[holder]
            barrier = barrier or Barrier()
            barrier.left += 1
            if sequence > watcher.sequence:
                watcher.barriers.append((sequence, barrier))
            else:  # before those that wait for the next answer
                watcher.barriers.appendleft((sequence, barrier))
            longest = max(longest, watcher.until_ns)
            self._wake(watcher)
        if barrier is None:
            return None
        seconds = max(0.0, (longest - now_ns) / 1e9)
        asyncio.get_running_loop().call_later(seconds, self._over, barrier)
        self._open.setdefault(client, set()).add(barrier)
        barrier.future.add_done_callback(lambda _: self._close(client, barrier))
        return barrier.future

    def repeated(self, client: int) -> asyncio.Future[None] | None:
        """A command of ``client`` came again: as its answer must not come sooner than the first
        one would, it waits for all that commands of this client wait for now."""
        barriers = [each.future for each in self._open.get(client, ()) if not each.future.done()]
        if not barriers:
            return None
        return asyncio.ensure_future(_all_of(barriers))

    def _close(self, client: int, barrier: Barrier) -> None:
        waiting = self._open[client]
        waiting.discard(barrier)
        if not waiting:
            del self._open[client]

    def _tell(self, watcher: Watcher, inode: int) -> int:
        """Have a client forget an inode. Returns the number of the answer that says so: it may have
        left already, for an earlier command."""
        if inode in watcher.held or inode not in watcher.unconfirmed:
            self._count -= inode in watcher.held
            watcher.held.pop(inode, None)
            watcher.changed[inode] = None
        return watcher.sequence + (inode in watcher.changed)

    def _over(self, barrier: Barrier) -> None:
        """End the leases of clients that have not answered in time."""
        if barrier.future.done():
            return
        now_ns = self._drop_expired()
        if not barrier.future.done():  # somebody has asked again, and not confirmed: once more
            late = [
                each.until_ns
                for each in self._watchers.values()
                if any(waiting is barrier for _, waiting in each.barriers)
            ]
            seconds = max(0.001, (max(late, default=0) - now_ns) / 1e9)
            asyncio.get_running_loop().call_later(seconds, self._over, barrier)

    def _drop_expired(self) -> int:
        """Forget clients that have not asked again in time, with all that they had read; now."""
        now_ns = self._now_ns()
        for watcher in list(self._watchers.values()):
            if watcher.until_ns <= now_ns:
                self._drop(watcher)
        return now_ns

    # --- what clients ask --------------------------------------------------------------------

    async def watch(self, client: int, request: m.Watch) -> m.WatchReply:
        """Answer a client that watches."""
        watcher = self._watchers.get(client)
        if watcher is not None and watcher.until_ns <= self._now_ns():
            self._drop(watcher)
            watcher = None
        if watcher is None:
            self._drop_expired()
            watcher = self._watchers[client] = Watcher(client, request.sequence)
        elif request.sequence == watcher.sequence:
            self._confirm(watcher)
        else:
            self._tell_again(watcher)
        news = watcher.fresh or watcher.changed
        if not news and request.wait_ms > 0 and not self._revoked:
            seconds = min(request.wait_ms, limits.WATCH_WAIT_MS) / 1000
            if not await self._park(watcher, seconds):
                return _NOTHING
        return self._reply(watcher)

    async def _park(self, watcher: Watcher, seconds: float) -> bool:
        """Wait until there is something to tell; False when a later request has taken over."""
        self._wake(watcher)
        parked = watcher.parked = asyncio.get_running_loop().create_future()
        await asyncio.wait((parked,), timeout=seconds)
        parked.cancel()
        return watcher.parked is parked

    def _reply(self, watcher: Watcher) -> m.WatchReply:
        if self._watchers.get(watcher.client) is not watcher:  # its lease ended while it waited
            return _NOTHING
        changed = tuple(list(watcher.changed)[:INODES_PER_REPLY])
        for inode in changed:
            del watcher.changed[inode]
        watcher.sequence += 1
        watcher.unconfirmed = dict.fromkeys(changed)
        if watcher.changed:  # who waits for the rest waits for the next answer
            watcher.barriers = deque(
                (max(sequence, watcher.sequence + 1), barrier)
                for sequence, barrier in watcher.barriers
            )
        now_ns, until = self._now_ns(), self._lease_until()
        lease_ns = self._longest_ns if until is None else min(LEASE_NS, until - now_ns)
        if self._revoked or lease_ns <= 0:
            lease_ns = 0
        watcher.until_ns = max(watcher.until_ns, now_ns + lease_ns)
        return m.WatchReply(watcher.sequence, changed, lease_ns // _MILLION, watcher.fresh)

    async def revoke(self) -> None:
        """The term ends in good order: wait until all cache leases have ended."""
        self._revoked = True
        for watcher in self._watchers.values():
            self._wake(watcher)
        now_ns = self._now_ns()
        last = max((each.until_ns for each in self._watchers.values()), default=now_ns)
        if last > now_ns:
            await asyncio.sleep((last - now_ns) / 1e9)

    def renew(self) -> None:
        """The term goes on after all."""
        self._revoked = False

    def end(self) -> None:
        """The term is over: no lease is granted any more, and commands wait for none."""
        self._revoked = True
        for watcher in list(self._watchers.values()):
            self._drop(watcher)

    # --- the books ---------------------------------------------------------------------------

    def _tell_again(self, watcher: Watcher) -> None:
        """The last answer did not arrive: put its inodes into the next one."""
        watcher.changed.update(watcher.unconfirmed)
        watcher.unconfirmed = {}
        watcher.barriers = deque(
            (max(sequence, watcher.sequence + 1), barrier) for sequence, barrier in watcher.barriers
        )

    def _confirm(self, watcher: Watcher) -> None:
        """It has forgotten all that it was told."""
        confirmed, watcher.unconfirmed = watcher.unconfirmed, {}
        for inode in confirmed:
            if inode not in watcher.held and inode not in watcher.changed:
                self._forget(watcher, inode)
        watcher.fresh = False
        while watcher.barriers and watcher.barriers[0][0] <= watcher.sequence:
            watcher.barriers.popleft()[1].one_less()

    def _forget(self, watcher: Watcher, inode: int) -> None:
        """It believes nothing of an inode."""
        holders = self._holders.get(inode)
        if holders is not None:
            holders.discard(watcher.client)
            if not holders:
                del self._holders[inode]

    def _drop(self, watcher: Watcher) -> None:
        """Its lease is over."""
        del self._watchers[watcher.client]
        self._count -= len(watcher.held)
        for inode in (*watcher.held, *watcher.changed, *watcher.unconfirmed):
            self._forget(watcher, inode)
        for _, barrier in watcher.barriers:
            barrier.one_less()
        watcher.barriers.clear()
        self._wake(watcher)

    @staticmethod
    def _wake(watcher: Watcher) -> None:
        if watcher.parked is not None and not watcher.parked.done():
            watcher.parked.set_result(None)


async def _all_of(barriers: Collection[asyncio.Future[None]]) -> None:
    await asyncio.wait(barriers)


def _inodes_of(record: object) -> Collection[int]:
    """The inodes that an answer shows."""
    if isinstance(record, m.LookupReply | m.BlocksReply | m.AclReply):
        return (record.attributes.inode,)
    if isinstance(record, m.LeaseReply | m.MadeReply):
        return [record.attributes.inode, *(each.inode for each in record.also_changed)]
    if isinstance(record, m.NamesReply):
        return [each.inode for each in record.also_changed]
    if isinstance(record, m.ListReply):
        return [entry.attributes.inode for entry in record.entries]
    return ()
