"""Copying files and trees to, from and within the cluster: the three calls for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from memfs.client.contents import ContentOperations
from memfs.client.transfer.cluster_source import cluster_tree
from memfs.client.transfer.copying import (
    Choose,
    Copy,
    Failure,
    Follow,
    Item,
    Progress,
    ProgressEvent,
    Transferred,
    chosen,
)
from memfs.client.transfer.download import Download
from memfs.client.transfer.duplicate import Duplicate
from memfs.client.transfer.hard_links import HardLinks
from memfs.client.transfer.upload import Upload, local_tree, new_bits
from memfs.errors import DeadlineError

__all__ = ["Failure", "Follow", "Progress", "ProgressEvent", "Transferred", "copy", "get", "put"]


async def put(
    fs: ContentOperations,
    local: str | os.PathLike[str],
    target: str,
    *,
    preserve: bool = False,
    xattrs: bool = False,
    follow_symlinks: bool | Follow = False,
    replication: int | None = None,
    recover: bool = False,
    progress: Progress | None = None,
    choose: Choose | None = None,
    links: HardLinks | None = None,
    return_errors: bool = False,
    timeout: float | None = None,
) -> Transferred:
    """Copy a local file or tree to ``target`` (its new name, not the directory to put it in).

    ``preserve`` keeps exact modes and times, and with ``xattrs`` extended attributes as far as the
    target takes them; otherwise new files get their mode less the umask. It also makes what has
    several names at the source one file with several names again (``links``, shared by several
    calls, does that also where they copy one name each, and without ``preserve``). A symlink given
    as ``local`` is followed; others are copied as such unless ``follow_symlinks`` (a
    :class:`Follow` says it exactly). Existing files get new content and keep the rest, as cp does
    it; ``recover``: even if somebody else has them open for writing, whose lease then ends.
    ``progress`` is called with a :class:`ProgressEvent` as bytes arrive; ``choose`` is given the
    :class:`Item` of all there is to copy, some at a time, and returns those to copy.

    A file that fails does not stop the others: its error is raised at the end, the first one, or
    with ``return_errors`` all are in ``failures``. What concerns all files is raised at once, as is
    FileNotFoundError when there is no ``local``, and DeadlineError after ``timeout`` seconds.
    """
    upload = Upload(fs, preserve, replication, recover, xattrs)
    items = local_tree(os.fspath(local), target, _follow(follow_symlinks))
    copying = Copy(upload, progress, _links(links, preserve))
    return await _run(copying, chosen(items, choose), return_errors, timeout)


async def get(
    fs: ContentOperations,
    source: str,
    local: str | os.PathLike[str],
    *,
    preserve: bool = False,
    xattrs: bool = False,
    follow_symlinks: bool | Follow = False,
    progress: Progress | None = None,
    choose: Choose | None = None,
    links: HardLinks | None = None,
    return_errors: bool = False,
    timeout: float | None = None,
) -> Transferred:
    """Copy a file or tree of the cluster to ``local``; arguments and errors as in :func:`put`."""
    download = Download(fs, preserve, xattrs)
    items = cluster_tree(fs, source, os.fspath(local), _follow(follow_symlinks))
    copying = Copy(download, progress, _links(links, preserve))
    return await _run(copying, chosen(items, choose), return_errors, timeout)


async def copy(
    fs: ContentOperations,
    source: str,
    target: str,
    *,
    preserve: bool = False,
    xattrs: bool = False,
    follow_symlinks: bool | Follow = False,
    replication: int | None = None,
    recover: bool = False,
    progress: Progress | None = None,
    choose: Choose | None = None,
    links: HardLinks | None = None,
    return_errors: bool = False,
    timeout: float | None = None,
) -> Transferred:
    """Copy a file or tree within the cluster; arguments and errors as in :func:`put`.

    ``preserve`` then keeps owners, where that is allowed, and access control lists, too.
    """
    kept_bits = 0o7777 if preserve else new_bits()
    duplicate = Duplicate(fs, preserve, replication, kept_bits, recover, xattrs)
    items = cluster_tree(fs, source, target, _follow(follow_symlinks))
    copying = Copy(duplicate, progress, _links(links, preserve))
    return await _run(copying, chosen(items, choose), return_errors, timeout)


def _links(given: HardLinks | None, preserve: bool) -> HardLinks | None:
    return HardLinks() if given is None and preserve else given


def _follow(given: bool | Follow) -> Follow:
    if isinstance(given, Follow):
        return given
    return Follow.ALWAYS if given else Follow.NAMED


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
