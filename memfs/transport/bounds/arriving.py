"""Bounds on requests of clients that have begun to arrive, in the process's own memory.

Every connection has a small inbox; a longer record, or many requests that come at once, take more
of it, and so does a payload that no sink receives. One connection holds little, but thousands that
stop in the midst of a frame would hold more than the node has left. So these bytes are counted per
account and per node. When they do not fit, connections that are between two frames give theirs
back; then the request is refused. Pure: no clock, no socket.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import islice
from typing import Final, Protocol

from memfs import errors, limits
from memfs.transport.bounds.ledgers import Ledger, UserAtAddress

PRESSED_AT_ONCE: Final = 64
"""Connections that are asked for their inboxes when a request does not fit."""


class Receiving(Protocol):
    """A connection with a larger inbox."""

    def shrink(self) -> None:
        """Give it back, unless a frame has begun in it."""


class ArrivingRequests:
    """What the connections of one server hold."""

    def __init__(self, ledger: Ledger[UserAtAddress]) -> None:
        """``ledger`` has the bounds."""
        self.ledger = ledger
        self.room: Callable[[], int] = lambda: sys.maxsize
        """Bytes that the node has left for anything: beyond ``limits.ARRIVING_BYTES_LEAST`` no more
        than that is taken."""
        self._inboxes: dict[Receiving, tuple[UserAtAddress, int]] = {}

    def lend(
        self, receiver: Receiving, account: UserAtAddress, count: int, *, needed: bool
    ) -> bool:
        """Whether a connection may have an inbox that is larger by ``count`` bytes than usual.

        ``needed``: without it a request is refused, so others give theirs back.
        """
        held, had = self._inboxes.pop(receiver, (account, 0))
        self.ledger.give_back(held, had)
        refusal = self.refusal(account, count) if needed else self._refusal(account, count)
        if not refusal:
            held, had = account, count
        if had:
            self._inboxes[receiver] = held, had
            self.ledger.add(held, had)
        return not refusal

    def take_back(self, receiver: Receiving) -> None:
        """Its inbox is as small as usual, or gone. Idempotent."""
        held, count = self._inboxes.pop(receiver, (None, 0))
        if held is not None:
            self.ledger.give_back(held, count)

    def charge(self, account: UserAtAddress, count: int) -> None:
        """Charge a payload. Raises BusyError, and charges nothing."""
        if refusal := self.refusal(account, count):
            raise errors.BusyError(refusal)
        self.ledger.add(account, count)

    def give_back(self, account: UserAtAddress, count: int) -> None:
        """Undo :meth:`charge`."""
        self.ledger.give_back(account, count)

    def refusal(self, account: UserAtAddress, count: int) -> str:
        """Why ``count`` bytes more are too many; empty: they are not."""
        if self._refusal(account, count):
            for receiver in list(islice(self._inboxes, PRESSED_AT_ONCE)):
                self._inboxes[receiver] = self._inboxes.pop(receiver)  # the next time others
                receiver.shrink()
        return self._refusal(account, count)

    def _refusal(self, account: UserAtAddress, count: int) -> str:
        total = self.ledger.total + count
        if total > limits.ARRIVING_BYTES_LEAST and total > self.room():
            return f"the node's memory is full: {self.ledger.total} {self.ledger.what}"
        return self.ledger.refusal(account, count)
