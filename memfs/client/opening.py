"""Making sessions and file systems: from a URL and options to something connected.

Owns how settings are found (arguments, ``MEMFS_*`` variables, files) and the file systems that
``memfs.open`` shares. The default cluster is ``MEMFS_URL``, else ``memfs://localhost:10500``.
"""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Any

from memfs import config, paths
from memfs.client.filesystem import FileSystem
from memfs.client.session import Session
from memfs.config import ClientConfig
from memfs.machine import machine_id
from memfs.transport.environment import Environment, production_environment


def client_config(url: str | None = None, **options: Any) -> ClientConfig:
    """The settings of a client: ``options`` (fields of ``ClientConfig``) win over variables and
    files. Raises ConfigError with everything that is wrong, InvalidPathError for a bad URL.
    """
    endpoints = paths.parse_url(url).endpoints if url else ()
    flags = {**options, "endpoints": endpoints or options.get("endpoints")}
    return config.load(ClientConfig, flags=flags)


async def open_session(settings: ClientConfig, environment: Environment | None = None) -> Session:
    """A session that knows the cluster. Raises UnavailableError naming what was tried."""
    session = Session(settings, environment or production_environment(), machine_id())
    try:
        await session.open()
    except BaseException:
        await session.close()
        raise
    return session


class Connecting:
    """What ``memfs.aio.connect`` returns: await it, or enter it with ``async with``."""

    def __init__(self, settings: ClientConfig) -> None:
        self._settings = settings
        self._opened: FileSystem | None = None

    async def _open(self) -> FileSystem:
        return FileSystem(await open_session(self._settings))

    def __await__(self) -> Generator[Any, Any, FileSystem]:
        return self._open().__await__()

    async def __aenter__(self) -> FileSystem:
        self._opened = await self._open()
        return self._opened

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._opened is not None, "left without having been entered"
        await self._opened.close()


def connect(url: str | None = None, **options: Any) -> Connecting:
    """Connect to a cluster: ``async with memfs.aio.connect(url) as fs`` or ``await`` it.

    ``url``: ``memfs://host:port,host:port``, any nodes, the others are discovered; None: the
    default cluster. ``options``: fields of ``memfs.config.ClientConfig``.
    """
    return Connecting(client_config(url, **options))
