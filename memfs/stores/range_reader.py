"""The library obstore: reading ranges of objects, and mapping its failures.

Its threads carry the bytes, so the event loop only sees a finished piece of memory. Must not be
used by a process that forks: a child hangs in it. Invariant: the bytes are of the requested
version, even when the server ignores the condition.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, TypeVar

from memfs.errors import (
    ConfigError,
    MemfsError,
    ObjectChangedError,
    ObjectMissingError,
    StoreDeniedError,
    StoreUnreachableError,
    StoreUnsupportedError,
)
from memfs.quantities import counted
from memfs.stores.errors import of_status
from memfs.stores.http_client import CONNECT_SECONDS, IDLE_SECONDS
from memfs.stores.interface import ObjectInfo
from memfs.stores.replies import tag_of
from memfs.stores.retry import Retry
from memfs.stores.sending import checked
from memfs.types import Buffer, Untyped

T = TypeVar("T")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_STATUS: Final = re.compile(r"status code: (\d{3})")
_CODE: Final = re.compile(r"<Code>(\w{1,64})</Code>")

PIECE_BYTES: Final = 256 << 10
"""Smallest piece of a body that is passed on: malloc reuses buffers of this size."""
STREAMED_BYTES: Final = 2 * PIECE_BYTES
"""Bodies from here on come in pieces."""
RETRIES: Final = {"max_retries": 1, "retry_timeout": timedelta(seconds=5)}
"""The library's own retries; the others are made here, within the caller's deadline."""


def is_readable(path: str) -> bool:
    """Whether the library has a name for an object: it refuses control characters of ASCII."""
    return not _CONTROL.search(path)


def library() -> Untyped:
    """The module. Raises ConfigError that says how to install it."""
    try:
        import obstore
        import obstore.store
    except ImportError:
        raise ConfigError(
            "mounts of s3:, gs: and azblob: need the library obstore on every node: "
            "pip install 'memfs-cluster[s3]'"
        ) from None
    return obstore


def client_options(address: str, *, trust: str = "", verify: bool = True) -> dict[str, object]:
    """The library's connection settings for ``address``."""
    options: dict[str, object] = {
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "timeout": timedelta(seconds=4 * IDLE_SECONDS),
        "http1_only": True,  # one stream per connection: a large body holds nobody up
    }
    if address.startswith("http://"):
        options["allow_http"] = True
    if not verify:
        options["allow_invalid_certificates"] = True
    if trust:
        options["root_certificate"] = _certificates(trust)
    return options


