"""``kerberos``: SPNEGO (RFC 4559), as Hadoop's clients and browsers speak it.

Owns the exchange of ``Negotiate`` tokens, the short name of a principal, and Hadoop's cookie
``hadoop.auth`` that spares a client the exchange for each request (the form that Hadoop's
AuthenticationFilter has). Invariant: nobody but a gateway with the same keytab can make a cookie.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from memfs.config import GatewayConfig
from memfs.errors import ConfigError
from memfs.gateway.auth.authentication import RequestUser, Unauthenticated
from memfs.gateway.hadoop.parameters import USER, Parameters
from memfs.logs import fields
from memfs.types import Untyped

log = logging.getLogger(__name__)

COOKIE: Final = "hadoop.auth"
COOKIE_SECONDS: Final = 36_000
"""Hadoop's default: ten hours, as long as a ticket lives."""
NEGOTIATE: Final = "Negotiate"
_SERVICE: Final = "HTTP"
_TOKEN_BYTES: Final = 64 << 10


class Kerberos:
    """``Authorization: Negotiate``, verified with the keytab, or the cookie of an earlier
    exchange."""

    challenge = NEGOTIATE

    def __init__(self, config: GatewayConfig, clock: Callable[[], float] = time.time) -> None:
        """Raises ConfigError when the library or the keytab is not there."""
        try:
            import gssapi
        except ImportError:
            text = "authentication = kerberos needs gssapi: pip install 'memfs-cluster[kerberos]'"
            raise ConfigError(text) from None
        self._gssapi: Untyped = gssapi
        keytab = Path(config.kerberos_keytab)
        try:
            secret = keytab.read_bytes()
        except OSError as error:
            raise ConfigError(f"kerberos_keytab: {keytab}: {error.strerror}") from None
        self._cookies = Cookies(hashlib.sha256(b"hadoop.auth\0" + secret).digest(), clock)
        self._secure = "; Secure" if config.tls_certificate else ""
        self._realms = frozenset(config.kerberos_realms)
        try:
            self._credentials = gssapi.Credentials(
                usage="accept", store={"keytab": f"FILE:{keytab}"}
            )
        except gssapi.exceptions.GSSError as error:
            raise ConfigError(f"kerberos_keytab: {keytab}: {error.gen_message()}") from None

    async def authenticate(
        self, request: web.BaseRequest, parameters: Parameters
    ) -> RequestUser | None:
        """None: there is neither a valid cookie nor a token. Raises Unauthenticated."""
        known = self._cookies.principal(_cookie(request))
        if known:
            return RequestUser(self._user(known))
        scheme, _, text = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != NEGOTIATE.lower():
            return None
        try:
            token = base64.b64decode(text.strip(), validate=True)
        except binascii.Error:
            raise Unauthenticated("Malformed Negotiate token", NEGOTIATE) from None
        if len(token) > _TOKEN_BYTES:
            raise Unauthenticated("Malformed Negotiate token", NEGOTIATE)
        principal, answer = await asyncio.to_thread(self._accept, token)
        user = self._user(principal)
        cookie = f'{COOKIE}="{self._cookies.make(user, principal.rpartition("@")[2])}"'
        headers = (
            (hdrs.WWW_AUTHENTICATE, f"{NEGOTIATE} {base64.b64encode(answer).decode()}".strip()),
            (hdrs.SET_COOKIE, f"{cookie}; Path=/; HttpOnly{self._secure}"),
        )
        return RequestUser(user, headers=headers)

    def _accept(self, token: bytes) -> tuple[str, bytes]:
        """The client of a ticket, and the token that authenticates this service to them. Uses a
        replay cache."""
        gssapi = self._gssapi
        context = gssapi.SecurityContext(creds=self._credentials, usage="accept")
        try:
            answer = context.step(token) or b""
            if not context.complete:  # Kerberos takes one step; another mechanism is not offered
                raise Unauthenticated("SPNEGO did not come to its end", NEGOTIATE)
            if not str(context.target_name).startswith(f"{_SERVICE}/"):
                raise Unauthenticated("The ticket is for another service", NEGOTIATE)
            return str(context.initiator_name), answer
        except gssapi.exceptions.GSSError as error:
            log.info("a ticket was refused", extra=fields(reason=error.gen_message()))
            raise Unauthenticated("GSSException: the ticket is not valid", NEGOTIATE) from None

    def _user(self, principal: str) -> str:
        """``alice@REALM`` and ``alice/host@REALM`` are alice, if the realm is one of ours.

        Raises Unauthenticated: a foreign realm's alice is somebody else.
        """
        name, _, realm = principal.rpartition("@")
        user = name.partition("/")[0]
        if realm not in self._realms or not USER.fullmatch(user):
            raise Unauthenticated(f"{principal} is nobody here", NEGOTIATE)
        return user


class Cookies:
    """Values of Hadoop's cookie: ``u=USER&p=PRINCIPAL&t=kerberos&e=EXPIRY&s=SIGNATURE``."""

    def __init__(self, secret: bytes, clock: Callable[[], float]) -> None:
        """``clock``: seconds since the epoch."""
        self._secret = secret
        self._clock = clock

    def make(self, user: str, realm: str) -> str:
        """For somebody who has shown a ticket. Neither name has an ``&``."""
        expires = int((self._clock() + COOKIE_SECONDS) * 1000)
        said = f"u={user}&p={user}@{realm}&t=kerberos&e={expires}"
        return f"{said}&s={self._signature(said)}"

    def principal(self, value: str) -> str:
        """The user that the cookie was made for; empty: it is forged or has expired."""
        said, _, signature = value.rpartition("&s=")
        if not hmac.compare_digest(
            self._signature(said).encode(), signature.encode("utf-8", "surrogateescape")
        ):
            return ""
        found = dict(each.split("=", 1) for each in said.split("&"))
        return found["p"] if int(found["e"]) > self._clock() * 1000 else ""

    def _signature(self, said: str) -> str:
        digest = hmac.digest(self._secret, said.encode("utf-8", "surrogateescape"), "sha256")
        return base64.b64encode(digest).decode()


def _cookie(request: web.BaseRequest) -> str:
    """Hadoop's client sends the value as it got it, with the quotes; others without."""
    try:
        morsel = SimpleCookie(request.headers.get(hdrs.COOKIE, "")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""
