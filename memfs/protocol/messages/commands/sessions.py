"""What becomes of a client's session when its process is gone and another one goes on."""

from __future__ import annotations

from typing import NamedTuple

from memfs.protocol.messages.registry import message


class TakeOverReply(NamedTuple):
    """What there is to go on with."""

    session: int
    """As of :class:`~memfs.protocol.messages.locks.LockReply`; with another number than the former
    process had, its locks are lost."""
    answered: tuple[int, ...]
    """Those of the request ids asked for that were carried out or refused; the others never will
    be."""


@message(160, command=True)
class TakeOver(NamedTuple):
    """Another process goes on as this client, whose process is gone.

    Its leases end at what was committed last, what it had reserved is free, and no request for a
    lock waits any more. Its locks stay, and what it has open. No command of it under a request id
    below ``below`` is carried out after this one, whatever is still on its way.
    """

    below: int
    asked: tuple[int, ...] = ()
    """Request ids of commands whose answers the former process may not have passed on."""

    @staticmethod
    def reply() -> type[TakeOverReply]:
        return TakeOverReply
