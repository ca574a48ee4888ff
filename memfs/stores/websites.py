"""``http:`` and ``https:``, a web server's files, read-only.

A directory is what redirects to its name with a slash; its entries are the links of the page that
the server shows for it (nginx's and Apache's indexes, Python's server), each asked for once,
several at a time. Versions are strong ETags, else size and time. What has no size cannot be read in
pieces and is refused, and so is the far end of a large file without ranges.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Final, TypeAlias
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit

from memfs.concurrency import results
from memfs.errors import (
    InvalidArgumentError,
    MemfsError,
    NotDirectoryError,
    ObjectChangedError,
    ObjectMissingError,
    StoreDeniedError,
    StoreUnreachableError,
    StoreUnsupportedError,
)
from memfs.limits import MIB
from memfs.stores.errors import of_status
from memfs.stores.http_client import HttpClient, WholeReply
from memfs.stores.interface import Capabilities, Expected, ObjectInfo, Page, Store
from memfs.stores.key_names import is_key, joined
from memfs.stores.levels import Levels
from memfs.stores.replies import info_of, is_etag
from memfs.stores.retry import Retry
from memfs.stores.sending import checked
from memfs.types import Buffer

AT_ONCE: Final = 32
"""Entries of a page that are requested concurrently."""
INDEX_BYTES: Final = 64 * MIB
"""Largest page of a directory: about half a million links."""
PREFIX_BYTES: Final = 64 * MIB
"""Of a server without ranges, a part of a file is read with what is before it, up to here."""
Names: TypeAlias = list[str]
_REDIRECTS: Final = 5
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_CAPABILITIES = Capabilities(
    conditional_put=False, rename=False, real_directories=False, modes=False, writable=False
)


class WebsiteStore(Store):
    """The store below ``base``, a URL without a slash at its end."""

    def __init__(self, base: str, client: HttpClient, retry: Retry) -> None:
        self._base = base
        self._client = client
        self._retry = retry
        self._levels = Levels()

    @property
    def capabilities(self) -> Capabilities:
        return _CAPABILITIES

    async def stat(self, key: str) -> ObjectInfo | None:
        if not key:
            return ObjectInfo("", 0, 0, b"", True)
        return await self._look(key) if is_key(key) else None

    async def list(self, directory: str, after: str | None = None, limit: int = 1000) -> Page:
        async def names() -> list[str]:
            return await self._index(directory)

        some, invalid, following = await self._levels.some(directory, after, limit, names)

        async def look(name: str) -> ObjectInfo | None:
            try:
                return await self._look(joined(directory, name))
            except (InvalidArgumentError, StoreDeniedError, StoreUnsupportedError):
                return None  # it is counted, and hides none of the others

        looks = (look(name) for name in some)
        found = [info for info in await results(looks, AT_ONCE) if info is not None]
        return Page(tuple(found), invalid + len(some) - len(found), following)

    async def read(self, key: str, offset: int, size: int, tag: bytes = b"") -> Buffer:
        if not size:
            return b""
        headers = {"range": f"bytes={offset}-{offset + size - 1}"}
        if is_etag(tag):
            headers["if-match"] = tag.decode()

        async def attempt() -> Buffer:
            reply = await self._client.request(
                "GET", self._url(key), headers, follow=True, expected_bytes=size
            )
            if reply.status == 200 and 0 < offset <= PREFIX_BYTES - size:
                reply = await self._client.request(
                    "GET", self._url(key), headers, follow=True, expected_bytes=offset + size
                )
            return _piece(reply, key, offset, size, tag)

        return await self._retry.run(attempt, key)

    async def probe(self) -> None:
        await self._index("")

    async def put(
        self, key: str, chunks: AsyncIterator[Buffer], size: int, expected: Expected = None
    ) -> ObjectInfo:
        raise _read_only()

    async def delete(self, key: str, tag: bytes | None = None) -> None:
        raise _read_only()

    async def make_directory(self, key: str) -> None:
        raise _read_only()

    async def remove_directory(self, key: str) -> None:
        raise _read_only()

    async def rename(self, source: str, target: str) -> None:
        raise _read_only()

    async def close(self) -> None:
        await self._client.close()

    # --- single requests -----------------------------------------------------------------------

    async def _look(self, key: str) -> ObjectInfo | None:
        """Looks up one name by HEAD. Redirects are followed here, since one to a slash means a
        directory."""
        url = self._url(key)
        for _ in range(_REDIRECTS):
            reply = await self._retry.run(lambda url=url: self._client.request("HEAD", url), key)  # type: ignore[misc]
            if reply.status not in (301, 302, 303, 307, 308):
                break
            target = urljoin(url, reply.headers.get("location", ""))
            if urlsplit(target).path == urlsplit(url).path + "/":
                return ObjectInfo(key, 0, 0, b"", True)
            url = target
        if reply.status in (404, 410):
            return None
        if reply.status != 200:
            raise of_status(reply.status, key)
        if "content-length" not in reply.headers:
            raise StoreUnsupportedError(f"{key}: the server does not tell its size")
        return info_of(key, reply.headers)

    async def _index(self, directory: str) -> Names:
        """Names that the page of a directory links to."""
        url = self._url(directory) + "/"
        reply = await self._retry.run(
            lambda: self._client.request("GET", url, follow=True, expected_bytes=INDEX_BYTES),
            directory or "the mount's directory",
        )
        if reply.status != 200:
            raise of_status(reply.status, directory or "the mount's directory")
        if len(reply.body) > INDEX_BYTES:
            raise StoreUnsupportedError(f"{directory}: the page of this directory is too long")
        if "html" not in reply.headers.get("content-type", ""):
            raise NotDirectoryError(f"{directory}: the server shows no list of files for it")
        return links(bytes(reply.body).decode("utf-8", "replace"), url)

    def _url(self, key: str) -> str:
        return f"{self._base}/{quote(key)}" if key else self._base


class _Links(HTMLParser):
    """Collects the targets of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.targets += [value for name, value in attrs if name == "href" and value]


