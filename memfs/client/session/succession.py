"""One client in several processes, one after the other: how the next one goes on.

Owns what it has to know of the former one, and the order of its first steps: what is open is said
first, so that nothing is freed when the leases end that kept it till then. Must not know where that
knowledge lies while no process runs. Invariant: nothing that the former process has sent, and the
cluster has not carried out by then, is carried out once :func:`go_on` has returned.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from memfs import limits
from memfs.client.session.held.locks import Holding
from memfs.client.session.session import Session
from memfs.protocol import messages as m

log = logging.getLogger(__name__)


class Former(NamedTuple):
    """What the former process of a client leaves."""

    client: int
    turn: int
    """Processes that were this client before the next one."""
    next_command: int
    """The lowest request id that it has given to no command."""
    open: tuple[int, ...] = ()
    """Inodes."""
    locked: tuple[Holding, ...] = ()
    """Where it held locks, or may have."""
    errands: tuple[tuple[int, int], ...] = ()
    """Keys of what it was doing, and the request ids of the first commands."""


async def go_on(session: Session, former: Former) -> dict[int, int]:
    """Have a session, which is new, go on where a former one has ended; of the errands, those whose
    first command was answered.

    The session has the former one's client id. Raises UnsupportedError from a cluster of an older
    release, and what asking raises.
    """
    session.primary.ids.go_on_from(former.next_command)
    session.opens.go_on_with(former.open, former.turn)
    await session.opens.verify()
    errands = dict(former.errands[-limits.RESULTS_PER_SESSION :])
    reply = await session.ask(m.TakeOver(former.next_command, tuple(errands.values())))
    if former.locked and not reply.session:
        log.warning("the cluster had given this client up: its file locks are lost")
    session.locks.go_on_with(former.locked, reply.session)
    return {key: number for key, number in errands.items() if number in reply.answered}
