"""Observers of committed commands, besides the clients that sent them."""

from __future__ import annotations

from collections.abc import Callable


class CommitObservers:
    """Observers of every term of one node; each is called once the command is committed."""

    def __init__(self) -> None:
        """Begins without any."""
        self._ended: list[Callable[[tuple[int, ...]], None]] = []
        self._woken: list[Callable[[tuple[int, ...]], None]] = []

    def on_ended(self, observe: Callable[[tuple[int, ...]], None]) -> None:
        """Tell ``observe`` inodes whose writers may have left block versions behind."""
        self._ended.append(observe)

    def on_woken(self, observe: Callable[[tuple[int, ...]], None]) -> None:
        """Tell ``observe`` the tickets of those who need not wait for a file lock any more."""
        self._woken.append(observe)

    def ended(self, inodes: tuple[int, ...]) -> None:
        """The leases of these inodes ended without their writers' word."""
        for observe in self._ended:
            observe(inodes)

    def woken(self, tickets: tuple[int, ...]) -> None:
        """These requests for locks were granted, or are gone."""
        for observe in self._woken:
            observe(tickets)
