"""Tokens of an issuer: which are good, whose they are, and when its keys are fetched."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest
from aiohttp.test_utils import make_mocked_request
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from memfs.config import GatewayConfig
from memfs.errors import ConfigError
from memfs.gateway.auth.authentication import RequestUser, Unauthenticated
from memfs.gateway.auth.json_web_tokens import (
    KEPT_SECONDS,
    PAUSE_SECONDS,
    JsonWebTokens,
    KeySet,
    checked_address,
)
from memfs.gateway.hadoop.parameters import Parameters

ISSUER, AUDIENCE = "https://issuer.example", "memfs"
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def public(key: ec.EllipticCurvePrivateKey, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    return found | {"kid": name, "use": "sig", "alg": "ES256"}


def config(**more: Any) -> GatewayConfig:
    return GatewayConfig(authentication=("jwt",), jwt_issuer=ISSUER, jwt_audience=AUDIENCE, **more)


def signed(key: Any = KEY, name: str = "one", algorithm: str = "ES256", **claims: Any) -> str:
    usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": time.time() + 60}
    said = {name: each for name, each in (usual | claims).items() if each is not None}
    return jwt.encode(said, key, algorithm, headers={"kid": name})


async def named(token: str, **more: Any) -> RequestUser | None:
    async def fetch() -> dict[str, Any]:
        return {"keys": [public(KEY, "one"), public(OTHER, "two")]}

    request = make_mocked_request("GET", "/", {"Authorization": f"Bearer {token}"})
    return await JsonWebTokens(config(**more), fetch).authenticate(request, Parameters(""))


async def test_a_token_that_is_good() -> None:
    assert await named(signed()) == RequestUser("alice")
    assert await named(signed(OTHER, "two", aud=["x", AUDIENCE])) == RequestUser("alice")


async def test_user_and_groups_are_claims() -> None:
    token = signed(sub="0815", preferred_username="bob", roles=["ops", "staff"])
    claims = {"jwt_user_claim": "preferred_username", "jwt_groups_claim": "roles"}
    assert await named(token, **claims) == RequestUser("bob", ("ops", "staff"))


@pytest.mark.parametrize(
    "token",
    [
        signed(exp=time.time() - 60),
        signed(exp=None),
        signed(nbf=time.time() + 3600),
        signed(iss="https://other.example"),
        signed(iss=None),
        signed(aud="another service"),
        signed(aud=None),
        signed(sub=None),
        signed(sub="../alice"),
        signed(OTHER),
        signed(name="three"),
        signed("secret" * 8, algorithm="HS256"),
        signed(rsa.generate_private_key(65537, 2048), algorithm="RS256"),
        jwt.encode({"sub": "alice"}, None, "none", headers={"kid": "one"}),
        signed()[:-6] + "AAAAAA",
    ],
    ids=lambda token: "",
)
async def test_tokens_that_are_not(token: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await named(token)
    assert 'error="invalid_token"' in caught.value.challenges[0]


@pytest.mark.parametrize("token", ["", "secret", "a.b.c", "é" * 40])
async def test_what_is_no_such_token_is_left_to_others(token: str) -> None:
    assert await named(token) is None


async def test_groups_that_are_none() -> None:
    with pytest.raises(Unauthenticated, match="roles"):
        await named(signed(roles="ops"), jwt_groups_claim="roles")


async def test_keys_are_fetched_when_they_are_wanted() -> None:
    now, asked, keys = 0.0, 0, [public(KEY, "one")]

    async def fetch() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if not keys:
            raise OSError("out of reach")
        return {"keys": list(keys)}

    known = KeySet(fetch, lambda: now)
    assert await known.key("one") and await known.key("one") and asked == 1
    assert await known.key("two") is None and asked == 1  # too early to ask again
    keys.append(public(OTHER, "two"))
    now += PAUSE_SECONDS
    assert await known.key("two") and asked == 2
    del keys[0]
    now += KEPT_SECONDS + 1
    assert await known.key("one") is None and asked == 3  # it was withdrawn
    keys.clear()
    now += KEPT_SECONDS + 1
    assert await known.key("two") and asked == 4  # an issuer out of reach keeps nobody out


@pytest.mark.parametrize(
    "address", ["", "issuer", "http://issuer.example", "file:///etc/passwd", "https://"]
)
def test_addresses_that_keys_do_not_come_from(address: str) -> None:
    with pytest.raises(ConfigError, match="https"):
        checked_address(address)
