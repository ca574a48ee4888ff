"""The connections of an asynchronous file system: one for each event loop that uses it.

fsspec returns the same instance for the same options in a thread, whatever loop runs. Invariant: a
connection is used only in the loop in which it was opened, and is closed with it.
"""

from __future__ import annotations

import asyncio
import contextlib

from memfs import aio
from memfs.client.connect import open_file_system
from memfs.config import ClientConfig


class LoopConnections:
    """Connects in the running loop when it is first asked there."""

    def __init__(self, config: ClientConfig) -> None:
        self._config = config
        self._kept: dict[asyncio.AbstractEventLoop, _Kept] = {}

    async def here(self) -> aio.AsyncFileSystem:
        """The file system of the running loop. Raises UnavailableError when no node answers."""
        loop = asyncio.get_running_loop()
        if loop not in self._kept or self._kept[loop].ended:
            self._kept = {each: kept for each, kept in self._kept.items() if not each.is_closed()}
            self._kept[loop] = _Kept(self._config)
        return await asyncio.shield(self._kept[loop].opened)

    async def close(self) -> None:
        """End the connection of the running loop, if there is one."""
        kept = self._kept.pop(asyncio.get_running_loop(), None)
        if kept is not None:
            await kept.close()


class _Kept:
    """A connection, owned by a task, since ending a loop cancels its tasks (as asyncio.run
    does)."""

    def __init__(self, config: ClientConfig) -> None:
        self.opened: asyncio.Future[aio.AsyncFileSystem] = (
            asyncio.get_running_loop().create_future()
        )
        self._keeping = asyncio.create_task(self._keep(config), name="fsspec's connection")

    @property
    def ended(self) -> bool:
        return self._keeping.done()

    async def _keep(self, config: ClientConfig) -> None:
        try:
            fs = await open_file_system(config)
        except Exception as error:
            self.opened.set_exception(error)
            return
        except asyncio.CancelledError:
            self.opened.cancel()
            raise
        self.opened.set_result(fs)
        try:
            await asyncio.Event().wait()
        finally:
            await fs.close()

    async def close(self) -> None:
        self._keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._keeping
