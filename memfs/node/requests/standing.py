"""Ends clients' connections when their proof is revoked: a key, a token, a certificate, a user.

Owns which connection was authenticated by which proof. Keys and tokens are kept in the namespace:
every node asks the primary every few seconds about those in use here. Certificates expire by the
clock; a user whose limit of connections is zero is shut out. Invariant: within ``BOUND_SECONDS``
after a proof was revoked, no connection with it is served by a node that reaches the primary; a
node that does not reach it closes them ``UNHEARD_SECONDS`` after their proofs were last confirmed.
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
"""Pause between two checks."""
BOUND_SECONDS: Final = 10.0
"""A check, the question, and some seconds until a node without the namespace knows the limits."""
UNHEARD_SECONDS: Final = 60.0
"""How long a key or a token stays valid while no primary confirms it."""
PAGE_BYTES: Final = 32 * 1024
"""Most bytes of proofs in one question; a record has 64 KiB."""
_ROW_BYTES: Final = 16

Shut = Callable[[str], bool]


class Standing:
    """The connections of clients to one node, by what they proved."""

    def __init__(self, membership: Membership, shut_out: Shut) -> None:
        """``shut_out``: may a user have no connection at all?"""
        self._membership = membership
        self._shut_out = shut_out
        self._connections: dict[Connection, None] = {}
        self._confirmed_at = 0.0

    def check(self, peer: Peer) -> None:
        """Raises AccessDeniedError for a user who is shut out."""
        if reason := self._who_is_out(peer):
            raise AccessDeniedError(reason)

    def opened(self, connection: Connection) -> None:
        """A client was admitted."""
        self._connections[connection] = None

    def closed(self, connection: Connection) -> None:
        """A client's connection was closed."""
        self._connections.pop(connection, None)

    async def run(self) -> None:
        """Check again and again."""
        self._confirmed_at = self._now()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Close the connections whose proofs have ended."""
        now = self._membership.environment.clock.wall_ns() / 1e9
        for connection in list(self._connections):
            principal = connection.peer.principal
            if principal is not None and 0 < principal.expires <= now:
                _end(connection, f"the certificate of {principal.name} has expired")
            elif reason := self._who_is_out(connection.peer):
                _end(connection, reason)
        await self._ask()

    async def _ask(self) -> None:
        """Ask the primary which keys and tokens are still valid."""
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
            if self._now() - self._confirmed_at >= UNHEARD_SECONDS:
                every = [each for connections in shown.values() for each in connections]
                _end_all(every, "no primary says whether what proved it is good")
            return
        self._confirmed_at = self._now()

    def _who_is_out(self, peer: Peer) -> str:
        """Why the user, or the one who acts for them, is shut out; empty: neither is."""
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
    """The key or token of a principal; None for another kind of proof."""
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
