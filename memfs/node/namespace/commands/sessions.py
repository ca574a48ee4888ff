"""What becomes of a client's session when its process is gone: it ends, or another one goes on."""

from __future__ import annotations

from memfs import limits
from memfs.errors import InvalidArgumentError
from memfs.node.namespace.commands.files import end_lease
from memfs.node.namespace.tables.sessions import ClientSession
from memfs.node.namespace.tables.volume import Command, Volume
from memfs.protocol.messages import Empty, ExpireSession, TakeOver, TakeOverReply


def expire_session(volume: Volume, command: Command, request: ExpireSession) -> Empty:
    """End a client's leases at what it committed last, its locks, and what it had reserved.

    Its recorded results stay: the client may be alive, and a late retry must be recognised.
    """
    held = volume.sessions.expire(request.client)
    command.woken += [*held.waits, *volume.locks.end_session(request.client, held)]
    _end_writing(volume, command, held)
    return Empty()


def take_over(volume: Volume, command: Command, request: TakeOver) -> TakeOverReply:
    """End what only the former process could use. Raises InvalidArgumentError."""
    if len(request.asked) > limits.RESULTS_PER_SESSION:
        raise InvalidArgumentError(f"at most {limits.RESULTS_PER_SESSION} results are kept")
    client = command.client
    command.results.close_below(client, request.below)
    answered = tuple(each for each in request.asked if command.results.has(client, each))
    held = volume.sessions.end_writing(client)
    for ticket in list(held.waits):
        volume.locks.leave(client, ticket)
        command.woken.append(ticket)
    _end_writing(volume, command, held)
    return TakeOverReply(held.number, answered)


def _end_writing(volume: Volume, command: Command, held: ClientSession) -> None:
    """Leases and reservations that no session counts any more."""
    command.ended += map(volume.tree.inodes.id_of, (*held.leases, *held.reserved))
    for slot in held.leases:
        volume.tree.inodes.change[slot] = command.index
        end_lease(volume, command, slot)
    for slot in held.reserved:
        volume.tree.inodes.free(slot)
