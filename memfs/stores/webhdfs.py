"""``webhdfs:`` and ``swebhdfs:``, HDFS's REST interface: Hadoop's own, HttpFS, another memfs.

After Hadoop's "WebHDFS REST API". A put writes a temporary file and renames it, since a file is
visible while it is written. A version is file id, length and time of change in milliseconds; HDFS
has no conditional reads, so the version is checked again after each read.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from memfs.errors import (
    DirectoryNotEmptyError,
    MemfsError,
    ObjectChangedError,
    ObjectMissingError,
    PathExistsError,
    StoreConflictError,
    StoreDeniedError,
    StoreUnreachableError,
    StoreUnsupportedError,
)
from memfs.stores.errors import of_status
from memfs.stores.http_client import BodyStream, HttpClient, WholeReply, place
from memfs.stores.interface import Capabilities, ObjectInfo, Page
from memfs.stores.key_names import PARTS, is_key, is_name, joined, parent
from memfs.stores.retry import Retry
from memfs.stores.sending import Sending, checked
from memfs.stores.staged import StagedStore
from memfs.types import Buffer, Json

Authority = Callable[[], Awaitable[Sequence[tuple[str, str]]]]
"""Parameters that say who asks: ``user.name`` or ``delegation``."""
_CAPABILITIES: Final = Capabilities(
    conditional_put=False, rename=True, real_directories=True, modes=False, exact_tags=False
)
_TRANSIENT = (
    "StandbyException",
    "RetriableException",
    "SafeModeException",
    "ServerTooBusyException",
)
_DENIED = ("AccessControlException", "SecurityException", "InvalidToken", "AuthenticationException")


class WebHdfsStore(StagedStore):
    """The store below the directory ``root`` of a cluster at ``address``, http://host:port."""

    def __init__(
        self,
        address: str,
        root: str,
        authority: Authority,
        client: HttpClient,
        retry: Retry,
        dice: random.Random,
    ) -> None:
        super().__init__(dice)
        self._front = f"{address}/webhdfs/v1"
        self._where = place(address)
        self._root = root
        self._authority = authority
        self._client = client
        self._retry = retry

    @property
    def capabilities(self) -> Capabilities:
        return _CAPABILITIES

    async def stat(self, key: str) -> ObjectInfo | None:
        try:
            status = (await self._json("GET", key, "GETFILESTATUS"))["FileStatus"]
        except ObjectMissingError:
            return None
        return _info(key, status)

    async def list(self, directory: str, after: str | None = None, limit: int = 1000) -> Page:
        more = [("startAfter", after)] if after else []
        answer = (await self._json("GET", directory, "LISTSTATUS_BATCH", more))["DirectoryListing"]
        statuses = answer["partialListing"]["FileStatuses"]["FileStatus"]
        if len(statuses) == 1 and not statuses[0]["pathSuffix"]:
            raise ObjectMissingError(f"{directory}: it is no directory in the store")
        taken = statuses[:limit]
        remains = bool(answer["remainingEntries"]) or len(taken) < len(statuses)
        entries, unreachable = [], 0
        for status in taken:
            name = status["pathSuffix"]
            if name == PARTS:
                continue
            if is_name(name) and status["type"] in ("FILE", "DIRECTORY"):
                entries.append(_info(joined(directory, name), status))
            else:
                unreachable += 1
        following = taken[-1]["pathSuffix"] if remains and taken else None
        return Page(tuple(entries), unreachable, following)

    async def read(self, key: str, offset: int, size: int, tag: bytes = b"") -> Buffer:
        if not size:
            return b""
        parameters = [("offset", str(offset)), ("length", str(size))]

        async def attempt() -> Buffer:
            try:
                reply = await self._ask("GET", key, "OPEN", parameters, follow=True, size=size)
            except MemfsError:
                await self._compare(key, tag, offset + size)  # HDFS has no word for a wrong range
                raise
            return reply.body

        data = await self._retry.run(attempt, key)
        await self._compare(key, tag, offset + size)
        return checked(data, size, key)

    async def delete(self, key: str, tag: bytes | None = None) -> None:
        if tag is not None and (found := await self._file(key)) is not None and found.tag != tag:
            raise StoreConflictError(f"{key}: another version of the file is in the store")
        await self._delete(key)

    async def make_directory(self, key: str) -> None:
        await self._json("PUT", key, "MKDIRS")

    async def remove_directory(self, key: str) -> None:
        await self._delete(key)

    async def rename(self, source: str, target: str) -> None:
        await self._move(source, target, "OVERWRITE")

    async def close(self) -> None:
        await self._client.close()

    async def sweep(self, older_than_seconds: float) -> int:
        oldest_ns, swept, after = (time.time() - older_than_seconds) * 1e9, 0, None
        while True:
            try:
                page = await self.list(PARTS, after)
            except ObjectMissingError:
                return swept
            for entry in page.entries:
                if entry.modified_ns < oldest_ns:
                    await self._delete(entry.key)
                    swept += 1
            if (after := page.after) is None:
                return swept

    # --- a put ---------------------------------------------------------------------------------

    async def _write(self, part: str, chunks: Sending) -> None:
        """CREATE in its two steps: the first says where the bytes go."""
        parameters = [("overwrite", "true"), ("noredirect", "true")]

        async def ask() -> WholeReply:
            return await self._ask("PUT", part, "CREATE", parameters, accepted=(200, 201, 307))

        first = await self._retry.run(ask, part)
        if first.status == 307:
            location = first.headers.get("location", "")
        elif first.status == 200:
            location = json.loads(bytes(first.body) or b"{}").get("Location", "")
        else:
            location = ""
        if not location:
            raise StoreUnsupportedError(f"{self._where} does not say where a file's bytes go")
        body = BodyStream(chunks, chunks.size)
        reply = await self._client.request("PUT", location, {}, body)
        if not chunks.size:
            async for _ in chunks:  # which says so when there is more than announced
                pass
        if reply.status not in (200, 201):
            raise error_of(reply, part)

    async def _publish(self, part: str, key: str, *, fresh: bool) -> None:
        await self._move(part, key, "NONE" if fresh else "OVERWRITE")

    async def _move(self, source: str, target: str, option: str) -> None:
        if directory := parent(target):
            await self._json("PUT", directory, "MKDIRS")
        destination = self._path(target)
        parameters = [("destination", destination), ("renameoptions", option)]
        await self._json("PUT", source, "RENAME", parameters)

    # --- single requests -----------------------------------------------------------------------

    async def _delete(self, key: str) -> None:
        try:
            await self._json("DELETE", key, "DELETE", [("recursive", "false")])
        except ObjectMissingError:
            return

    async def _compare(self, key: str, tag: bytes, end: int) -> None:
        """Raises when the file was replaced or truncated since it was read."""
        info = await self._file(key)
        if info is None:
            raise ObjectMissingError(f"{key}: the store has no such file any more")
        if (tag and info.tag != tag) or info.size < end:
            raise ObjectChangedError(f"{key}: the file was changed in the store")

    async def _json(
        self, method: str, key: str, operation: str, parameters: Sequence[tuple[str, str]] = ()
    ) -> Json:
        async def attempt() -> Json:
            reply = await self._ask(method, key, operation, parameters)
            try:
                return json.loads(bytes(reply.body)) if len(reply.body) else {}
            except ValueError:
                raise StoreUnsupportedError(f"{self._where} does not speak WebHDFS") from None

        return await self._retry.run(attempt, key or "the mount's directory")

    async def _ask(
        self,
        method: str,
        key: str,
        operation: str,
        parameters: Sequence[tuple[str, str]],
        *,
        accepted: Sequence[int] = (200,),
        follow: bool = False,
        size: int = -1,
    ) -> WholeReply:
        query = urlencode([("op", operation), *parameters, *await self._authority()])
        url = f"{self._front}{quote(self._path(key))}?{query}"
        reply = await self._client.request(method, url, follow=follow, expected_bytes=size)
        if reply.status not in accepted:
            raise error_of(reply, key or "the mount's directory")
        return reply

    def _path(self, key: str) -> str:
        if not is_key(key):
            raise StoreUnsupportedError(f"{key!r} is no name of a file")
        return f"{self._root}/{key}" if key else self._root or "/"


