"""HTTP requests to stores over one pool of connections; failures are raised as memfs's errors.

Owns the session and the reading of bodies. A body is read whole, into memory of its own, and is at
most what one ranged read or one page of a listing asks for. Invariant: no message holds a header, a
query or a body that was sent: those carry signatures and tokens.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from memfs.errors import ConfigError, MemfsError, StoreDeniedError, StoreUnreachableError
from memfs.limits import KIB, MIB
from memfs.stores.errors import retried
from memfs.types import Buffer

CONNECTIONS: Final = 64
"""Connections to one store: enough for 32 small reads in flight beside writes and listings."""
CONNECT_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 10.0
"""Time without a byte of a reply after which the request is given up and retried."""
BODY_BYTES: Final = 128 * MIB
"""Largest body of one reply."""


_SLICE_BYTES: Final = 256 * KIB
_NO_TLS: Final = frozenset(
    {"PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "WRONG_VERSION_NUMBER"}
)
"""What releases of OpenSSL say of an answer in clear."""
_UNKNOWN_ISSUER: Final = frozenset({18, 19, 20, 21})
"""OpenSSL's codes (``x509_vfy.h``) for certificates of nobody that is trusted."""


class WholeReply(NamedTuple):
    """One reply, read to its end. ``headers`` have names in lower case."""

    status: int
    headers: dict[str, str]
    body: Buffer


class HttpClient:
    """Requests to one store. Made outside of a loop, its session within the first request."""

    def __init__(self, *, trust: str = "", verify: bool = True, idle: float = IDLE_SECONDS) -> None:
        """Args: ``trust``, a file of CA certificates beside the system's; ``verify`` TLS."""
        self._tls = tls_settings(trust, verify)
        self._idle = idle
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: Buffer | BodyStream | None = None,
        *,
        follow: bool = False,
        expected_bytes: int = -1,
        patient: bool = False,
    ) -> WholeReply:
        """Ask once. ``url`` is sent as it is written, already encoded.

        ``expected_bytes``: a longer body is not read; one byte more than this is returned then.
        ``patient``: an answer may take its time, as long as the caller has.
        Raises StoreUnreachableError when there was no reply, a broken one, or one that says that
        the store fails for now, and StoreDeniedError when its certificate is refused.
        """
        where, sent = place(url), dict(headers or {})
        data: _Body | BodyStream | None = None
        if body is not None and len(body):
            sent["content-length"] = str(len(body))
            data = body if isinstance(body, BodyStream) else _Body(body)
        try:
            async with self._sessions().request(
                method,
                URL(url, encoded=True),
                headers=sent,
                data=data,
                allow_redirects=follow,
                timeout=_timeout(None if patient else self._idle),
            ) as response:
                limit = BODY_BYTES if expected_bytes < 0 else expected_bytes
                content = b"" if method == "HEAD" else await _body(response, limit)
                found = {name.lower(): value for name, value in response.headers.items()}
                reply = WholeReply(response.status, found, content)
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            if isinstance(body, BodyStream) and body.failure is not None:
                raise body.failure from None
            raise of_connection(_cause(error), where) from None
        if retried(reply.status):
            raise StoreUnreachableError(f"{where} fails for now ({reply.status})")
        return reply

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _sessions(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=self._tls)
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Content-Type", "Accept-Encoding"),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class BodyStream:
    """A body of known length that comes piece by piece, and only once.

    An exception of its source is kept in ``failure``, since the client hides it.
    """

    def __init__(self, chunks: AsyncIterable[Buffer], length: int) -> None:
        self.failure: BaseException | None = None
        self._chunks = chunks
        self._length = length

    def __len__(self) -> int:
        return self._length

    async def __aiter__(self) -> AsyncIterator[Buffer]:
        try:
            async for chunk in self._chunks:
                for piece in slices(chunk):
                    yield piece
        except Exception as error:
            self.failure = error
            raise


def slices(data: Buffer) -> Iterator[memoryview]:
    """Pieces small enough for one turn of the event loop."""
    view = memoryview(data)
    for at in range(0, len(view), _SLICE_BYTES):
        yield view[at : at + _SLICE_BYTES]


class _Body:
    """A body in slices, so that a large one does not hold the event loop up; may be sent twice."""

    def __init__(self, data: Buffer) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        for piece in slices(self._data):
            yield piece


async def _body(response: aiohttp.ClientResponse, limit: int) -> Buffer:
    """The body, checked against its Content-Length; at most one byte more than ``limit``."""
    announced = response.content_length
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > limit:
            response.close()  # the rest is not wanted, and the connection is not worth keeping
            return memoryview(data)[: limit + 1]
    if announced is not None and len(data) != announced:
        raise StoreUnreachableError(f"{place(str(response.url))} broke a reply off")
    return memoryview(data)


def _timeout(idle: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=idle)


def place(url: str) -> str:
    """Where a URL leads, as it may be shown: scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def of_connection(error: Exception, where: str) -> MemfsError:
    """The error for a connection to ``where`` that was not made, or that broke off.

    A certificate that is refused stays so, however often it is shown: StoreDeniedError.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return StoreDeniedError(f"{where}: its certificate is refused: {_refused(error)}")
    if isinstance(error, TimeoutError):
        reason = "it does not answer"
    elif isinstance(error, ssl.SSLError):
        reason = f"TLS fails ({error.reason})"
        if error.reason in _NO_TLS:
            reason += "; does it want http://?"
    elif isinstance(error, OSError) and error.strerror:
        number = error.errno or 0  # below 0 of a resolver
        reason = os.strerror(number) if number > 0 else error.strerror
    else:
        reason = type(error).__name__
    return StoreUnreachableError(f"{where} cannot be reached: {reason}")


def _refused(error: ssl.SSLCertVerificationError) -> str:
    reason = error.verify_message.rstrip(".")
    if error.verify_code in _UNKNOWN_ISSUER:
        reason += "; name a file of its authority's certificates, on the nodes: -o ca_file=FILE"
    return reason


def _cause(error: Exception) -> Exception:
    """What the library has wrapped."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    return error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error


def tls_context(trust: str, verify: bool) -> ssl.SSLContext:
    """As :func:`tls_settings`, for whoever makes connections by himself."""
    settings = tls_settings(trust, verify)
    if isinstance(settings, ssl.SSLContext):
        return settings
    context = ssl.create_default_context()
    if not settings:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def tls_settings(trust: str, verify: bool) -> ssl.SSLContext | bool:
    """Whom to trust: a file of certificates beside the system's, these alone, or anybody.

    Raises ConfigError.
    """
    if not verify:
        return False
    if not trust:
        return True
    try:
        context = ssl.create_default_context()
        context.load_verify_locations(trust)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"option ca_file: cannot read certificates of {trust}: {error}") from None
    return context
