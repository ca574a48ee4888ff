"""Entry points of the blocking API: ``memfs.connect`` and ``memfs.open``.

Owns the file systems that ``memfs.open`` shares, one per cluster named and process.
"""

from __future__ import annotations

import os
import threading
from typing import Unpack

from memfs import paths
from memfs.client.blocking.filesystem import FileSystem, reconnect
from memfs.client.calls.wire import PathLike, named_nodes, text_of
from memfs.client.connect import client_config
from memfs.client.handles.create_options import OpenKeywords
from memfs.paths import Endpoint
from memfs.types import OpenedFile

_shared: dict[tuple[tuple[Endpoint, ...], str | None], FileSystem] = {}
_sharing = threading.Lock()


def connect(url: str | None = None, **options: object) -> FileSystem:
    """Connect to a cluster.

    ``url``: ``memfs://host:port,host:port``, any nodes, the others are discovered; None:
    ``MEMFS_URL``, else ``memfs://localhost:10500``. ``options``: fields of
    ``memfs.config.ClientConfig``, for example ``user``, ``timeout_seconds``, ``replication``.
    Raises UnavailableError when no node answers, ConfigError for a wrong option.
    """
    return FileSystem(client_config(url, **options))


def open(
    file: PathLike,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    *,
    url: str | None = None,
    **options: Unpack[OpenKeywords],
) -> OpenedFile:
    """Open a file of a memfs cluster, as the builtin ``open`` opens a local one.

    ``file`` is an absolute path, or a URL: ``memfs:///a/file``, ``memfs://host:10500/a/file``.
    ``url`` names the cluster when the path does not. Further keyword options are those of
    :meth:`memfs.FileSystem.open`. Calls to the same cluster share one connection.

    >>> with memfs.open("memfs:///hello.txt", "w") as f:
    ...     f.write("Hello, world!")
    """
    text = text_of(file)
    fs = shared(named_nodes(text) or (paths.endpoints_of(url) if url else ()))
    return fs.open(file, mode, buffering, encoding, errors, newline, **options)


def shared(endpoints: tuple[Endpoint, ...] = ()) -> FileSystem:
    """The file system that ``open`` uses for a cluster, connected when first needed.

    Settings are read at that time; of the environment only ``MEMFS_URL`` is looked at again.
    """
    key = (endpoints, os.environ.get("MEMFS_URL"))
    found = _shared.get(key)
    if found is None or found.closed:
        with _sharing:
            found = _shared.get(key)
            if found is None or found.closed:
                settings = client_config(endpoints=endpoints or None)
                found = _shared[key] = reconnect(settings)
    return found
