"""Accounts of what each client uses of a node; every bound on a single client is checked here.

An account is a user at an address: all processes of one user on one host count together, since who
may start one process may start a thousand. Pure: counts and bounds, no clock, no
connection. The bounds of a ledger may be changed while it is in use.

Invariant: a ledger's total is the sum of its accounts, none of which is negative or kept at zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from memfs.errors import BusyError

K = TypeVar("K")
LOCAL = "this host"
"""The address of clients on a unix socket."""


class UserAtAddress(NamedTuple):
    """A user at an address."""

    user: str
    address: str
    """The host without the port, which is another one each time."""

    def __str__(self) -> str:
        return f"{self.user or 'a stranger'} at {self.address}"


class Ledger(Generic[K]):
    """Amounts of one resource by holder, and their sum."""

    def __init__(self, what: str, each: int, together: int) -> None:
        """``what``: the resource, in messages; ``each``, ``together``: bounds of one and all."""
        self.what = what
        self.each = each
        self.together = together
        self.total = 0
        self._held: dict[K, int] = {}
        self._bound: Callable[[K, int], int] | None = None

    def follow(self, bound: Callable[[K, int], int]) -> None:
        """Set a function that returns the bound of a holder, given the usual one."""
        self._bound = bound

    def bound(self, holder: K) -> int:
        """Most that a holder may have."""
        return self.each if self._bound is None else self._bound(holder, self.each)

    def charge(self, holder: K, count: int) -> None:
        """Charge ``count``. Raises BusyError that says what was exceeded, and charges nothing."""
        if refusal := self.refusal(holder, count):
            raise BusyError(refusal)
        self.add(holder, count)

    def refusal(self, holder: K, count: int = 1) -> str:
        """Which bound ``count`` more would exceed; empty: none.

        A holder that has nothing is refused by a bound of nothing only, so a request above a small
        bound is served.
        """
        held, each = self._held.get(holder, 0), self.bound(holder)
        if (held or not each) and held + count > each:
            return f"{holder} has {held} {self.what}, {each} are allowed: wait, or use fewer"
        if self.total and self.total + count > self.together:
            return f"all together have {self.total} {self.what}, {self.together} are allowed"
        return ""

    def add(self, holder: K, count: int) -> None:
        """Charge ``count``, whatever the bounds."""
        held = self._held.get(holder, 0) + count
        assert held >= 0, f"{holder} gave back more {self.what} than it had"
        self.total += count
        if held:
            self._held[holder] = held
        else:
            self._held.pop(holder, None)

    def give_back(self, holder: K, count: int) -> None:
        """Undo a charge."""
        self.add(holder, -count)

    def of(self, holder: K) -> int:
        """The amount of a holder."""
        return self._held.get(holder, 0)

    @property
    def most(self) -> int:
        """The largest amount of a holder."""
        return max(self._held.values(), default=0)

    def largest(self) -> list[tuple[K, int]]:
        """All holders with their amounts, the largest first."""
        return sorted(self._held.items(), key=lambda item: -item[1])

    def shares(self, count: int) -> list[tuple[str, int, int]]:
        """The ``count`` holders with most: who they are, their amounts and bounds."""
        return [(str(who), used, self.bound(who)) for who, used in self.largest()[:count]]

    def check_invariants(self) -> None:
        """Assert the module's invariant."""
        assert self.total == sum(self._held.values())
        assert all(count > 0 for count in self._held.values())


ClientLedger: TypeAlias = Ledger[str] | Ledger[UserAtAddress]
"""A ledger of clients: by user, or by user and address."""
