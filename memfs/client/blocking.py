"""Entry points of the blocking API: ``memfs.connect`` and ``memfs.open``.

Owns the file systems that ``memfs.open`` shares, one per cluster named and process.
"""

from __future__ import annotations

import os
import threading
from typing import IO, Any

from memfs import paths
from memfs.client.opening import client_config
from memfs.client.sync import FileSystem
from memfs.client.wire import PathLike
from memfs.config import ClientConfig

_shared: dict[ClientConfig, FileSystem] = {}
_sharing = threading.Lock()


def connect(url: str | None = None, **options: Any) -> FileSystem:
    """Connect to a cluster.

    ``url``: ``memfs://host:port,host:port``, any nodes, the others are discovered; None:
    ``MEMFS_URL``, else ``memfs://localhost:10500``. ``options``: fields of
    ``memfs.config.ClientConfig``, for example ``user``, ``timeout_seconds``, ``replication``.
    Raises UnavailableError when no node answers, ConfigError for a wrong option.
    """
    return FileSystem(client_config(url, **options))


def open(
    path: PathLike,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    *,
    url: str | None = None,
    **options: Any,
) -> IO[Any]:
    """Open a file of a memfs cluster, as the builtin ``open`` opens a local one.

    ``path`` is absolute, or a URL: ``memfs:///a/file``, ``memfs://host:10500/a/file``. ``url``
    names the cluster when the path does not. Further keyword options are those of
    :meth:`memfs.FileSystem.open`. Calls to the same cluster share one connection.

    >>> with memfs.open("memfs:///hello.txt", "w") as f:
    ...     f.write("Hello, world!")
    """
    text = os.fspath(path)
    named = text if text.startswith(paths.SCHEME + "://") else None
    if named is not None and not paths.parse_url(named).endpoints:
        named = None
    return shared(named or url).open(path, mode, buffering, encoding, errors, newline, **options)


def shared(url: str | None) -> FileSystem:
    """The file system that ``open`` uses for a cluster, connected when first needed."""
    settings = client_config(url)
    found = _shared.get(settings)
    if found is None or found.closed:
        with _sharing:
            found = _shared.get(settings)
            if found is None or found.closed:
                found = _shared[settings] = FileSystem(settings)
    return found