def _certificates(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - read once, at a mount
            return file.read()
    except OSError as error:
        raise ConfigError(f"option ca_file: cannot read {path}: {error.strerror}") from None


class RangeReader:
    """Reads ranges of the objects of one store of the library.

    ``connect`` returns that store with the current credentials; ``look`` asks for an object in
    another way when the library's error is ambiguous, and raises StoreMissingError when there is no
    bucket; ``doubt`` is called when the credentials were refused.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[object]],
        look: Callable[[str], Awaitable[ObjectInfo | None]],
        doubt: Callable[[], None],
        retry: Retry,
    ) -> None:
        self._connect = connect
        self._look = look
        self._doubt = doubt
        self._retry = retry
        self._library = library()

    async def read(self, path: str, offset: int, size: int, tag: bytes) -> Buffer:
        """``size`` bytes of the version ``tag`` (b"": any); ``path`` is the whole key."""
        if not size:
            return b""

        async def attempt() -> Buffer:
            pieces: list[Buffer] = []
            await self._once(path, offset, size, tag, pieces.append, whole=True)
            return pieces[0]

        return await self._retry.run(lambda: self._trusted(attempt), path)

    async def read_into(
        self,
        path: str,
        offset: int,
        into: memoryview,
        tag: bytes,
        arrived: Callable[[int], None],
    ) -> None:
        """As :meth:`read`, in pieces; a retry continues where the attempt before it stopped."""
        assert tag, "bytes of two tries are of one version"
        size = len(into)
        if size < STREAMED_BYTES:
            into[:] = await self.read(path, offset, size, tag)
            arrived(size)
            return
        done = 0

        def taken(piece: Buffer) -> None:
            nonlocal done
            into[done : done + len(piece)] = piece
            done += len(piece)
            arrived(len(piece))

        async def attempt() -> None:
            if done < size:
                await self._once(path, offset + done, size - done, tag, taken)

        await self._retry.run(lambda: self._trusted(attempt), path)

    async def _trusted(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Retry once when the credentials are refused: there may be newer ones."""
        try:
            return await attempt()
        except StoreDeniedError:
            self._doubt()
            return await attempt()

    async def _once(
        self,
        path: str,
        offset: int,
        size: int,
        tag: bytes,
        take: Callable[[Buffer], None],
        *,
        whole: bool = False,
    ) -> None:
        """One request; its body in pieces, or in one piece when ``whole``."""
        options: dict[str, object] = {"range": (offset, offset + size)}
        if tag.startswith(b'"'):
            options["if_match"] = tag.decode()
        done = 0
        try:
            result = await self._library.get_async(await self._connect(), path, options=options)
            meta = result.meta
            found = tag_of(
                meta.get("e_tag") or "", meta["size"], _whole_seconds(meta["last_modified"])
            )
            if tag and found != tag:
                raise ObjectChangedError(f"{path}: the object was changed in the store")
            if whole:
                take(checked(memoryview(await result.bytes_async()), size, path))
                return
            async for piece in result.stream(min_chunk_size=PIECE_BYTES):
                done += len(piece)
                if done > size:
                    break
                take(memoryview(piece))
        except MemfsError:
            raise
        except Exception as error:
            failure = translated(error, path)
            # The library has one word for an object that is missing and for a missing bucket.
            unclear = isinstance(failure, ObjectMissingError) or (
                isinstance(failure, StoreUnreachableError)
                and type(error).__name__ == "GenericError"
            )
            if not unclear:
                raise failure from None
        else:
            if done != size:
                raise ObjectChangedError(f"{path}: {counted(done, 'byte')} came instead of {size}")
            return
        await self._understand(path, offset + size, tag)
        raise failure

    async def _understand(self, path: str, end: int, tag: bytes) -> None:
        """Raises the reason of a failure: a range past the end, a missing object or bucket."""
        info = await self._look(path)
        if info is None or info.is_directory:
            raise ObjectMissingError(f"{path}: the store has no such object any more")
        if (tag and info.tag != tag) or info.size < end:
            raise ObjectChangedError(f"{path}: the object was changed in the store")


def _whole_seconds(moment: Untyped) -> int:
    return int(moment.timestamp()) * 10**9


def translated(error: Exception, path: str) -> MemfsError:
    """Maps a failure of the library. Its text is dropped, since it may contain signed URLs."""
    name = type(error).__name__
    status, code = status_of(error), _CODE.search(str(error))
    if status and code:  # the same class may mean an archived object, or one that was changed
        return of_status(status, path, code[1])
    if isinstance(error, FileNotFoundError):
        return ObjectMissingError(f"{path}: the store has no such object")
    if name in ("PreconditionError", "NotModifiedError", "AlreadyExistsError"):
        return ObjectChangedError(f"{path}: the object was changed in the store")
    if name in ("PermissionDeniedError", "UnauthenticatedError"):
        return StoreDeniedError(f"{path}: the store refuses these credentials")
    if name in ("NotSupportedError", "NotImplementedError", "InvalidPathError"):
        return StoreUnsupportedError(f"{path}: the library does not offer this ({name})")
    if isinstance(error, asyncio.CancelledError):
        raise error
    if isinstance(error, ValueError):
        return StoreUnsupportedError(f"{path}: the library has no objects of such a name")
    if status:
        return of_status(status, path)
    return StoreUnreachableError(f"{path}: the store cannot be reached ({name})")


def status_of(error: Exception) -> int:
    """The HTTP status that the library tells of in a failure; 0: it tells of none."""
    said = _STATUS.search(str(error))
    return int(said[1]) if said else 0
