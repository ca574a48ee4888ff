"""AWS Signature Version 4, for requests whose body is hashed in advance. Pure.

After "Create a signed AWS API request" in Amazon's documentation of Identity and Access Management;
S3 differs from other services in that a path is encoded once.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import quote

from memfs.stores.s3.credentials import Credentials

UNSIGNED: Final = "UNSIGNED-PAYLOAD"
"""Replaces the body's hash over TLS, which protects the body itself."""
EMPTY: Final = hashlib.sha256(b"").hexdigest()
_ALGORITHM: Final = "AWS4-HMAC-SHA256"


def encoded(text: str, safe: str = "") -> str:
    """Percent-encoded as signatures want it: all but unreserved characters."""
    return quote(text, safe="-_.~" + safe)


def query_string(parameters: Sequence[tuple[str, str]]) -> str:
    """A query in the order and encoding that is signed."""
    pairs = sorted((encoded(name), encoded(value)) for name, value in parameters)
    return "&".join(f"{name}={value}" for name, value in pairs)


class RequestLine(NamedTuple):
    """The parts of a request that are signed: ``path`` encoded, ``query`` as of
    :func:`query_string`."""

    method: str
    host: str
    path: str
    query: str


def signed_headers(
    request: RequestLine,
    headers: Mapping[str, str],
    payload_hash: str,
    credentials: Credentials,
    region: str,
    now_ns: int,
) -> dict[str, str]:
    """``headers``, whose names are in lower case, with those that sign the request."""
    stamp = _stamp(now_ns // 10**9)
    day = stamp[:8]
    full = dict(headers) | {
        "host": request.host,
        "x-amz-content-sha256": payload_hash,
        "x-amz-date": stamp,
    }
    if credentials.session_token:
        full["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(full))
    canonical = "\n".join(
        [
            request.method,
            request.path,
            request.query,
            *(f"{name}:{' '.join(full[name].split())}" for name in sorted(full)),
            "",
            names,
            payload_hash,
        ]
    )
    scope = f"{day}/{region}/s3/aws4_request"
    summary = hashlib.sha256(canonical.encode()).hexdigest()
    signature = hmac.digest(
        _key(credentials.secret_access_key, day, region),
        "\n".join([_ALGORITHM, stamp, scope, summary]).encode(),
        "sha256",
    ).hex()
    full["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key_id}/{scope},"
        f"SignedHeaders={names},Signature={signature}"
    )
    return full


@functools.lru_cache(maxsize=4)
def _stamp(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


@functools.lru_cache(maxsize=64)
def _key(secret: str, day: str, region: str) -> bytes:
    """Of a day, for which it is kept: each is four hashes."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
