"""Answers as HTTP: JSON, nothing, a redirect, a stream.

Owns the headers of every response. Hadoop 3.5's client cannot parse any Content-Type of JSON but
accepts its absence, so a client with that User-Agent gets none. Java keeps an idle connection for 5
seconds unless Keep-Alive says otherwise.
"""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web
from multidict import CIMultiDict

from memfs.gateway.hadoop.shapes import dumps

JAVA_HEADER: Final = "X-Hadoop-Accept-EZ"
"""Every request of Hadoop's Java client has it."""
KEEP_ALIVE_SECONDS: Final = 75
"""The Keep-Alive timeout that clients are told; the connection is kept a little longer."""
_KEEP_ALIVE: Final = f"timeout={KEEP_ALIVE_SECONDS}, max=1000000"
OCTETS: Final = "application/octet-stream"
JSON: Final = "application/json"


def _headers(content_type: str) -> CIMultiDict[str]:
    return CIMultiDict(
        {
            hdrs.CONTENT_TYPE: content_type,
            hdrs.SERVER: "memfs",
            hdrs.CACHE_CONTROL: "no-cache",
            "X-Content-Type-Options": "nosniff",
        }
    )


class _Answer(web.StreamResponse):
    """With the headers of every response; ``bare`` leaves Content-Type out."""

    bare = False

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        if self.bare:
            self.headers.popall(hdrs.CONTENT_TYPE, None)
        if self.keep_alive:
            self.headers["Keep-Alive"] = _KEEP_ALIVE


class HttpReply(_Answer, web.Response):
    """A response whose body is complete. ``bare`` leaves Content-Type out."""

    def __init__(
        self,
        body: bytes = b"",
        status: int = 200,
        content_type: str = OCTETS,
        *,
        bare: bool = False,
        reason: str | None = None,
    ) -> None:
        super().__init__(body=body, status=status, reason=reason, headers=_headers(content_type))
        self.bare = bare


class HttpStream(_Answer):
    """A response whose body is written piece by piece; ``length`` None: in chunks."""

    def __init__(
        self,
        length: int | None,
        status: int = 200,
        content_type: str = OCTETS,
        *,
        bare: bool = False,
    ) -> None:
        super().__init__(status=status, headers=_headers(content_type))
        self.bare = bare
        if length is None:
            self.enable_chunked_encoding()
        else:
            self.content_length = length


def is_java(request: web.BaseRequest) -> bool:
    """Whether Hadoop's own client asks."""
    return JAVA_HEADER in request.headers


def local_address(request: web.BaseRequest) -> tuple[str, int]:
    """Address and port that the client connected to."""
    assert request.transport is not None, "a request has a connection until it is answered"
    address, port = request.transport.get_extra_info("sockname")[:2]
    return str(address), int(port)


def json_reply(
    request: web.BaseRequest, content: object, status: int = 200, reason: str | None = None
) -> HttpReply:
    """``content`` as JSON; text is taken for JSON already."""
    text = content if isinstance(content, str) else dumps(content)
    return HttpReply(text.encode(), status, JSON, bare=is_java(request), reason=reason)


def json_stream(request: web.BaseRequest) -> HttpStream:
    """A chunked response for JSON."""
    return HttpStream(None, 200, JSON, bare=is_java(request))


def redirect(location: str) -> HttpReply:
    """307 to ``location``."""
    reply = HttpReply(b"", 307)
    reply.headers[hdrs.LOCATION] = location
    return reply
