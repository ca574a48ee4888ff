"""HTTP to etcd: one POST or one stream at a time, and whether the request may have been read.

Owns the sockets (aiohttp's) and TLS. Knows no etcd: not a path, not a field. Invariant:
UnavailableError means that the server never saw the request; whatever else goes wrong on the way
is an OutcomeUnknownError. Nothing is ever sent twice.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple, Protocol

import aiohttp

from memfs import errors

_REPLY_BYTES = 8 << 20  # thousands of node records; etcd itself refuses requests above 1.5 MiB


class EtcdReply(NamedTuple):
    """Status and body."""

    status: int
    body: bytes


class Http(Protocol):
    """What the gateway's client needs of HTTP. Errors: see the module."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> EtcdReply:
        """Send one request, read its whole reply. Time is the caller's to limit."""

    def stream(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Send one request; its reply as it comes, in pieces of any size."""

    async def close(self) -> None:
        """Close the connections."""


class TlsFiles(NamedTuple):
    """PEM files, each empty when there is none."""

    authority: str = ""
    """Whom to trust, instead of the system's authorities."""
    certificate: str = ""
    """What to show; needs ``key``."""
    key: str = ""

    def context(self) -> ssl.SSLContext:
        """Raises ConfigError when a file is missing or wrong."""
        try:
            context = ssl.create_default_context(cafile=self.authority or None)
        except OSError as error:  # ssl.SSLError is one
            raise errors.ConfigError(f"etcd_ca: {self.authority}: {_reason(error)}") from error
        if self.certificate:
            try:
                context.load_cert_chain(self.certificate, self.key or None)
            except OSError as error:
                raise errors.ConfigError(
                    f"etcd_certificate, etcd_key: {self.certificate}: {_reason(error)}"
                ) from error
        return context


class AiohttpHttp:
    """:class:`Http` by aiohttp. Make it inside the loop."""

    def __init__(self, connect_seconds: float, tls: ssl.SSLContext | None = None) -> None:
        """``connect_seconds`` bound name lookup, connection and TLS handshake."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls or True),
            timeout=aiohttp.ClientTimeout(total=None, connect=connect_seconds),
            auto_decompress=False,
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> EtcdReply:
        """See :class:`Http`."""
        async with self._request(url, body, headers) as response:
            data = bytearray()
            async for piece in response.content.iter_any():
                data += piece
                if len(data) > _REPLY_BYTES:
                    raise errors.OutcomeUnknownError(f"{_address(url)} answers without end")
            return EtcdReply(response.status, bytes(data))

    @asynccontextmanager
    async def stream(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """See :class:`Http`."""
        async with self._request(url, body, headers) as response:
            yield response.content.iter_any()

    async def close(self) -> None:
        """See :class:`Http`."""
        await self._session.close()

    @asynccontextmanager
    async def _request(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session.closed:
            raise errors.UnavailableError("this node no longer uses its coordinator")
        # aiohttp repeats a request over a stale connection only for idempotent methods: not POST.
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as response:
                yield response
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise errors.UnavailableError(f"{_address(url)}: {_reason(error)}") from error
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, errors.MemfsError):
                raise
            raise errors.OutcomeUnknownError(
                f"{_address(url)} broke off: {_reason(error)}"
            ) from error


def _address(url: str) -> str:
    """``host:port`` of ``scheme://host:port/path``."""
    return url.split("/")[2]


def _reason(error: Exception) -> str:
    """The kernel's word where there is one: aiohttp's repeats the address."""
    cause = getattr(error, "os_error", None)
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.errno:
        return os.strerror(cause.errno) if cause.errno > 0 else str(cause)
    return str(error) or type(error).__name__