def authority_of(user: str, token: str, path: str) -> Authority:
    """Who asks: a user by name, or a delegation token, of a file on the nodes if ``path``."""

    def read() -> str:
        try:
            return Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StoreDeniedError(
                f"the node cannot read the token in {path}: {type(error).__name__}"
            ) from None

    async def parameters() -> list[tuple[str, str]]:
        found = await asyncio.to_thread(read) if path else token
        if found:
            return [("delegation", found)]
        return [("user.name", user)] if user else []

    return parameters


def _info(key: str, status: dict[str, Json]) -> ObjectInfo:
    modified = int(status["modificationTime"])
    if status["type"] == "DIRECTORY":
        return ObjectInfo(key, 0, modified * 10**6, b"", True)
    size = int(status["length"])
    tag = b"%x-%x-%x" % (int(status.get("fileId", 0)), size, modified)
    return ObjectInfo(key, size, modified * 10**6, tag)


def error_of(reply: WholeReply, what: str) -> MemfsError:
    """The error for a reply, by the name of the Java class in it."""
    try:
        name = json.loads(bytes(reply.body))["RemoteException"]["exception"]
    except (ValueError, KeyError, TypeError):
        return of_status(reply.status, what)
    if name in _TRANSIENT:
        return StoreUnreachableError(f"{what}: the cluster does not serve now ({name})")
    if name == "FileNotFoundException":
        return ObjectMissingError(f"{what}: the store has no such file")
    if name == "FileAlreadyExistsException":
        return PathExistsError(f"{what}: there is one already")
    if name in ("PathIsNotEmptyDirectoryException", "DirectoryNotEmptyException"):
        return DirectoryNotEmptyError(f"{what}: the directory has entries in the store")
    if name in _DENIED:
        return StoreDeniedError(f"{what}: the store refuses it ({name}); check user and token")
    if name in ("UnsupportedOperationException", "InvalidPathException"):
        return StoreUnsupportedError(f"{what}: the store does not offer this")
    return of_status(reply.status, what, name)
