"""Reading a bucket without the library: bodies are received where they shall lie.

A GET by the library costs five times as much for a small object, and a copy for a large one. What a
server answers in an unusual way is asked for anew, like everything else. Invariant: the bytes are
of the requested version, even when the server ignores the condition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from memfs.errors import ObjectChangedError, StoreUnreachableError, StoreUnsupportedError
from memfs.quantities import counted
from memfs.stores.body_receiver import Accept, Arrived, BodyReceiver, Head
from memfs.stores.errors import retried
from memfs.stores.http_client import place
from memfs.stores.replies import http_ns, is_etag, tag_of
from memfs.stores.s3.replies import error_of
from memfs.stores.s3.signed_requests import Requests

_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class DirectReads:
    """Reads of one bucket, signed and retried as its other ``requests``."""

    def __init__(self, requests: Requests, receiver: BodyReceiver) -> None:
        self._requests = requests
        self._receiver = receiver
        self._place = place(requests.bucket.address)

    async def read_into(
        self,
        key: str,
        offset: int,
        into: memoryview,
        tag: bytes,
        arrived: Callable[[int], None],
    ) -> None:
        """As of :class:`~memfs.stores.interface.Store`, of a whole key; a retry continues where
        the attempt before it stopped, in the same version."""
        what = f"{self._place}/{self._requests.bucket.name}/{key}"
        end, done = offset + len(into), 0

        def came(count: int) -> None:
            nonlocal done
            done += count
            arrived(count)

        def accept(status: int, headers: Mapping[str, str]) -> None:
            nonlocal tag
            total = _total(status, headers, offset + done, end, what)
            etag = headers.get("etag", "")
            modified_ns = 0 if is_etag(tag) else http_ns(headers.get("last-modified", ""))
            found = tag_of(etag, total, modified_ns)
            if (tag := tag or found) != found:
                raise ObjectChangedError(f"{what}: the object was changed in the store")

        async def attempt() -> None:
            if done < len(into):
                await self._once(key, offset + done, into[done:], tag, accept, came, what)

        await self._requests.persist(attempt, what)

    def close(self) -> None:
        """Close the connections."""
        self._receiver.close()

    async def _once(
        self,
        key: str,
        offset: int,
        into: memoryview,
        tag: bytes,
        accept: Accept,
        arrived: Arrived,
        what: str,
    ) -> None:
        """One request, or a second one where the reply is not plain."""
        bucket, end = self._requests.bucket, offset + len(into)
        wanted = {"host": bucket.host, "range": f"bytes={offset}-{end - 1}"}
        if is_etag(tag):
            wanted["if-match"] = tag.decode()
        target = bucket.path(key)
        sent = await self._requests.signed("GET", key, "", wanted)
        reply = await self._receiver.get(target, sent, into, accept, arrived)
        if reply is None:
            url = f"{bucket.address}{target}"
            whole = await self._requests.client.request("GET", url, sent, expected_bytes=len(into))
            reply = Head(*whole)
            if reply.status in (200, 206):
                accept(reply.status, reply.headers)
                if len(reply.body) != len(into):
                    came = counted(len(reply.body), "byte")
                    raise ObjectChangedError(f"{what}: {came} came instead of {len(into)}")
                into[:] = reply.body
                arrived(len(into))
        if reply.status not in (200, 206):
            if retried(reply.status):
                raise StoreUnreachableError(f"{self._place} fails for now ({reply.status})")
            raise error_of(reply.status, reply.headers, reply.body, what)


def _total(status: int, headers: Mapping[str, str], offset: int, end: int, what: str) -> int:
    """Bytes of the whole object. Raises what is wrong with the part of it that comes."""
    if status == 200:
        if offset or headers.get("content-length") != str(end):
            raise StoreUnsupportedError(f"{what}: the store does not offer ranges")
        return end
    said = _RANGE.fullmatch(headers.get("content-range", ""))
    if said is None or int(said[1]) != offset or int(said[2]) >= end:
        raise StoreUnreachableError(f"{what}: the store sent another range")
    if int(said[2]) < end - 1:
        raise ObjectChangedError(f"{what}: the object is shorter now")
    return int(said[3])
