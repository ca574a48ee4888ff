"""Who asks: the interface, and the ways that come with memfs.

An :class:`Authenticator` looks at a request's headers and parameters and names a
:class:`Principal`, or raises :class:`Unauthenticated` with the challenge to send (SPNEGO fits: its
``Negotiate`` round trips are challenges). ``doas`` is judged afterwards, for all of them alike.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from aiohttp import hdrs, web

from memfs.errors import ConfigError
from memfs.gateway.exceptions import AUTHORIZATION, UNAUTHENTICATED, Refusal
from memfs.gateway.parameters import USER, Parameters

log = logging.getLogger(__name__)


class Principal(NamedTuple):
    """On whose behalf a request is made."""

    user: str
    groups: tuple[str, ...] | None = None
    """None: to be looked up."""
    real: str = ""
    """Who asked, when he asked for another (``doas``)."""


class Unauthenticated(Refusal):
    """401. Hadoop shows the reason phrase only."""

    def __init__(self, reason: str, challenge: str = "") -> None:
        """``challenge``: the WWW-Authenticate header."""
        super().__init__(UNAUTHENTICATED, reason)
        self.challenge = challenge


class Authenticator(Protocol):
    """Names the principal of a request."""

    async def authenticate(self, request: web.BaseRequest, parameters: Parameters) -> Principal:
        """Raises Unauthenticated, or Refusal for what makes no sense."""


class Simple:
    """``user.name``: everybody is whom he says he is, as in Hadoop without Kerberos."""

    def __init__(self, default_user: str) -> None:
        self._default = default_user

    async def authenticate(self, request: web.BaseRequest, parameters: Parameters) -> Principal:
        """The name given, or the default one."""
        return Principal(parameters.matching("user.name", USER, self._default))


class Bearer:
    """``Authorization: Bearer TOKEN``, looked up in a file of token digests.

    A line is ``SHA256-HEX USER [GROUP,...]``; the tokens themselves are written nowhere.
    """

    def __init__(self, tokens: Mapping[str, Principal]) -> None:
        """``tokens``: hexadecimal SHA-256 of each token to its principal."""
        self._tokens = dict(tokens)

    @classmethod
    def from_file(cls, path: str) -> Bearer:
        """Raises ConfigError for what cannot be read."""
        try:
            lines = Path(path).read_text("utf-8").splitlines()
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"tokens_file: {path}: {error}") from None
        tokens: dict[str, Principal] = {}
        for number, line in enumerate(lines, 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            if len(words) not in (2, 3) or len(words[0]) != 64 or not USER.fullmatch(words[1]):
                raise ConfigError(f"tokens_file: {path}: line {number} is no SHA256 USER [GROUPS]")
            groups = tuple(words[2].split(",")) if len(words) == 3 else None
            tokens[words[0].lower()] = Principal(words[1], groups)
        return cls(tokens)

    async def authenticate(self, request: web.BaseRequest, parameters: Parameters) -> Principal:
        """Compares in constant time: digests, and all of them."""
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("Authentication required", 'Bearer realm="memfs"')
        digest = hashlib.sha256(token.strip().encode()).hexdigest()
        found: Principal | None = None
        for known, principal in self._tokens.items():
            if hmac.compare_digest(known, digest):
                found = principal
        if found is None:
            raise Unauthenticated("Invalid token", 'Bearer realm="memfs", error="invalid_token"')
        return found


ANYWHERE: Final = "*"


class Proxies:
    """Who may ask on behalf of others: ``name``, or ``name@address`` from that address only."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._addresses: dict[str, set[str]] = {}
        for each in allowed:
            name, _, address = each.partition("@")
            self._addresses.setdefault(name, set()).add(address or ANYWHERE)

    def impersonate(
        self, asking: Principal, parameters: Parameters, address: str | None
    ) -> Principal:
        """The principal that ``doas`` names. Raises Refusal unless ``asking`` may."""
        user = parameters.matching("doas", USER)
        if not user or user == asking.user:
            return asking
        allowed = self._addresses.get(asking.user, set())
        if ANYWHERE not in allowed and address not in allowed:
            text = f"User: {asking.user} is not allowed to impersonate {user}"
            raise Refusal(AUTHORIZATION, text)
        return Principal(user, None, asking.user)
