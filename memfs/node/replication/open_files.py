"""Which clients have which files open for reading, as the primary of one term was told.

Owns these registrations, and the time at the beginning of a term in which a file may be open
though no client has said so yet: until all clients whose sessions say that they opened files have
registered again, or the grace period is over. Soft state: it costs an open no log entry, and ends
with the term. What it decided stands in the log, beside the command for which it mattered
(``Entry.held``).

Invariant: once :attr:`all_registered`, a file without a name is kept by its writer or by a
registration, or is due, or in the hands of whoever has taken what is due.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from memfs import limits
from memfs.errors import InvalidArgumentError
from memfs.logs import Seldom
from memfs.node.namespace import Namespace
from memfs.protocol import messages as m

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = limits.KEEPALIVE_SECONDS
"""The grace period for clients that had files open: three of their pings."""
KEPT_ANYWAY: Final = 4_096
"""Open files of all clients that are kept in mind however little memory there is: 0.8 MiB."""
OPEN_BYTES: Final = 200
"""Of one of them."""


class _Client:
    """What one client has open."""

    __slots__ = ("complete", "floor", "numbers")

    def __init__(self) -> None:
        self.complete = False
        """It has told all that it has open, and since then what it opened and closed."""
        self.numbers: dict[int, int] = {}
        """Of the last opening, by inode."""
        self.floor = 0
        """Openings below are known to have ended: what arrives of them yet was given up."""


class OpenFiles:
    """Registrations of all clients; an ``Opens`` of the namespace."""

    def __init__(
        self,
        namespace: Namespace,
        now: Callable[[], float],
        remember: Callable[[int], bool] = lambda count: True,
    ) -> None:
        """``now``: monotonic seconds; ``remember`` takes bytes of memory, and says whether there
        are any left. No file counts as closed before :meth:`begin`."""
        self.count = 0
        """Files open, of all clients together."""
        self._namespace = namespace
        self._now = now
        self._remember = remember
        self._clients: dict[int, _Client] = {}
        self._users: dict[int, int] = {}
        """Clients that have an inode open."""
        self._expected: set[int] | None = None
        self._until = 0.0
        self._due: dict[int, None] = {}
        self._searched = False
        self._news = Seldom(now)

    def begin(self) -> None:
        """The term begins: wait for those who had files open."""
        sessions = self._namespace.sessions
        self._expected = {client for client, session in sessions.items() if session.opens}
        self._until = self._now() + GRACE_SECONDS

    # --- memfs.node.namespace.tables.volume.Opens ---------------------------------------------

    def is_open(self, inode: int) -> bool:
        """Has any client the file open, or may it?"""
        return inode in self._users or not self.all_registered

    def has_open(self, client: int, inode: int) -> bool:
        """Has this client?"""
        known = self._clients.get(client)
        return known is not None and inode in known.numbers

    # --- what clients say --------------------------------------------------------------------

    @property
    def all_registered(self) -> bool:
        """Have all clients that had files open registered them again, or was that waited for?"""
        if self._expected and self._now() >= self._until:
            log.info("clients did not say again what they have open: %d", len(self._expected))
            self._expected.clear()
        return self._expected is not None and not self._expected

    @property
    def clients(self) -> list[int]:
        """The entry of a client, made with its first registration."""
        return list(self._clients)

    def has_any(self, client: int) -> bool:
        """Has that client said anything?"""
        return client in self._clients

    def opened(self, client: int, inode: int, number: int) -> None:
        """A client opens a file, whose content it has been told."""
        known = self._known(client)
        if number < known.floor:
            return  # nobody waits for the answer any more
        if inode not in known.numbers:
            if self._are_too_many(known):
                return
            self.count += 1
            self._users[inode] = self._users.get(inode, 0) + 1
            self._due.pop(inode, None)
        known.numbers[inode] = max(number, known.numbers.get(inode, 0))

    def _are_too_many(self, known: _Client) -> bool:
        """The bound is reached: files beyond it are freed with their last name."""
        many = len(known.numbers) >= limits.OPEN_FILES_PER_CLIENT
        full = many or self.count >= limits.OPEN_FILES
        full = full or (not self._remember(OPEN_BYTES) and self.count >= KEPT_ANYWAY)
        if full and self._news.is_news("full"):
            log.warning("more files are open than are kept in mind: %d", self.count)
        return full

    def report(self, client: int, request: m.ReportOpens) -> bool:
        """A client tells what it has closed, or all that it has open.

        Returns whether all that it has open is known now. Raises InvalidArgumentError.
        """
        if len(request.closed) != len(request.numbers):
            raise InvalidArgumentError("each inode that was closed needs a number")
        known = self._known(client)
        for inode, number in zip(request.closed, request.numbers, strict=True):
            if known.numbers.get(inode, number + 1) <= number:
                self._drop(known, inode)
        for inode in request.opened:
            self.opened(client, inode, request.number)
        if request.complete:
            self._complete(client, known, request)
        return known.complete

    def _complete(self, client: int, known: _Client, request: m.ReportOpens) -> None:
        """A client has told all that it has open under a number; openings with lower numbers have
        ended."""
        below = [inode for inode, number in known.numbers.items() if number < request.number]
        if len(known.numbers) - len(below) < request.total:
            return  # a former primary was told a part of it
        for inode in below:
            self._drop(known, inode)
        known.floor, known.complete = max(known.floor, request.number), True
        if self._expected:
            self._expected.discard(client)

    def forget(self, client: int) -> None:
        """A client is gone."""
        known = self._clients.pop(client, None)
        for inode in list(known.numbers) if known is not None else ():
            assert known is not None
            self._drop(known, inode)
        if self._expected:
            self._expected.discard(client)

    def _known(self, client: int) -> _Client:
        known = self._clients.get(client)
        if known is None:
            known = self._clients[client] = _Client()
        return known

    def _drop(self, known: _Client, inode: int) -> None:
        del known.numbers[inode]
        self.count -= 1
        left = self._users[inode] - 1
        if left:
            self._users[inode] = left
            return
        del self._users[inode]
        if self._namespace.is_unlinked(inode):
            self._due[inode] = None

    # --- what is to be freed -----------------------------------------------------------------

    def take_due(self) -> tuple[int, ...]:
        """Take out some files without a name that no client has open; a writer may still keep them.

        One that is opened and closed again while it is being freed is due once more: the command
        may have come between the two, and left it.
        """
        if not self.all_registered:
            return ()
        if not self._searched:
            self._searched = True
            self._add_due(self._namespace.unlinked())
        taken = tuple(islice(self._due, limits.INODES_PER_RECLAIM))
        for inode in taken:
            del self._due[inode]
        return taken

    def put_back(self, inodes: tuple[int, ...]) -> None:
        """These files were taken, and may not have been freed."""
        self._add_due(inodes)

    def _add_due(self, inodes: Iterable[int]) -> None:
        self._due |= dict.fromkeys([inode for inode in inodes if inode not in self._users])
