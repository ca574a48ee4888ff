"""Copying files and trees to, from and within the cluster: the three calls for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Unpack

from memfs.client.contents import ContentOperations
from memfs.client.transfer.cluster_source import cluster_tree
from memfs.client.transfer.copy_options import (
    CopyKeywords,
    CopyOptions,
    StoreKeywords,
    StoreOptions,
)
from memfs.client.transfer.copying import (
    Copy,
    Direction,
    Failure,
    Follow,
    Item,
    Progress,
    ProgressEvent,
    Transferred,
    chosen,
)
from memfs.client.transfer.download import Download
from memfs.client.transfer.duplicate import Duplicate, Linked
from memfs.client.transfer.upload import Upload, local_tree, new_bits
from memfs.errors import DeadlineError

__all__ = ["Failure", "Follow", "Progress", "ProgressEvent", "Transferred", "copy", "get", "put"]


async def put(
    fs: ContentOperations,
    local: str | os.PathLike[str],
    target: str,
    **given: Unpack[StoreKeywords],
) -> Transferred:
    """Copy a local file or tree to ``target`` (its new name, not the directory to put it in).

    Options are those of :class:`StoreOptions`.

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
    FileNotFoundError when there is no ``local``, and DeadlineError after ``timeout`` seconds. No
    directories are made above ``target``.
    """
    options = StoreOptions(**given)
    upload = Upload(fs, options.preserve, options.replication, options.recover, options.xattrs)
    return await _run(upload, local_tree(os.fspath(local), target, options.follow), options)


async def get(
    fs: ContentOperations,
    source: str,
    local: str | os.PathLike[str],
    **given: Unpack[CopyKeywords],
) -> Transferred:
    """Copy a file or tree of the cluster to ``local``; errors as in :func:`put`.

    Options are those of :class:`CopyOptions`.
    """
    options = CopyOptions(**given)
    download = Download(fs, options.preserve, options.xattrs)
    return await _run(download, cluster_tree(fs, source, os.fspath(local), options.follow), options)


async def copy(
    fs: ContentOperations, source: str, target: str, **given: Unpack[StoreKeywords]
) -> Transferred:
    """Copy a file or tree within the cluster; arguments and errors as in :func:`put`.

    ``preserve`` then keeps owners, where that is allowed, and access control lists, too.
    """
    options = StoreOptions(**given)
    kept_bits = 0o7777 if options.preserve else new_bits()
    duplicate = Duplicate(
        fs, options.preserve, options.replication, kept_bits, options.recover, options.xattrs
    )
    return await _run(duplicate, cluster_tree(fs, source, target, options.follow), options)


async def link_tree(
    fs: ContentOperations,
    source: str,
    target: str,
    *,
    replace: bool = False,
    **given: Unpack[CopyKeywords],
) -> Transferred:
    """As :func:`copy`, but only directories are made: of all else there is a further name.

    What exists is an error, or makes way (``replace``).
    """
    options = CopyOptions(**given)
    kept_bits = 0o7777 if options.preserve else new_bits()
    linked = Linked(fs, options.preserve, None, kept_bits, xattrs=options.xattrs)
    linked.replace = replace
    return await _run(linked, cluster_tree(fs, source, target, options.follow), options)


async def _run(
    direction: Direction, items: AsyncIterator[Item | Failure], options: CopyOptions
) -> Transferred:
    copying = Copy(direction, options.progress, options.hard_links)
    scope = asyncio.timeout(options.timeout)
    try:
        async with scope:
            done = await copying.run(chosen(items, options.choose))
    except TimeoutError:
        if not scope.expired():
            raise
        raise DeadlineError("the copy did not end in the time given") from None
    if done.failures and not options.return_errors:
        raise done.failures[0].error
    return done