def links(page: str, url: str) -> list[str]:
    """Names directly below ``url`` that a page links to, each once.

    One that is not UTF-8 is given as ``os.fsdecode`` would, which is no name.
    """
    parser = _Links()
    parser.feed(page)
    base = urlsplit(url)
    found: dict[str, None] = {}
    for target in parser.targets:
        parts = urlsplit(urljoin(url, target))
        below = parts.path.removeprefix(base.path)
        name = below.removesuffix("/")
        if parts.netloc != base.netloc or below == parts.path or not name or "/" in name:
            continue
        if not parts.query:  # a column's order, in Apache's
            found[unquote_to_bytes(name).decode("utf-8", "surrogateescape")] = None
    return list(found)


def _piece(reply: WholeReply, key: str, offset: int, size: int, tag: bytes) -> Buffer:
    """The bytes of a reply to a ranged read, checked against the request."""
    if reply.status in (404, 410):
        raise ObjectMissingError(f"{key}: the server has no such file any more")
    if reply.status == 200:
        total = int(reply.headers.get("content-length", "-1"))
        if offset > PREFIX_BYTES - size:
            raise StoreUnsupportedError(f"{key}: the server does not give ranges of a file")
        if 0 <= total < offset + size:
            raise ObjectChangedError(f"{key}: the file is shorter now")
        reply = reply._replace(body=memoryview(reply.body)[offset : offset + size])
    elif reply.status == 206:
        total = _total(reply, key, offset, size)
    else:
        raise of_status(reply.status, key)
    if tag and total >= 0 and info_of(key, reply.headers, total).tag != tag:
        raise ObjectChangedError(f"{key}: the file was changed on the server")
    return checked(reply.body, size, key)


def _total(reply: WholeReply, key: str, offset: int, size: int) -> int:
    """The file's size by Content-Range, which must match the requested range."""
    found = _CONTENT_RANGE.fullmatch(reply.headers.get("content-range", ""))
    if found is None:
        raise StoreUnreachableError(f"{key}: the server's reply does not say which range it is")
    first, last, total = int(found[1]), int(found[2]), found[3]
    if first != offset or last > offset + size - 1:
        raise StoreUnreachableError(f"{key}: the server's reply is another range")
    if last < offset + size - 1:
        raise ObjectChangedError(f"{key}: the file is shorter now")
    return -1 if total == "*" else int(total)


def _read_only() -> MemfsError:
    return StoreUnsupportedError("a web server's files are read-only")
