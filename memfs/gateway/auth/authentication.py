"""Authentication: its interface, what all methods share, and the method without any proof. An
:class:`Authenticator` looks at a request's connection, headers and parameters and returns a
:class:`RequestUser`. Several are tried in order: the first that finds credentials of its kind
decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from aiohttp import hdrs, web

from memfs.gateway.hadoop.exceptions import UNAUTHENTICATED, RemoteException
from memfs.gateway.hadoop.parameters import USER, Parameters


class RequestUser(NamedTuple):
    """On whose behalf a request is made."""

    user: str
    groups: tuple[str, ...] | None = None
    """None: they are looked up."""
    real: str = ""
    """The authenticated user, when the request is on behalf of another (``doas``)."""
    headers: tuple[tuple[str, str], ...] = ()
    """Headers of the answer to a request that only authenticates (OPTIONS)."""


NOBODY: Final = RequestUser("")
"""The user of a request that is not authenticated yet."""


class Unauthenticated(RemoteException):
    """401. Hadoop shows the reason phrase only."""

    def __init__(self, reason: str, *challenges: str) -> None:
        """``challenges``: values of the WWW-Authenticate header."""
        super().__init__(UNAUTHENTICATED, reason)
        self.challenges = challenges


class Authenticator(Protocol):
    """Finds the principal of a request."""

    challenge: str
    """The WWW-Authenticate header for a client without credentials, or nothing."""

    async def authenticate(
        self, request: web.BaseRequest, parameters: Parameters
    ) -> RequestUser | None:
        """The principal; None when the request has no credentials of this kind. Raises
        Unauthenticated for wrong credentials, RemoteException for malformed ones.
        """


class Simple:
    """``user.name``: everybody is who they say they are, as in Hadoop without Kerberos."""

    challenge = ""

    def __init__(self, default_user: str) -> None:
        self._default = default_user

    async def authenticate(self, request: web.BaseRequest, parameters: Parameters) -> RequestUser:
        """The name given, or the default one."""
        return RequestUser(parameters.matching("user.name", USER, self._default))


class Authentication:
    """All methods that a gateway accepts, in order."""

    def __init__(self, ways: Sequence[Authenticator]) -> None:
        self._ways = ways
        self._challenges = tuple(way.challenge for way in ways if way.challenge)

    async def authenticate(self, request: web.BaseRequest, parameters: Parameters) -> RequestUser:
        """The principal of a request. Raises Unauthenticated, RemoteException."""
        for way in self._ways:
            principal = await way.authenticate(request, parameters)
            if principal is not None:
                return principal
        if hdrs.AUTHORIZATION in request.headers:
            raise Unauthenticated("Invalid token", *map(_refused, self._challenges))
        raise Unauthenticated("Authentication required", *self._challenges)


def bearer_token(request: web.BaseRequest) -> str:
    """The token of ``Authorization: Bearer``; empty: there is none."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


BEARER: Final = 'Bearer realm="memfs"'
"""The challenge for tokens, RFC 6750."""


def _refused(challenge: str) -> str:
    return f'{challenge}, error="invalid_token"' if challenge == BEARER else challenge
