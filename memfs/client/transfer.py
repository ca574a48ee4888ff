"""Copying files and trees between the local disk and the cluster: the two calls for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from memfs.client.copying import Copy, Failure, Progress, ProgressEvent, Transferred
from memfs.client.download import Download, cluster_tree
from memfs.client.upload import Upload, local_tree

if TYPE_CHECKING:
    from memfs.client.filesystem import FileSystem

__all__ = ["Failure", "Progress", "ProgressEvent", "Transferred", "get", "put"]


async def put(
    fs: FileSystem,
    local: str | os.PathLike[str],
    target: str,
    *,
    preserve: bool = False,
    follow_symlinks: bool = False,
    replication: int | None = None,
    progress: Progress | None = None,
) -> Transferred:
    """Copy a local file or tree to ``target`` (its new name, not the directory to put it in).

    ``preserve`` keeps exact modes and modification times, otherwise files get their mode less the
    umask. Symlinks are copied as such unless ``follow_symlinks``. Existing files are replaced.
    Raises FileNotFoundError when there is no ``local``, and what concerns all files.
    """
    top = os.fspath(local)
    upload = Upload(fs, preserve, replication)
    items = local_tree(top, target, follow_symlinks)
    return await Copy(upload, progress, preserve).run(items)


async def get(
    fs: FileSystem,
    source: str,
    local: str | os.PathLike[str],
    *,
    preserve: bool = False,
    follow_symlinks: bool = False,
    progress: Progress | None = None,
) -> Transferred:
    """Copy a file or tree of the cluster to ``local``; arguments and errors as in :func:`put`."""
    download = Download(fs, preserve)
    items = cluster_tree(fs, source, os.fspath(local), follow_symlinks)
    return await Copy(download, progress, preserve).run(items)
