"""The blocking form of :class:`memfs.client.contents.ContentOperations`.

Made from it by `make blocking`: not to be edited.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from memfs.client.blocking.generated.namespace import BlockingNamespace
from memfs.client.calls.wire import PathLike
from memfs.client.handles.create_options import WriteKeywords
from memfs.client.stat import Stat
from memfs.types import Buffer


class BlockingContents(BlockingNamespace):
    """As :class:`memfs.client.contents.ContentOperations`; each call waits."""

    def read_bytes(self, path: PathLike, *, timeout: float | None = None) -> bytes:
        """The whole content, as of one moment. A small file takes one round trip."""
        return self._run(self._core.read_bytes, path, timeout=timeout)

    def write_bytes(
        self,
        path: PathLike,
        data: Buffer,
        *,
        exclusive: bool = False,
        parents: bool = False,
        permissions: int | None = None,
        replication: int | None = None,
        recover: bool = False,
        timeout: float | None = None,
    ) -> int:
        """Replace the content (or create the file); returns the bytes written.

        Every reader sees the old content or the new one; a write that breaks off changes nothing.
        ``recover``: even if somebody else has the file open for writing, whose lease then ends.
        """
        return self._run(
            self._core.write_bytes,
            path,
            data,
            exclusive=exclusive,
            parents=parents,
            permissions=permissions,
            replication=replication,
            recover=recover,
            timeout=timeout,
        )

    def read_text(
        self,
        path: PathLike,
        encoding: str = "utf-8",
        errors: str = "strict",
        *,
        timeout: float | None = None,
    ) -> str:
        """The whole content, decoded; line ends become ``\\n``."""
        return self._run(self._core.read_text, path, encoding, errors, timeout=timeout)

    def write_text(
        self,
        path: PathLike,
        text: str,
        encoding: str = "utf-8",
        errors: str = "strict",
        **options: Unpack[WriteKeywords],
    ) -> int:
        """Encode and write the whole content; returns the characters. Options: ``write_bytes``."""
        return self._run(self._core.write_text, path, text, encoding, errors, **options)

    def read_many(
        self,
        paths: Iterable[PathLike],
        *,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> list[Any]:
        """Contents of many small files, in order: a request per batch and node.

        With ``return_errors`` a file's error takes the place of its content; otherwise the first
        one is raised.
        """
        return self._run(self._core.read_many, paths, return_errors=return_errors, timeout=timeout)

    def map_many(
        self,
        paths: Iterable[PathLike],
        *,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> list[Any]:
        """As ``read_many``, but read-only views that stay valid when the files are deleted.

        Small files that a node of this host holds are not copied: a view is the node's memory,
        which stays in use, with its neighbours (a segment, 8 MiB by default), as long as the view
        does. Views of what came from another host share the memory it was received into.
        """
        return self._run(self._core.map_many, paths, return_errors=return_errors, timeout=timeout)

    def read_ranges(
        self,
        ranges: Iterable[tuple[PathLike, int | None, int | None]],
        *,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> list[Any]:
        """``content[start:stop]`` of files, in order: small ranges by a request per batch and node.

        ``ranges``: path, start, stop; None and negative numbers as in Python. Ranges of one file
        are of one version of it. Errors: as in ``read_many``.
        """
        return self._run(
            self._core.read_ranges, ranges, return_errors=return_errors, timeout=timeout
        )

    def write_many(
        self,
        files: Mapping[Any, Buffer] | Iterable[tuple[Any, Buffer]],
        *,
        exclusive: bool = False,
        parents: bool = False,
        permissions: int | None = None,
        replication: int | None = None,
        recover: bool = False,
        return_errors: bool = False,
        timeout: float | None = None,
    ) -> list[Any]:
        """Write many small files, each atomically: two round trips a batch.

        ``files``: path to content. Returns bytes written, in order; errors as in ``read_many``. Of
        several contents for one path the last one wins (with ``exclusive`` the others fail).
        ``recover``: as of ``write_bytes``.
        """
        return self._run(
            self._core.write_many,
            files,
            exclusive=exclusive,
            parents=parents,
            permissions=permissions,
            replication=replication,
            recover=recover,
            return_errors=return_errors,
            timeout=timeout,
        )

    def copy(
        self,
        source: PathLike,
        target: PathLike,
        *,
        recover: bool = False,
        timeout: float | None = None,
    ) -> Stat:
        """Copy one file's content and permissions; an existing target is replaced.

        ``recover``: even if somebody else has the target open for writing.
        """
        return self._run(self._core.copy, source, target, recover=recover, timeout=timeout)

    def truncate(
        self, path: PathLike, size: int, *, recover: bool = False, timeout: float | None = None
    ) -> None:
        """Set a file's length: cut it, or add zeros. ``recover``: as of :meth:`open`."""
        self._run(self._core.truncate, path, size, recover=recover, timeout=timeout)

    def recover_lease(self, path: PathLike, *, timeout: float | None = None) -> Stat:
        """End another writer's lease at its last flush: what a crashed writer left behind."""
        return self._run(self._core.recover_lease, path, timeout=timeout)

    def touch(
        self,
        path: PathLike,
        mode: int | None = None,
        exist_ok: bool = True,
        *,
        timeout: float | None = None,
    ) -> None:
        """Create an empty file, or set the times of an existing one to now."""
        self._run(self._core.touch, path, mode, exist_ok, timeout=timeout)
