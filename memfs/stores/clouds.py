"""``gs:`` and ``azblob:``, by the library obstore alone.

A level is listed by skipping: keys are listed in order, and after the first key of a sub-directory
the listing continues behind the last one. So a page needs one request for each of its
sub-directories and no memory besides; the library's own call for a level gathers the whole level. A
key that is no valid path ends such a listing with an error that names it, since the library stops
there.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, TypeAlias

from memfs.errors import (
    DirectoryNotEmptyError,
    MemfsError,
    ObjectChangedError,
    ObjectMissingError,
    StoreConflictError,
    StoreDeniedError,
    StoreMissingError,
    StoreUnsupportedError,
)
from memfs.limits import MIB
from memfs.stores.interface import ABSENT, Capabilities, Expected, ObjectInfo, Page, Store
from memfs.stores.key_names import as_prefix, is_key, is_name
from memfs.stores.options import Options
from memfs.stores.range_reader import (
    RETRIES,
    RangeReader,
    client_options,
    library,
    status_of,
    translated,
)
from memfs.stores.replies import is_etag, tag_of
from memfs.stores.retry import Retry
from memfs.stores.sending import Sending, already_stored, fits
from memfs.types import Buffer, Untyped

SINGLE_BYTES: Final = 64 * MIB
"""Up to this size one request sends an object with its condition; a larger one is compared
before."""
PART_BYTES: Final = 8 * MIB
_CHUNK_KEYS: Final = 1000
_CAPABILITIES: Final = Capabilities(
    conditional_put=True, rename=False, real_directories=False, modes=False
)
Metas: TypeAlias = list[Untyped]
_BEHIND: Final = "\U0010ffff"
"""Sorts after every other character: marks the position after all keys of a directory."""


class CloudStore(Store):
    """The store below ``prefix`` (empty, or ending with ``/``) of one of the library's stores."""

    def __init__(
        self, make: Callable[[], Untyped], prefix: str, retry: Retry, *, numbered: bool = False
    ) -> None:
        """``numbered``: a put compares the generation of an object, as Google does, not its
        ETag."""
        self._make = make
        self._numbered = numbered
        self._made: Untyped = None
        self._prefix = prefix
        self._retry = retry
        self._library = library()
        self._reader = RangeReader(self._connected, self._look, self._forget, retry)

    @property
    def capabilities(self) -> Capabilities:
        return _CAPABILITIES

    async def stat(self, key: str) -> ObjectInfo | None:
        if not is_key(key):
            return None
        return await self._look(self._prefix + key) if key else ObjectInfo(key, 0, 0, b"", True)

    async def list(self, directory: str, after: str | None = None, limit: int = 1000) -> Page:
        prefix = self._prefix + as_prefix(directory)
        entries: list[ObjectInfo] = []
        unreachable, offset = 0, after or ""
        while len(entries) < limit:
            wanted = min(limit - len(entries), _CHUNK_KEYS)
            metas = await self._keys(prefix, offset, wanted)
            if not metas:
                return Page(tuple(entries), unreachable, None)
            for meta in metas:
                name, slash, _ = meta["path"][len(prefix) :].partition("/")
                offset = meta["path"]
                if not is_name(name):
                    unreachable += 1
                elif slash:
                    entries.append(ObjectInfo(self._key(prefix + name), 0, 0, b"", True))
                else:
                    entries.append(self._info(meta))
                if slash:  # leap over what else is below it
                    offset = f"{prefix}{name}/{_BEHIND}"
                    break
        return Page(tuple(entries), unreachable, offset)

    async def read(self, key: str, offset: int, size: int, tag: bytes = b"") -> Buffer:
        return await self._reader.read(self._whole(key), offset, size, tag)

    async def read_into(
        self,
        key: str,
        offset: int,
        into: memoryview,
        tag: bytes,
        arrived: Callable[[int], None],
    ) -> None:
        await self._reader.read_into(self._whole(key), offset, into, tag, arrived)

    async def put(
        self, key: str, chunks: AsyncIterator[Buffer], size: int, expected: Expected = None
    ) -> ObjectInfo:
        whole, sending = self._whole(key), Sending(chunks, size)
        try:
            if size <= SINGLE_BYTES:
                (body,) = [piece async for piece in sending.pieces(SINGLE_BYTES)]
                mode = await self._mode(whole, expected)
                await self._call("put_async", whole, bytes(body), mode=mode, use_multipart=False)
            else:
                if not fits(await self._head(whole), expected):
                    raise StoreConflictError(f"{key}: another version is in the store")
                pieces = sending.pieces(PART_BYTES)
                await self._call(
                    "put_async", whole, (bytes(piece) async for piece in pieces), once=True
                )
        except (ObjectChangedError, ObjectMissingError, StoreConflictError):
            return await already_stored(self, key, sending)
        found = await self._head(whole)
        if found is None or found.size != size:
            raise StoreConflictError(f"{key}: the object was changed in the store after the put")
        return found

    async def delete(self, key: str, tag: bytes | None = None) -> None:
        whole = self._whole(key)
        found = await self._head(whole)
        if found is None:
            await self._keys(whole, "", 1)  # raises when it is the bucket that is missing
            return
        if tag is not None and found.tag != tag:
            raise StoreConflictError(f"{key}: another version of the object is in the store")
        try:
            await self._call("delete_async", whole)
        except ObjectMissingError:
            return

    async def make_directory(self, key: str) -> None:
        """Does nothing: a directory exists with its first object, and the library writes no
        markers."""
        self._whole(key)

    async def remove_directory(self, key: str) -> None:
        if await self._keys(as_prefix(self._whole(key)), "", 1):
            raise DirectoryNotEmptyError(f"{key}: the directory has entries in the store")

    async def rename(self, source: str, target: str) -> None:
        raise StoreUnsupportedError("this store cannot rename: objects are copied and deleted")

    # --- single calls --------------------------------------------------------------------------

    async def _keys(self, prefix: str, offset: str, count: int) -> Metas:
        """Up to ``count`` objects below ``prefix`` whose keys come after ``offset``.

        Raises StoreMissingError: nothing but the bucket can be missing here.
        """

        async def attempt() -> Metas:
            stream = self._library.list(
                await self._connected(), prefix or None, offset=offset or None, chunk_size=count
            )
            try:
                async for metas in stream:
                    if metas:
                        return list(metas)
            except Exception as error:
                if status_of(error) == 404:  # the library's class for it says nothing
                    raise StoreMissingError("the store has no such bucket or container") from None
                raise translated(error, what) from None
            return []

        what = prefix or "the bucket or container"
        return await self._retry.run(attempt, what)

    async def _mode(self, whole: str, expected: Expected) -> object:
        """The library's put mode for the expected version.

        Raises StoreConflictError when another one is seen to be there.
        """
        if expected is None:
            return "overwrite"
        if expected is ABSENT:
            return "create"
        etag = expected.decode() if is_etag(expected) else '"none"'
        if not self._numbered:
            return {"e_tag": etag}
        meta = await self._meta(whole)
        if meta is None or self._info(meta).tag != expected:
            raise StoreConflictError(f"{whole}: another version is in the store")
        return {"e_tag": etag, "version": meta.get("version")}

    async def _look(self, whole: str) -> ObjectInfo | None:
        """The object or directory. Raises StoreMissingError, which a listing tells."""
        found = await self._head(whole)
        if found is None and await self._keys(as_prefix(whole), "", 1):
            return ObjectInfo(self._key(whole), 0, 0, b"", True)
        return found

    async def _head(self, whole: str) -> ObjectInfo | None:
        """The object; None also when the bucket is missing."""
        meta = await self._meta(whole)
        return None if meta is None else self._info(meta)

    async def _meta(self, whole: str) -> Untyped:
        """What the library says of the object; None also when the bucket is missing."""
        try:
            return await self._call("head_async", whole)
        except ObjectMissingError:
            return None

    async def _call(
        self, name: str, whole: str, *arguments: Untyped, once: bool = False, **more: Untyped
    ) -> object:
        async def attempt() -> Untyped:
            try:
                call = getattr(self._library, name)
                return await call(await self._connected(), whole, *arguments, **more)
            except (MemfsError, ValueError):
                raise
            except Exception as error:
                raise translated(error, whole) from None

        return await (attempt() if once else self._retry.run(attempt, whole))

    async def _connected(self) -> Untyped:
        if self._made is None:
            self._made = self._make()
        return self._made

    def _forget(self) -> None:
        self._made = None

    def _info(self, meta: Untyped) -> ObjectInfo:
        modified_ns = int(meta["last_modified"].timestamp()) * 10**9
        tag = tag_of(meta.get("e_tag") or "", meta["size"], modified_ns)
        return ObjectInfo(self._key(meta["path"]), meta["size"], modified_ns, tag)

    def _key(self, whole: str) -> str:
        return whole.removeprefix(self._prefix)

    def _whole(self, key: str) -> str:
        if not key or not is_key(key):
            raise StoreUnsupportedError(f"{key!r} is no name of an object")
        return self._prefix + key


