"""Bounds on replies that peers have asked for and do not read.

A single connection is not read any further once some megabytes wait for its peer, but many
connections together could still hold hundreds of megabytes. So unread bytes are counted per account
and per node. An account above a bound is *curbed*: its connections with unread answers are not
read. If it then makes no progress for some seconds, its connection with most unread bytes is
closed, and so on until it is within the bound. Transports are asked for their unsent bytes only
when the sum of all that was sent could exceed a bound: the usual reply costs an addition.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from memfs.logs import fields
from memfs.transport.bounds.ledgers import Ledger, UserAtAddress

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.1
"""Pause between two checks of curbed accounts."""
_STEPS: Final = 16
"""Share of a bound that is sent before the next check."""


class Reader(Protocol):
    """A connection whose peer may read too slowly."""

    @property
    def account(self) -> UserAtAddress:
        """The account of the peer."""

    @property
    def unread(self) -> int:
        """Bytes that wait to be sent."""

    def curb(self) -> None:
        """Take no further request. Idempotent."""

    def uncurb(self) -> None:
        """Undo :meth:`curb`."""

    def drop(self, reason: str) -> None:
        """Close, and forget what waits."""


class _Curbed(NamedTuple):
    """An account above a bound."""

    least: int
    """The fewest unread bytes since then."""
    since: float
    """The time of that minimum."""


class UnreadReplies:
    """Unread bytes of all clients of one server."""

    def __init__(
        self,
        ledger: Ledger[UserAtAddress],
        patience: float,
        now: Callable[[], float],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        """``ledger`` has the bounds; ``patience``, seconds without progress until a connection is
        closed; ``later`` calls a function in some seconds."""
        self.ledger = ledger
        self.dropped = 0
        """Connections closed so far."""
        self._patience = patience
        self._now = now
        self._later = later
        self._readers: dict[UserAtAddress, dict[Reader, None]] = {}
        self._curbed: dict[UserAtAddress, _Curbed] = {}
        self._sent: dict[UserAtAddress, int] = {}
        self._sent_total = 0
        self._looks = False

    def add(self, reader: Reader) -> None:
        """A client's connection from now on."""
        self._readers.setdefault(reader.account, {})[reader] = None
        if reader.account in self._curbed:
            self._look()

    def remove(self, reader: Reader) -> None:
        """Remove a connection, if it was added."""
        readers = self._readers.get(reader.account, {})
        readers.pop(reader, None)
        if not readers:
            self._readers.pop(reader.account, None)

    def sent(self, reader: Reader, count: int) -> None:
        """A reply of ``count`` bytes was given to the connection."""
        account, ledger = reader.account, self.ledger
        sent = self._sent.get(account, 0) + count
        self._sent[account] = sent
        self._sent_total += count
        each = ledger.bound(account)
        if sent * _STEPS > each or self._sent_total * _STEPS > ledger.together:
            one = ledger.of(account) + sent > each
            if one or ledger.total + self._sent_total > ledger.together:
                self._look()

    def _look(self) -> None:
        """Count what is unread now; curb and release."""
        ledger = self.ledger
        self._sent, self._sent_total = {}, 0
        found = {who: self._unread(who) for who in self._readers}
        for who, had in ledger.largest():
            ledger.add(who, found.get(who, 0) - had)
        for who, count in found.items():
            ledger.add(who, count - ledger.of(who))
        rest = ledger.total
        for who, count in ledger.largest():
            if count > ledger.bound(who) or rest > ledger.together:
                self._curb(who, count)
            rest -= count
        for who, curbed in list(self._curbed.items()):
            self._enforce(who, curbed)
        if self._curbed and not self._looks:
            self._looks = True
            self._later(LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._looks = False
        self._look()

    def _unread(self, who: UserAtAddress) -> int:
        return sum(reader.unread for reader in self._readers[who])

    def _curb(self, who: UserAtAddress, count: int) -> None:
        if who not in self._curbed:
            self._curbed[who] = _Curbed(count, self._now())
            log.info("answers are not read", extra=fields(who=str(who), bytes=count))
        readers = self._readers[who]
        least = self.ledger.bound(who) // (2 * len(readers))
        for reader in readers:
            if reader.unread > least or count > self.ledger.together:
                reader.curb()

    def _enforce(self, who: UserAtAddress, curbed: _Curbed) -> None:
        """Release accounts that have read enough; close a connection of those that read nothing."""
        count, now = self.ledger.of(who), self._now()
        if 2 * count <= self.ledger.bound(who) and self.ledger.total <= self.ledger.together:
            del self._curbed[who]
            for reader in self._readers.get(who, {}):
                reader.uncurb()
        elif count < curbed.least:
            self._curbed[who] = _Curbed(count, now)
        elif now - curbed.since >= self._patience:
            worst = max(self._readers[who], key=lambda reader: reader.unread)
            log.warning(
                "closed a connection whose answers are not read",
                extra=fields(who=str(who), unread=worst.unread, together=count),
            )
            self.dropped += 1
            self.ledger.give_back(who, min(worst.unread, count))
            allowed = self.ledger.bound(who)
            worst.drop(f"{who} leaves {count} bytes of answers unread, {allowed} are allowed")
