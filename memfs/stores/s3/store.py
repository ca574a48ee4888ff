"""One bucket, or the part of it below a prefix.

A directory is a prefix that something is below, or a marker: an empty object whose key ends with
``/``. Versions are ETags. Every read names its version, and the reply's ETag is compared again,
since some servers ignore the condition.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from memfs.errors import (
    DirectoryNotEmptyError,
    ObjectChangedError,
    ObjectMissingError,
    StoreConflictError,
    StoreUnsupportedError,
)
from memfs.stores.interface import ABSENT, Capabilities, Expected, ObjectInfo, Page, Store
from memfs.stores.key_names import as_prefix, is_key
from memfs.stores.range_reader import STREAMED_BYTES, RangeReader, is_readable
from memfs.stores.replies import info_of, is_etag
from memfs.stores.s3 import replies
from memfs.stores.s3.direct_reads import DirectReads
from memfs.stores.s3.multipart import PART_BYTES, sweep, upload
from memfs.stores.s3.object_reads import BucketConnection
from memfs.stores.s3.signed_requests import Requests
from memfs.stores.sending import Sending, already_stored, fits
from memfs.transport.environment import Clock
from memfs.types import Buffer

PAGE_KEYS: Final = 1000
"""Most keys that S3 returns in one page."""
_UNORDERED: Final = "--x-s3"
"""Amazon's directory buckets list in no order."""
SINGLE_BYTES: Final = 2 * PART_BYTES
"""Up to this size an object is sent by one request, a larger one in parts."""


