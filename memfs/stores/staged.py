"""Stores in which a file is visible while it is written: a put writes a temporary file and moves it
into place. Owns the steps of such a put, for a local file system, WebHDFS and fsspec. Unfinished
files are in one directory at the mount's root, which no listing shows. The expected version is
compared just before the move, so that the time in which a stranger's change can be lost is short.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Final

from memfs.errors import MemfsError, PathExistsError
from memfs.stores.interface import ABSENT, Expected, ObjectInfo, Store
from memfs.stores.key_names import PARTS, joined
from memfs.stores.sending import Sending, already_stored, fits, verified
from memfs.types import Buffer

_DISCARD_SECONDS: Final = 5.0


class StagedStore(Store):
    """A store with a move that replaces."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    async def put(
        self, key: str, chunks: AsyncIterator[Buffer], size: int, expected: Expected = None
    ) -> ObjectInfo:
        part = joined(PARTS, f"{self._dice.getrandbits(64):016x}")
        sending = Sending(chunks, size)
        try:
            await self._write(part, sending)
            if not fits(await self._file(key), expected):
                return await already_stored(self, key, sending)
            try:
                await self._publish(part, key, fresh=expected is ABSENT)
            except PathExistsError:
                return await already_stored(self, key, sending)
        finally:
            await self._let_go(part)
        return await verified(self, key, sending)

    async def _file(self, key: str) -> ObjectInfo | None:
        present = await self.stat(key)
        return None if present is None or present.is_directory else present

    async def _let_go(self, part: str) -> None:
        """Remove a temporary file, also when the put was cancelled; :meth:`sweep` removes
        others."""
        with contextlib.suppress(MemfsError, TimeoutError):
            async with asyncio.timeout(_DISCARD_SECONDS):
                await self.delete(part)

    @abc.abstractmethod
    async def _write(self, part: str, chunks: Sending) -> None:
        """Write a temporary file, making the directories above it."""

    @abc.abstractmethod
    async def _publish(self, part: str, key: str, *, fresh: bool) -> None:
        """Move it, replacing an existing file; ``fresh``: raises PathExistsError when there is one.

        A store that cannot decide ``fresh`` in one step replaces.
        """
