"""Room for what the namespace is about to take: a command that makes it grow is refused on a full
node, as a block is.

Owns which commands those are, and what they are taken to cost until the process is measured again.
The copies of the namespace lie on other nodes too: when one of those is full, it is refused as
well. What gives memory back is never refused. Must not know the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from memfs.errors import NoSpaceError
from memfs.limits import MIB
from memfs.protocol import messages as m
from memfs.quantities import show_size
from memfs.types import NodeUsage

GROWING: Final = frozenset(
    {
        m.Create,
        m.CreateUnnamed,
        m.CreateDraft,
        m.MakeDirectory,
        m.MakeSymlink,
        m.MakeNode,
        m.MakeLink,
        m.PutFiles,
        m.ReserveInodes,
        m.SetXattr,
        m.ChangeAcl,
        m.SetLock,
        m.IssueToken,
        m.Mount,
        m.LearnObjects,
    }
)
"""Commands that make something new."""
CHANGING: Final = frozenset(
    {
        m.Commit,
        m.PublishDraft,
        m.AdoptDraft,
        m.AcquireLease,
        m.Concat,
        m.Rename,
        m.SetAttributes,
    }
)
"""Commands that finish what was begun, or change what is there: they may take a little more."""
GROWING_BYTES: Final = 10 * MIB
CHANGING_BYTES: Final = 18 * MIB
"""Beyond the limit, dead bytes between blocks included: blocks may have used all of it up."""
GROWING_BYTES_LEAST: Final = 2 * MIB
CHANGING_BYTES_LEAST: Final = 4 * MIB
"""... however many dead bytes there are. With 44 MiB of the process and 16 of dead bytes: 64."""
COMMAND_BYTES: Final = 512
"""Of a new inode, its name, its result and its place in the log, beside what the command says."""


class GrowthAccount(Protocol):
    """The account of the node's memory."""

    @property
    def room(self) -> int | None:
        """Bytes left of the limit, negative: too many are used; None: nobody measures."""

    @property
    def dead(self) -> int:
        """Dead bytes between blocks."""

    @property
    def refusal(self) -> str:
        """Why nothing may be stored at all; empty: it may."""

    @property
    def grown_lately(self) -> int:
        """Bytes noted in the last one or two seconds."""

    def make_room(self, count: int) -> None:
        """Have what is cached dropped until there are ``count`` bytes of room, if there are."""

    def grow(self, count: int) -> None:
        """Note that the process takes ``count`` bytes more, until it is measured again."""


class NamespaceRoom:
    """Whether there is room for a command."""

    def __init__(self, account: GrowthAccount, usage_of: Callable[[int], NodeUsage]) -> None:
        """``usage_of`` tells what a member said of itself last."""
        self._account = account
        self._usage_of = usage_of

    def remember(self, count: int) -> bool:
        """Take ``count`` bytes for what need not be remembered; False: it had better be little, for
        what is left is for commands."""
        self._account.grow(count)
        room = self._account.room
        return room is None or room + GROWING_BYTES_LEAST > 0

    def _beyond(self, most: int, least: int) -> int:
        return max(least, most - self._account.dead)

    def take(self, request: object, size: int, copies: Iterable[int]) -> None:
        """Take room for a command whose record has ``size`` bytes, here and on the members with
        ``copies`` of the namespace. Raises NoSpaceError, and then takes none.
        """
        kind = type(request)
        if kind in GROWING:
            most, least, cost = GROWING_BYTES, GROWING_BYTES_LEAST, COMMAND_BYTES + size
        elif kind in CHANGING:
            most, least, cost = CHANGING_BYTES, CHANGING_BYTES_LEAST, size
        else:
            return
        if isinstance(request, m.SetLock) and request.mode == m.LockMode.UNLOCK:
            return
        account = self._account
        if (room := account.room) is None:
            return
        if account.refusal and kind in GROWING:
            raise NoSpaceError(account.refusal)
        if room < cost:  # what is cached can be had again
            account.make_room(cost)
            room = account.room or 0
        if room + self._beyond(most, least) < cost:
            raise NoSpaceError(
                f"the primary's memory is full by {show_size(-room)}, and it holds all names: "
                "delete files, or raise its memory"
            )
        for number in copies:
            usage = self._usage_of(number)
            beyond = max(least, most - usage.spare)
            if usage.limit and usage.used + account.grown_lately + cost > usage.limit + beyond:
                raise NoSpaceError(
                    f"member {number}'s memory is full, and it holds all names too: "
                    "delete files, or raise its memory"
                )
        account.grow(cost)
