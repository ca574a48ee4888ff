"""Copying files and trees between the local disk and the cluster: the two calls for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from memfs.client.copying import Copy, Failure, Item, Progress, ProgressEvent, Transferred
from memfs.client.download import Download, cluster_tree
from memfs.client.upload import Upload, local_tree
from memfs.client.wire import PathLike, wire
from memfs.errors import DeadlineError

if TYPE_CHECKING:
    from memfs.client.filesystem import FileSystem

__all__ = ["Failure", "Progress", "ProgressEvent", "Transferred", "get", "put"]


async def put(
    fs: FileSystem,
    local: str | os.PathLike[str],
    target: PathLike,
    *,
    preserve: bool = False,
    follow_symlinks: bool = False,
    replication: int | None = None,
    progress: Progress | None = None,
    return_errors: bool = False,
    timeout: float | None = None,
) -> Transferred:
    """Copy a local file or tree to ``target`` (its new name, not the directory to put it in).

    ``preserve`` keeps exact modes and modification times, otherwise files get their mode less the
    umask. Symlinks are copied as such unless ``follow_symlinks``. Existing files are replaced.
    ``progress`` is called with a :class:`ProgressEvent` as bytes arrive.

    A file that fails does not stop the others: its error is raised at the end, the first one, or
    with ``return_errors`` all are in ``failures``. What concerns all files is raised at once, as is
    FileNotFoundError when there is no ``local``, and DeadlineError after ``timeout`` seconds.
    """
    upload = Upload(fs, preserve, replication)
    items = local_tree(os.fspath(local), wire(target).text, follow_symlinks)
    return await _run(Copy(upload, progress), items, return_errors, timeout)


async def get(
    fs: FileSystem,
    source: PathLike,
    local: str | os.PathLike[str],
    *,
    preserve: bool = False,
    follow_symlinks: bool = False,
    progress: Progress | None = None,
    return_errors: bool = False,
    timeout: float | None = None,
) -> Transferred:
    """Copy a file or tree of the cluster to ``local``; arguments and errors as in :func:`put`."""
    download = Download(fs, preserve)
    items = cluster_tree(fs, wire(source).text, os.fspath(local), follow_symlinks)
    return await _run(Copy(download, progress), items, return_errors, timeout)


async def _run(
    copy: Copy, items: AsyncIterator[Item | Failure], return_errors: bool, timeout: float | None
) -> Transferred:
    scope = asyncio.timeout(timeout)
    try:
        async with scope:
            done = await copy.run(items)
    except TimeoutError:
        if not scope.expired():
            raise
        raise DeadlineError("the copy did not end in the time given") from None
    if done.failures and not return_errors:
        raise done.failures[0].error
    return done
