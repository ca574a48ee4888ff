"""``jwt``: bearer tokens that an OpenID provider has signed (RFC 7519, RFC 9068).

Owns what makes a token good: signed with an asymmetric key of the issuer, for this audience, not
expired. A claim names the user. Nothing of a token is cached.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from memfs.config import GatewayConfig
from memfs.errors import ConfigError
from memfs.gateway.auth.authentication import BEARER, RequestUser, Unauthenticated, bearer_token
from memfs.gateway.hadoop.parameters import USER, Parameters
from memfs.logs import fields

if TYPE_CHECKING:
    import jwt

log = logging.getLogger(__name__)

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric algorithms only: whoever can verify such a token cannot make one."""
SKEW_SECONDS: Final = 30.0
"""By how much the issuer's clock may differ."""
KEPT_SECONDS: Final = 3600.0
"""Keys are fetched again after this time, so a withdrawn key is accepted no longer than that."""
PAUSE_SECONDS: Final = 10.0
"""Pause between two fetches, so that tokens with unknown keys do not cost the issuer a request
each."""
Fetch = Callable[[], Awaitable[dict[str, object]]]
_FETCH: Final = ClientTimeout(total=10)
_DOCUMENT_BYTES: Final = 1 << 20


class KeySet:
    """Public keys of an issuer by their ids, fetched when an unknown one is needed."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        """``fetch``: the key set as it is now (RFC 7517); it may raise what the network raises."""
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = -KEPT_SECONDS
        self._tried = -PAUSE_SECONDS
        self._fetching = asyncio.Lock()

    async def key(self, name: str) -> jwt.PyJWK | None:
        """The key called ``name``; the only one there is if a token names none."""
        async with self._fetching:
            now = self._clock()
            stale = now - self._fetched > KEPT_SECONDS or self._find(name) is None
            if stale and now - self._tried >= PAUSE_SECONDS:
                self._tried = now
                await self._refresh(now)
        return self._find(name)

    def _find(self, name: str) -> jwt.PyJWK | None:
        if not name and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(name)

    async def _refresh(self, now: float) -> None:
        import jwt

        try:
            found = jwt.PyJWKSet.from_dict(await self._fetch())
        except (ClientError, ConfigError, OSError, ValueError, jwt.PyJWTError) as error:
            reason = str(error) or type(error).__name__
            log.warning("no keys from the issuer of tokens", extra=fields(reason=reason))
            return
        self._keys = {key.key_id or "": key for key in found.keys}
        self._fetched = now


class JsonWebTokens:
    """``Authorization: Bearer``: a token that ``jwt_issuer`` has signed for ``jwt_audience``."""

    challenge = BEARER

    def __init__(self, config: GatewayConfig, fetch: Fetch | None = None) -> None:
        """``fetch``: instead of asking ``jwt_issuer`` for its keys.

        Raises ConfigError when the library is not there.
        """
        try:
            import jwt
        except ImportError:
            text = "authentication = jwt needs PyJWT: pip install 'memfs-cluster[jwt]'"
            raise ConfigError(text) from None
        self._jwt = jwt
        self._config = config
        issuer = checked_address(config.jwt_issuer)
        self._keys = KeySet(fetch or functools.partial(_published_keys, issuer))

    async def authenticate(
        self, request: web.BaseRequest, parameters: Parameters
    ) -> RequestUser | None:
        """None: there is no token, or one that is no JWT. Raises Unauthenticated."""
        token = bearer_token(request)
        try:
            header = self._jwt.get_unverified_header(token)
        except (self._jwt.PyJWTError, UnicodeError):
            return None
        key = await self._keys.key(str(header.get("kid", "")))
        if key is None:
            raise _invalid("its key is not one of the issuer's")
        return self._principal(self._claims(token, key))

    def _claims(self, token: str, key: jwt.PyJWK) -> Mapping[str, object]:
        config = self._config
        try:
            claims: Mapping[str, object] = self._jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=config.jwt_audience,
                issuer=config.jwt_issuer,
                leeway=SKEW_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except self._jwt.PyJWTError as error:
            raise _invalid(str(error)) from None
        return claims

    def _principal(self, claims: Mapping[str, object]) -> RequestUser:
        user = claims.get(self._config.jwt_user_claim)
        if not isinstance(user, str) or not USER.fullmatch(user):
            raise _invalid(f"its claim {self._config.jwt_user_claim!r} names no user")
        if not self._config.jwt_groups_claim:
            return RequestUser(user)
        groups = claims.get(self._config.jwt_groups_claim, [])
        if not isinstance(groups, list) or not all(isinstance(each, str) for each in groups):
            raise _invalid(f"its claim {self._config.jwt_groups_claim!r} is no list of groups")
        return RequestUser(user, tuple(groups))


def checked_address(address: str) -> str:
    """An address that keys may be fetched from: ``https``, or this machine's own ``http``.

    Raises ConfigError.
    """
    parts = urlsplit(address)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and local)):
        return address
    raise ConfigError(f"{address!r}: keys of tokens come by https://")


async def _published_keys(issuer: str) -> dict[str, object]:
    """What OpenID Connect Discovery 1.0 leads to. Raises ClientError, OSError, ValueError."""
    async with ClientSession(timeout=_FETCH) as session:
        place = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        provider = await _document(session, place)
        if provider.get("issuer") != issuer:
            raise ValueError(f"{place} is of the issuer {provider.get('issuer')!r}")
        return await _document(session, checked_address(str(provider.get("jwks_uri"))))


async def _document(session: ClientSession, address: str) -> dict[str, object]:
    """Raises ClientError, OSError, ValueError."""
    async with session.get(address, allow_redirects=False) as reply:
        if reply.status != 200:
            raise ValueError(f"{address} answers {reply.status}")
        content = bytearray()
        async for piece in reply.content.iter_any():
            content += piece
            if len(content) > _DOCUMENT_BYTES:
                raise ValueError(f"{address} is longer than {_DOCUMENT_BYTES} bytes")
    found = json.loads(content)
    if not isinstance(found, dict):
        raise ValueError(f"{address} is no JSON object")
    return found


def _invalid(reason: str) -> Unauthenticated:
    """Header values are one line."""
    said = " ".join(reason.split()).replace('"', "'")[:200]
    challenge = f'{BEARER}, error="invalid_token", error_description="{said}"'
    return Unauthenticated(f"Invalid token: {said}", challenge)
