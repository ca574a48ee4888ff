"""Proofs of clients that have no certificate: challenges out, answers checked by the primary.

Only the primary checks proofs: a backup's state may be a moment old, and hold a key that was
removed. Nothing is kept between two handshakes.
"""

from __future__ import annotations

from memfs.errors import AccessDeniedError, UnsupportedError
from memfs.node.membership.members import Membership
from memfs.node.requests.authentication import PeerAuthentication
from memfs.protocol import messages as m
from memfs.security.principals import KEY, TOKEN, Principal
from memfs.security.proofs import NONCE_BYTES, KeyProof, challenge, proof_in
from memfs.transport.connection import Connection


class Proofs:
    """Challenges connections of one node, and says whom their answers prove."""

    def __init__(self, membership: Membership, authentication: PeerAuthentication) -> None:
        self._membership = membership
        self._authentication = authentication

    def challenge(self, connection: Connection) -> m.Challenge:
        """The challenge that this connection has to sign. Raises AccessDeniedError,
        UnsupportedError."""
        environment, view = self._membership.environment, self._membership.latest
        if not self._authentication.challenges:
            self._authentication.check_way(KEY)
        if environment.tls is None or connection.local_user is not None:
            raise UnsupportedError("proofs of users are made under TLS")
        nonce = environment.random.randbytes(NONCE_BYTES)
        cluster = view.cluster if view is not None else ""
        connection.challenge = challenge(nonce, cluster, connection.own_certificate)
        return m.Challenge(nonce, cluster)

    async def proven(self, hello: m.Hello, connection: Connection) -> Principal:
        """Whom the client's answer proves.

        Raises AccessDeniedError, InvalidTokenError, RetryableError while there is no primary.
        """
        if not connection.challenge:
            raise AccessDeniedError("a proof without a challenge: ask for one on this connection")
        proof = proof_in(hello.authentication)
        if isinstance(proof, KeyProof):
            way, shown = KEY, proof.key
        else:
            way, shown = TOKEN, proof.identifier
        self._authentication.check_way(way)
        request = m.CheckProof(hello.authentication, connection.challenge)
        found = await self._membership.ask_primary(request)
        return Principal(found.user, proof=way, real_user=found.real_user, shown=shown)

    async def groups_of(self, user: str) -> tuple[str, ...] | None:
        """What the cluster's table says of a user, for a node that does not hold it."""
        found = await self._membership.ask_primary(m.GetGroupsOf(user))
        return found.groups if found.listed else None
