"""The primary's part in delegation tokens: random keys for the namespace, and the present time.

Owns the settings of tokens, when the master key rolls, and where its random bytes come from. The
namespace (``memfs.node.namespace.tables.tokens``) holds tokens and keys; it knows neither
randomness nor clock.
"""

from __future__ import annotations

from typing import Final, TypeVar

from memfs.config import NodeConfig
from memfs.errors import InvalidTokenError, NotPermittedError
from memfs.node.replication.primary import Primary
from memfs.node.tasks import set_aside
from memfs.protocol import messages as m
from memfs.security.principals import TOKEN, Principal
from memfs.transport.environment import Environment

KEY_BYTES: Final = 32

T = TypeVar("T", m.VerifyTokenReply, m.CheckProofReply)


class Delegation:
    """What a node adds to the namespace's tokens."""

    def __init__(self, config: NodeConfig, environment: Environment) -> None:
        self._environment = environment
        self._renew_ms = round(config.token_renew_seconds * 1000)
        self._lifetime_ms = round(config.token_lifetime_seconds * 1000)
        self._roll_ms = round(config.token_key_seconds * 1000)

    def prepare(self, primary: Primary, asking: Principal | None) -> None:
        """Before a token is issued or renewed: add a key, if there is none of these terms or it is
        old. Raises NotPermittedError for a caller who is proved by a token only, which could
        otherwise be prolonged for ever."""
        if asking is not None and asking.proof == TOKEN:
            raise NotPermittedError(
                "a token makes no other token and prolongs none: come with a key or a certificate"
            )
        now_ns = self._environment.clock.wall_ns()
        terms = self._renew_ms, self._lifetime_ms
        if primary.namespace.token_key_is_due(now_ns, self._roll_ms, *terms):
            material = self._environment.random.randbytes(KEY_BYTES)
            set_aside(primary.submit_own(m.AddTokenKey(material, *terms)))

    def check(self, reply: T) -> T:
        """The reply, if the token's time has not come. Raises InvalidTokenError."""
        if reply.expires_ms and reply.expires_ms <= self._environment.clock.wall_ns() // 1_000_000:
            raise InvalidTokenError("the token is expired")
        return reply

    def standing(self, reply: m.StandingReply) -> m.StandingReply:
        """The reply, without what has expired."""
        now_ms = self._environment.clock.wall_ns() // 1_000_000
        return m.StandingReply(tuple([until if until > now_ms else 0 for until in reply.until_ms]))
