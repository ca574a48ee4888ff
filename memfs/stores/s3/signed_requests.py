"""Signed requests to one bucket.

Owns addresses, signatures and the mapping of refusals. Invariant: when keys are refused they are
read again once, so that expired temporary keys cause no failure.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from memfs.errors import StoreDeniedError
from memfs.limits import KIB
from memfs.stores.http_client import HttpClient, WholeReply, place
from memfs.stores.retry import Retry
from memfs.stores.s3.credentials import RefreshedCredentials
from memfs.stores.s3.replies import NO_BUCKET, code_of, error_of
from memfs.stores.s3.signature_v4 import (
    EMPTY,
    UNSIGNED,
    RequestLine,
    encoded,
    query_string,
    signed_headers,
)
from memfs.transport.environment import Clock
from memfs.types import Buffer

T = TypeVar("T")

_INLINE_BYTES: Final = 64 * KIB
"""Largest body that is hashed in the event loop; a larger one is hashed in a thread."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a bucket is: ``address`` is its URL without a path, ``path`` what precedes keys."""

    name: str
    endpoint: str
    region: str
    virtual_host: bool

    @property
    def host(self) -> str:
        """The Host header."""
        host = self.endpoint.partition("://")[2]
        return f"{self.name}.{host}" if self.virtual_host else host

    @property
    def address(self) -> str:
        """URL up to the path."""
        return f"{self.endpoint.partition('://')[0]}://{self.host}"

    def path(self, key: str) -> str:
        """The encoded path of a key, of the bucket itself for the empty key."""
        front = "" if self.virtual_host else f"/{encoded(self.name)}"
        return f"{front}/{encoded(key, '/')}" if key or not front else front


class Requests:
    """Sends requests to one bucket."""

    def __init__(
        self,
        bucket: Bucket,
        client: HttpClient,
        credentials: RefreshedCredentials,
        retry: Retry,
        clock: Clock,
        *,
        unsigned_payload: bool,
    ) -> None:
        self.bucket = bucket
        self.credentials = credentials
        self.retry = retry
        self.client = client
        self._clock = clock
        self._unsigned = unsigned_payload

    async def ask(
        self,
        method: str,
        key: str,
        parameters: Sequence[tuple[str, str]] = (),
        *,
        headers: Mapping[str, str] | None = None,
        body: Buffer = b"",
        accepted: Sequence[int] = (200,),
        patient: bool = False,
    ) -> WholeReply:
        """One request, retried while that may help; returns a reply with a status of ``accepted``.
        Raises the mapped error for any other. ``key`` is the whole key, prefix included.
        ``patient``: it is not sent again while the store is still at it.
        """
        what = f"{place(self.bucket.address)}/{self.bucket.name}/{key}"
        payload_hash = await self._payload_hash(body)

        async def attempt() -> WholeReply:
            reply = await self._sent(
                method, key, parameters, headers or {}, body, payload_hash, patient
            )
            # 404 may be an answer about the object, or say that there is no bucket to ask about.
            if reply.status not in accepted or (
                reply.status == 404 and code_of(reply.body) == NO_BUCKET
            ):
                raise error_of(reply.status, reply.headers, reply.body, what)
            return reply

        return await self.persist(attempt, what)

    async def persist(self, attempt: Callable[[], Awaitable[T]], what: str) -> T:
        """What ``attempt`` returns, which is tried again while that may help, and once when keys
        are refused: there may be newer ones."""

        async def with_fresh_keys() -> T:
            try:
                return await attempt()
            except StoreDeniedError:
                self.credentials.doubt()
                return await attempt()

        return await self.retry.run(with_fresh_keys, what)

    async def signed(
        self,
        method: str,
        key: str,
        query: str,
        headers: Mapping[str, str],
        payload_hash: str = EMPTY,
    ) -> dict[str, str]:
        """The headers of a request, with those that sign it where there are keys."""
        bucket, credentials = self.bucket, await self.credentials.current()
        if credentials is None:
            return dict(headers)
        request = RequestLine(method, bucket.host, bucket.path(key), query)
        now_ns = self._clock.wall_ns()
        return signed_headers(request, headers, payload_hash, credentials, bucket.region, now_ns)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()

    async def _sent(
        self,
        method: str,
        key: str,
        parameters: Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        body: Buffer,
        payload_hash: str,
        patient: bool,
    ) -> WholeReply:
        query = query_string(parameters)
        sent = await self.signed(method, key, query, headers, payload_hash)
        url = f"{self.bucket.address}{self.bucket.path(key)}{'?' + query if query else ''}"
        return await self.client.request(
            method, url, sent, body if len(body) else None, patient=patient
        )

    async def _payload_hash(self, body: Buffer) -> str:
        if not len(body):
            return EMPTY
        if self._unsigned:
            return UNSIGNED
        if len(body) <= _INLINE_BYTES:
            return hashlib.sha256(body).hexdigest()
        return (await asyncio.to_thread(hashlib.sha256, body)).hexdigest()