class S3Store(Store):
    """The bucket of ``requests`` below ``prefix``, which is empty or ends with ``/``.

    ``connection``: by the library, whose threads decrypt while the event loop does something else;
    large ranges are read by it where it is given. ``conditional``: the server compares versions
    atomically with a put.
    """

    def __init__(
        self,
        requests: Requests,
        direct: DirectReads,
        connection: BucketConnection | None,
        prefix: str,
        clock: Clock,
        *,
        conditional: bool = True,
    ) -> None:
        self._requests = requests
        self._prefix = prefix
        self._clock = clock
        self._direct = direct
        self._beside = None
        if connection is not None:
            self._beside = RangeReader(
                connection.current, self._look, requests.credentials.doubt, requests.retry
            )
        self._capabilities = Capabilities(
            conditional_put=conditional,
            rename=False,
            real_directories=False,
            modes=False,
            ordered=not requests.bucket.name.endswith(_UNORDERED),
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    async def stat(self, key: str) -> ObjectInfo | None:
        if not is_key(key):
            return None
        return await self._look(self._prefix + key) if key else ObjectInfo(key, 0, 0, b"", True)

    async def list(self, directory: str, after: str | None = None, limit: int = 1000) -> Page:
        level = await self._level(self._prefix + as_prefix(directory), after, min(limit, PAGE_KEYS))
        return Page(level.entries, level.unreachable, level.token)

    async def read(self, key: str, offset: int, size: int, tag: bytes = b"") -> Buffer:
        whole = self._whole(key)
        if (library := self._library_for(whole, size)) is not None:
            return await library.read(whole, offset, size, tag)
        data = memoryview(bytearray(size))
        await self._direct.read_into(whole, offset, data, tag, lambda _: None)
        return data

    async def read_into(
        self,
        key: str,
        offset: int,
        into: memoryview,
        tag: bytes,
        arrived: Callable[[int], None],
    ) -> None:
        whole = self._whole(key)
        reader = self._library_for(whole, len(into)) or self._direct
        await reader.read_into(whole, offset, into, tag, arrived)

    def _library_for(self, whole: str, size: int) -> RangeReader | None:
        """What reads a large range over TLS, if it has a name for the object."""
        return self._beside if size >= STREAMED_BYTES and is_readable(whole) else None

    async def put(
        self, key: str, chunks: AsyncIterator[Buffer], size: int, expected: Expected = None
    ) -> ObjectInfo:
        whole, sending = self._whole(key), Sending(chunks, size)
        condition = self._condition(expected)

        async def compare() -> None:
            if expected is not None and (not condition or size > SINGLE_BYTES):
                await self._compare(whole, expected)  # not every server does when parts end

        try:
            if size <= SINGLE_BYTES:
                (body,) = [piece async for piece in sending.pieces(SINGLE_BYTES)]
                await compare()
                reply = await self._requests.ask("PUT", whole, headers=condition, body=body)
                etag = reply.headers.get("etag", "")
            else:
                etag = await upload(self._requests, whole, sending, condition, compare)
        except (ObjectChangedError, ObjectMissingError, StoreConflictError):
            return await already_stored(self, key, sending)
        return await self._put_info(key, etag, size)

    async def delete(self, key: str, tag: bytes | None = None) -> None:
        whole = self._whole(key)
        if tag is not None:
            found = await self._head(whole)
            if found is not None and found.tag != tag:
                raise StoreConflictError(f"{key}: another version of the object is in the store")
        await self._remove(whole)

    async def make_directory(self, key: str) -> None:
        await self._requests.ask("PUT", as_prefix(self._whole(key)))

    async def remove_directory(self, key: str) -> None:
        marker = as_prefix(self._whole(key))
        below = await self._level(marker, None, 2)
        if below.entries or below.unreachable or below.token:
            raise DirectoryNotEmptyError(f"{key}: the directory has entries in the store")
        if below.count:
            await self._remove(marker)

    async def rename(self, source: str, target: str) -> None:
        raise StoreUnsupportedError("S3 cannot rename: an object is copied and deleted instead")

    async def close(self) -> None:
        self._direct.close()
        await self._requests.close()

    async def sweep(self, older_than_seconds: float) -> int:
        before_ns = self._clock.wall_ns() - int(older_than_seconds * 1e9)
        return await sweep(self._requests, self._prefix, before_ns)

    # --- single requests -----------------------------------------------------------------------

    async def _look(self, whole: str) -> ObjectInfo | None:
        """The object or directory. Raises StoreMissingError, which a listing tells."""
        found = await self._head(whole)
        if found is not None:
            return found
        if (await self._level(as_prefix(whole), None, 1)).count:
            return ObjectInfo(whole.removeprefix(self._prefix), 0, 0, b"", True)
        return None

    async def _head(self, whole: str) -> ObjectInfo | None:
        """The object; None also when the bucket is missing."""
        reply = await self._requests.ask("HEAD", whole, accepted=(200, 400, 404))
        if reply.status == 400:  # it has no body: what answers with one says why, expired keys say
            await self._level(self._prefix, None, 1)
            reply = await self._requests.ask("HEAD", whole, accepted=(200, 404))
        if reply.status == 404:
            return None
        return info_of(whole.removeprefix(self._prefix), reply.headers)

    async def _level(self, prefix: str, after: str | None, limit: int) -> replies.Level:
        parameters = [
            ("list-type", "2"),
            ("delimiter", "/"),
            ("encoding-type", "url"),
            ("max-keys", str(limit)),
            ("prefix", prefix),
        ]
        if after is not None:
            parameters.append(("continuation-token", after))
        reply = await self._requests.ask("GET", "", parameters)
        return replies.level(reply.body, self._prefix, prefix, self._requests.bucket.name)

    async def _remove(self, whole: str) -> None:
        await self._requests.ask("DELETE", whole, accepted=(200, 204, 404))

    def _condition(self, expected: Expected) -> dict[str, str]:
        """The headers of a conditional request; none where the store cannot compare."""
        if not self._capabilities.conditional_put or expected is None:
            return {}
        if expected is ABSENT:
            return {"if-none-match": "*"}
        return {"if-match": expected.decode()} if is_etag(expected) else {}

    async def _compare(self, whole: str, expected: Expected) -> None:
        """Compare just before the put, for servers without conditional requests."""
        if not fits(await self._head(whole), expected):
            raise StoreConflictError(f"{whole}: another version of the object is in the store")

    async def _put_info(self, key: str, etag: str, size: int) -> ObjectInfo:
        """The record of the new object. If somebody replaced it already, the next look will see
        theirs."""
        found = await self._head(self._whole(key))
        ours = info_of(key, {"etag": etag}, size)
        if found is None or (is_etag(ours.tag) and found.tag != ours.tag):
            return ObjectInfo(key, size, self._clock.wall_ns(), ours.tag)
        if found.size != size:
            raise StoreConflictError(f"{key}: the object was changed in the store after the put")
        return found

    def _whole(self, key: str) -> str:
        if not key or not is_key(key):
            raise StoreUnsupportedError(f"{key!r} is no name of an object")
        return self._prefix + key
