"""The blocking file system: a cluster's files, paths upon them, and what pickling makes of both."""

from __future__ import annotations

import threading

from memfs.client.blocking.cluster_files import ClusterFiles
from memfs.client.blocking.path import MemfsPath
from memfs.client.calls.wire import PathLike
from memfs.config import ClientConfig


class FileSystem(ClusterFiles):
    """A cluster seen as a file system, for ordinary blocking code.

    Paths are absolute, ``str`` or ``os.PathLike``. Every method takes ``timeout=``, seconds for the
    whole call; errors are those of ``memfs.errors`` and inherit the builtin ones. Close it, or
    leave the ``with`` block, to give back connections; at exit that happens by itself.
    """

    def __reduce__(self) -> tuple[object, ...]:
        """In another process, or copied: connected anew, once for all with the same settings."""
        return reconnect, (self.config,)

    def __repr__(self) -> str:
        return f"<memfs.FileSystem {','.join(map(str, self.config.endpoints))}>"

    def path(self, path: PathLike = "/") -> MemfsPath:
        """A ``pathlib``-like path on this file system."""
        return MemfsPath(self, path)


_reconnecting = threading.Lock()
_reconnected: dict[ClientConfig, FileSystem] = {}


def reconnect(config: ClientConfig) -> FileSystem:
    """The file system that everything pickled or copied with these settings shares here.

    It is closed at exit. Raises UnavailableError when no node answers.
    """
    with _reconnecting:
        found = _reconnected.get(config)
        if found is None or found.closed:
            found = _reconnected[config] = FileSystem(config)
        return found
