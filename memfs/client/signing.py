"""Signing files and checking them: the hashes of what a client itself reads from the nodes.

Owns the reading of one version of a file for it. Must not know the cryptography
(:mod:`memfs.security.signing`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os

from memfs.client.calls import modes
from memfs.client.calls.arguments import whole
from memfs.client.calls.deadline import Deadline
from memfs.client.calls.wire import PathLike, WirePath
from memfs.client.contents import ContentOperations
from memfs.client.context import ClientContext
from memfs.client.handles.create_options import CreateOptions
from memfs.client.handles.opening import open_handle
from memfs.errors import BusyError, IntegrityError, NoAttributeError
from memfs.security.hash_tree import LEAF_BYTES, leaf, root_of
from memfs.security.keys import key_from
from memfs.security.signature import ATTRIBUTE, Signature, decode

_READING = modes.parse("rb")
PIECE_BYTES = 8 * LEAF_BYTES
LOOKS = 4


class SignatureOperations(ContentOperations):
    """Signing files, and reading what somebody signed."""

    async def sign(
        self,
        path: PathLike,
        key: bytes | str | os.PathLike[str],
        *,
        version: int | None = None,
        timeout: float | None = None,
    ) -> Signature:
        """Sign a file's content, path and version; the signature is an extended attribute of it.

        ``key``: an Ed25519 private key, its 32 bytes, as text, or a ``Path`` of a key file.
        ``version``: None: one more than the file's signature before has.
        """
        from memfs.security.signing import sign  # cryptography takes its time

        private, where = key_from(key), self._wire(path)
        deadline = self._session.budget(timeout)
        if version is None:
            version = 1
            with contextlib.suppress(NoAttributeError, IntegrityError):
                version += (await self._signature(path, deadline)).version
        size, root = await hashed(self._context, where, deadline)
        found = sign(private, where.text, whole("version", version), size, root)
        await self.setxattr(path, ATTRIBUTE, found.encoded(), timeout=deadline)
        return found

    async def _signature(self, path: PathLike, deadline: Deadline | None) -> Signature:
        return decode(await self.getxattr(path, ATTRIBUTE, timeout=deadline))

    async def verify(
        self,
        path: PathLike,
        *keys: bytes | str | os.PathLike[str],
        at_least: int = 0,
        timeout: float | None = None,
    ) -> Signature:
        """Check that a file is what one of the ``keys`` (public ones) signed under this path.

        All of it is read. ``at_least``: the oldest version that is accepted, for only who knows
        which one is the newest can tell that an older one was put back. Raises IntegrityError.
        """
        return (await self._verified(path, keys, at_least, None, timeout))[0]

    async def read_signed(
        self,
        path: PathLike,
        *keys: bytes | str | os.PathLike[str],
        at_least: int = 0,
        timeout: float | None = None,
    ) -> bytes:
        """The whole content, of which the very bytes returned were checked as by ``verify``."""
        kept: list[bytes] = []
        _, stored = await self._verified(path, keys, at_least, kept, timeout)
        return self._content(path, stored)

    def _content(self, path: PathLike, stored: bytes) -> bytes:
        """The content that stored bytes stand for."""
        return stored

    async def _verified(
        self,
        path: PathLike,
        keys: tuple[bytes | str | os.PathLike[str], ...],
        at_least: int,
        keep: list[bytes] | None,
        timeout: float | None,
    ) -> tuple[Signature, bytes]:
        from memfs.security.signing import check

        trusted, where = [key_from(key) for key in keys], self._wire(path)
        deadline = self._session.budget(timeout)
        try:
            found = await self._signature(path, deadline)
            check(found, trusted, where.text, at_least)
            same(found, *await hashed(self._context, where, deadline, keep))
        except NoAttributeError:
            raise IntegrityError("it is not signed", path=where.given) from None
        except IntegrityError as error:
            error.filename = where.given
            raise
        return found, b"".join(keep or ())


async def hashed(
    context: ClientContext,
    path: WirePath,
    deadline: Deadline | None,
    keep: list[bytes] | None = None,
) -> tuple[int, bytes]:
    """Length and root of the stored bytes of one version; ``keep`` gets the bytes.

    ``deadline``: of all of it; None: each block has the configured time.
    Raises BusyError when the file changes faster than it can be read.
    """
    options = CreateOptions.of(context.session.config)
    for _ in range(LOOKS):
        leaves: list[bytes] = []
        if keep is not None:
            keep.clear()
        handle = await open_handle(context, path.given, path.raw, _READING, options, deadline)
        try:
            before, size, at = handle.file.attributes.change, handle.size, 0
            while at < size:
                piece = await handle.read(at, min(PIECE_BYTES, size - at), deadline)
                if not piece:
                    break
                leaves += await asyncio.to_thread(_leaves, piece)
                if keep is not None:
                    keep.append(piece)
                at += len(piece)
            if at == size and handle.file.attributes.change == before:
                return size, root_of(leaves)
        finally:
            await handle.close(deadline)
    raise BusyError("the file changes faster than it can be read: try later", path=path.given)


def _leaves(piece: bytes) -> list[bytes]:
    view = memoryview(piece)
    return [leaf(view[at : at + LEAF_BYTES]) for at in range(0, len(view), LEAF_BYTES)]


def same(found: Signature, size: int, root: bytes) -> None:
    """Raises IntegrityError when the content is not the one that was signed."""
    if (found.size, found.root) != (size, root):
        raise IntegrityError(
            f"the content is not what was signed as version {found.version}: it was changed since, "
            "or by a node"
        )
