"""Answers as HTTP: JSON, nothing, a redirect, a stream.

Owns the headers of every response. Hadoop 3.5's client cannot parse any Content-Type of JSON and
takes its absence well, so whoever says that he is that client gets none. An idle connection of
Java's is kept for 5 seconds unless it is told otherwise.
"""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web
from multidict import CIMultiDict

from memfs.gateway.shapes import dumps

JAVA_HEADER: Final = "X-Hadoop-Accept-EZ"
"""Every request of Hadoop's Java client has it."""
KEEP_ALIVE_SECONDS: Final = 75
"""What clients are told; the connection is in fact kept a little longer."""
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


class Reply(web.Response):
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

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        if self.bare:
            self.headers.popall(hdrs.CONTENT_TYPE, None)
        if self.keep_alive:
            self.headers["Keep-Alive"] = _KEEP_ALIVE


class Stream(web.StreamResponse):
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

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        if self.bare:
            self.headers.popall(hdrs.CONTENT_TYPE, None)
        if self.keep_alive:
            self.headers["Keep-Alive"] = _KEEP_ALIVE


def is_java(request: web.BaseRequest) -> bool:
    """Whether Hadoop's own client asks."""
    return JAVA_HEADER in request.headers


def json_reply(
    request: web.BaseRequest, content: object, status: int = 200, reason: str | None = None
) -> Reply:
    """``content`` as JSON; text is taken for JSON already."""
    text = content if isinstance(content, str) else dumps(content)
    return Reply(text.encode(), status, JSON, bare=is_java(request), reason=reason)


def json_stream(request: web.BaseRequest) -> Stream:
    """A chunked response for JSON."""
    return Stream(None, 200, JSON, bare=is_java(request))


def redirect(location: str) -> Reply:
    """307 to ``location``."""
    reply = Reply(b"", 307)
    reply.headers[hdrs.LOCATION] = location
    return reply
