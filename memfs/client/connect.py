"""Making sessions and file systems: from a URL and options to something connected.

Owns how settings are found: arguments, ``MEMFS_*`` variables, files. The default cluster is
``MEMFS_URL``, else ``memfs://localhost:10500``.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

from memfs import config, paths
from memfs.client.credentials import as_proven, client_proof
from memfs.client.filesystem import AsyncFileSystem
from memfs.client.session.connecting import connect_session
from memfs.client.session.session import Session
from memfs.config import ClientConfig
from memfs.errors import ConfigError
from memfs.machine import machine_id, process_name
from memfs.security.keys import keys_in, secret_text
from memfs.transport.environment import Environment, production_environment


def client_config(url: str | None = None, **options: object) -> ClientConfig:
    """The settings of a client: ``options`` (fields of ``ClientConfig``) win over variables and
    files. Raises ConfigError with everything that is wrong, InvalidPathError for a bad URL.
    """
    endpoints = paths.endpoints_of(url) if url else ()
    flags = {**options, "endpoints": endpoints or options.get("endpoints")}
    return config.load(ClientConfig, flags=flags)


def client_environment(settings: ClientConfig) -> Environment:
    """The real world, with what proves the user of ``settings``. Raises ConfigError."""
    return production_environment(*client_proof(settings))


async def open_session(
    settings: ClientConfig,
    environment: Environment | None = None,
    *,
    client: int | None = None,
    process: int | None = None,
) -> Session:
    """A session that knows the cluster, of a client that there was before or of a new one.

    ``process``: who it is in the eyes of others, None: this one. Raises UnavailableError naming
    what was tried.
    """
    process = os.getpid() if process is None else process
    return await connect_session(
        as_proven(settings),
        environment or client_environment(settings),
        machine_id(),
        holder=process_name(process),
        process=process,
        client=client,
    )


async def open_file_system(
    settings: ClientConfig, environment: Environment | None = None
) -> AsyncFileSystem:
    """A connected file system. Raises ConfigError, UnavailableError naming what was tried."""
    keys = encryption_keys(settings)
    return file_system(await open_session(settings, environment), keys)


def file_system(session: Session, keys: tuple[bytes, ...]) -> AsyncFileSystem:
    """The file system over a session: a sealing one where there are keys."""
    if not keys:
        return AsyncFileSystem(session)
    from memfs.client.sealed.filesystem import SealedFileSystem  # cryptography takes its time
    from memfs.security.sealing import Keyring

    return SealedFileSystem(session, Keyring(keys))


def encryption_keys(settings: ClientConfig) -> tuple[bytes, ...]:
    """The keys by which a client seals. Raises ConfigError."""
    name = settings.encryption_key_file
    if not name:
        return settings.encryption_key
    keys = keys_in(secret_text(Path(name).expanduser(), "encryption_key_file"))
    if not keys:
        raise ConfigError(f"encryption_key_file: {name} has no key: make one with memfs keygen")
    return (*settings.encryption_key, *keys)


class Connecting:
    """What ``memfs.aio.connect`` returns: await it, or enter it with ``async with``."""

    def __init__(self, settings: ClientConfig) -> None:
        self._settings = settings
        self._opened: AsyncFileSystem | None = None

    async def _open(self) -> AsyncFileSystem:
        return await open_file_system(self._settings)

    def __await__(self) -> Generator[object, None, AsyncFileSystem]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncFileSystem:
        self._opened = await self._open()
        return self._opened

    async def __aexit__(self, *_: object) -> None:
        assert self._opened is not None, "left without having been entered"
        await self._opened.close()


def connect(url: str | None = None, **options: object) -> Connecting:
    """Connect to a cluster: ``async with memfs.aio.connect(url) as fs`` or ``await`` it.

    ``url``: ``memfs://host:port,host:port``, any nodes, the others are discovered; None: the
    default cluster. ``options``: fields of ``memfs.config.ClientConfig``.
    """
    return Connecting(client_config(url, **options))
