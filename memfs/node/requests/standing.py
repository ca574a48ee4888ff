"""Connections of clients end when what they stand on ends: a key, a token, a certificate, a user.

Owns which connections stand on what. Keys and tokens are the namespace's: the primary is asked
about those in use here every few seconds, by all nodes alike; certificates end by the clock; a user
whose limit of connections is none is shut out. Invariant: within ``BOUND_SECONDS`` after something
was withdrawn no connection that it proved is served by a node that reaches the primary; one that
does not ends them ``UNHEARD_SECONDS`` after it was last told that they are good.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final

from memfs.errors import AccessDeniedError, MemfsError, UnsupportedError
from memfs.logs import fields
from memfs.node.membership.members import Membership
from memfs.protocol import messages as m
from memfs.security.principals import KEY, TOKEN, Principal
from memfs.transport.connection import Connection, Peer

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 3.0
"""Between two looks."""
BOUND_SECONDS: Final = 10.0
"""A look, the question, and some seconds until a node without the namespace knows the limits."""
UNHEARD_SECONDS: Final = 60.0
"""So long a key or a token is believed without a word of a primary."""
PAGE_BYTES: Final = 32 * 1024
"""Of proofs in a question; a record has 64 KiB."""
_ROW_BYTES: Final = 16

Shut = Callable[[str], bool]


class Standing:
    """The connections of clients to one node, by what they proved."""

    def __init__(self, membership: Membership, shut_out: Shut) -> None:
        """``shut_out``: may a user have no connection at all?"""
        self._membership = membership
        self._shut_out = shut_out
        self._connections: dict[Connection, None] = {}
        self._heard = 0.0

    def check(self, peer: Peer) -> None:
        """Let nobody in who is shut out. Raises AccessDeniedError."""
        if reason := self._who_is_out(peer):
            raise AccessDeniedError(reason)

    def opened(self, connection: Connection) -> None:
        """A client was admitted."""
        self._connections[connection] = None

    def closed(self, connection: Connection) -> None:
        """One is gone."""
        self._connections.pop(connection, None)

    async def run(self) -> None:
        """End what does not stand any more, forever."""
        self._heard = self._now()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """End what does not stand any more."""
        now = self._membership.environment.clock.wall_ns() / 1e9
        for connection in list(self._connections):
            principal = connection.peer.principal
            if principal is not None and 0 < principal.expires <= now:
                _end(connection, f"the certificate of {principal.name} has expired")
            elif reason := self._who_is_out(connection.peer):
                _end(connection, reason)
        await self._ask()

    async def _ask(self) -> None:
        """Have the primary say which keys and tokens are good."""
        shown: dict[m.ShownProof, list[Connection]] = {}
        for connection in self._connections:
            if (proof := _proof_of(connection.peer.principal)) is not None:
                shown.setdefault(proof, []).append(connection)
        try:
            for page in _pages(shown):
                reply = await self._membership.ask_primary(m.CheckStanding(page))
                for proof, until in zip(page, reply.until_ms, strict=True):
                    if not until:
                        kind = TOKEN if proof.token else KEY
                        _end_all(shown[proof], f"the {kind} of {proof.user} is good no more")
        except UnsupportedError:  # a primary of an older release lets them stand
            pass
        except MemfsError as error:
            log.debug("the primary does not say which proofs stand: %s", error)
            if self._now() - self._heard >= UNHEARD_SECONDS:
                every = [each for connections in shown.values() for each in connections]
                _end_all(every, "no primary says whether what proved it is good")
            return
        self._heard = self._now()

    def _who_is_out(self, peer: Peer) -> str:
        """Why the user, or who speaks for them, is shut out; empty: neither is."""
        names = {peer.identity.user}
        if peer.principal is not None and not peer.principal.is_node:
            names.add(peer.principal.name)
        for name in sorted(names):
            if self._shut_out(name):
                return f"{name} is shut out: the superuser has set the limit connections to 0"
        return ""

    def _now(self) -> float:
        return self._membership.environment.clock.monotonic()


def _proof_of(principal: Principal | None) -> m.ShownProof | None:
    """What the namespace knows of a proof; None: nothing, it is of another kind."""
    if principal is None or not principal.shown:
        return None
    if principal.proof == KEY:
        return m.ShownProof(principal.name, key=principal.shown)
    return m.ShownProof(principal.name, token=principal.shown)


def _pages(shown: dict[m.ShownProof, list[Connection]]) -> Iterator[tuple[m.ShownProof, ...]]:
    page, size = list[m.ShownProof](), 0
    for proof in list(shown):
        cost = _ROW_BYTES + len(proof.user.encode()) + len(proof.key) + len(proof.token)
        if page and size + cost > PAGE_BYTES:
            yield tuple(page)
            page, size = [], 0
        page.append(proof)
        size += cost
    if page:
        yield tuple(page)


def _end_all(connections: list[Connection], reason: str) -> None:
    for connection in connections:
        _end(connection, reason)


def _end(connection: Connection, reason: str) -> None:
    if not connection.closed:
        peer = connection.peer
        about = fields(address=peer.address, user=peer.identity.user, reason=reason)
        log.warning("a client's connection is ended", extra=about)
        connection.abort(reason)