def maker(scheme: str, container: str, options: Options) -> Callable[[], Untyped]:
    """A function that makes the library's store for a bucket of Google or a container of Azure."""
    endpoint, path = options.text("endpoint"), options.text("credentials")
    trust, verify = options.text("ca_file"), options.flag("verify_tls", True)
    settings: dict[str, object] = {
        "client_options": client_options(endpoint or "https://", trust=trust, verify=verify),
        "retry_config": RETRIES,
        "skip_signature": options.flag("anonymous"),
    }
    stores = library().store
    if scheme == "gs":
        if endpoint:  # an emulator: the library takes its address from such a file only
            emulator = {"gcs_base_url": endpoint, "disable_oauth": True}
            settings["service_account_key"] = json.dumps(
                emulator | {"client_email": "", "private_key": "", "private_key_id": ""}
            )
        elif path:
            settings["service_account"] = path
        return lambda: stores.GCSStore(container, **settings)
    settings["account_name"] = options.text("account")
    if endpoint:
        settings["endpoint"] = endpoint
    for name, key in (("account_key", "account_key"), ("sas_token", "sas_key")):
        if given := options.text(name):
            settings[key] = given

    def azure() -> object:
        hidden = {"account_key": _secret(path)} if path else {}
        return stores.AzureStore(container, **settings, **hidden)

    return azure


def _secret(path: str) -> str:
    """The account's key, of a file of the node. Raises StoreDeniedError."""
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreDeniedError(
            f"the node cannot read the key in {path}: {type(error).__name__}"
        ) from None
