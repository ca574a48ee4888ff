"""The cluster as the source of a copy: listing a tree of it.

Owns the order, which symbolic links are followed, and that one which leads back ends there. Must
not know where the copy goes.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator

from memfs.client.contents import ContentOperations
from memfs.client.stat import DirEntry, Stat
from memfs.client.transfer.copying import (
    LEADS_BACK,
    SPECIAL,
    STOPPING,
    Ancestors,
    Failure,
    Follow,
    Item,
)
from memfs.paths import join
from memfs.types import FileKind

LISTED_AT_ONCE = 16


async def cluster_tree(
    fs: ContentOperations, top: str, target: str, follow: Follow
) -> AsyncIterator[Item | Failure]:
    """What is to copy: the tree at ``top``, a directory before what it holds.

    Several directories are asked for at once, but only the first page of each.
    """
    found = await fs.stat(top, follow_symlinks=follow.follows(True))
    text = "" if not found.is_symlink() else await fs.readlink(top)
    top_item = _item(top, target, found, text, follow.follows(True))
    if isinstance(top_item, Failure):
        yield top_item
        return
    first = top_item._replace(named=True)
    yield first
    links = follow.follows(False)
    pending = [(first, Ancestors(first.inode))] if first.kind == FileKind.DIRECTORY else []
    while pending:
        parents = [pending.pop() for _ in range(min(len(pending), LISTED_AT_ONCE))]
        listings = [fs.scandir_pages(parent.source) for parent, _ in parents]
        pages = await asyncio.gather(*map(_next_page, listings))
        for (parent, trail), listing, page in zip(parents, listings, pages, strict=True):
            async for item in _items(fs, parent, listing, page, links):
                if not isinstance(item, Item) or item.kind != FileKind.DIRECTORY:
                    yield item
                elif links and trail.holds(item.inode):
                    yield Failure(item.source, OSError(errno.ELOOP, LEADS_BACK))
                else:
                    yield item
                    pending.append((item, Ancestors(item.inode, trail)))


Page = list[DirEntry] | OSError | None
"""Entries, or why there are none, or the end."""


async def _next_page(listing: AsyncIterator[list[DirEntry]]) -> Page:
    try:
        return await anext(listing, None)
    except OSError as error:
        return error


async def _items(
    fs: ContentOperations,
    parent: Item,
    listing: AsyncIterator[list[DirEntry]],
    page: Page,
    follow: bool,
) -> AsyncIterator[Item | Failure]:
    """The entries of one directory, its first page given."""
    while page is not None:
        if isinstance(page, STOPPING):
            raise page
        if isinstance(page, OSError):
            yield Failure(parent.source, page)
            return
        for entry in page:
            there = join(parent.target, entry.name)
            yield await _resolved(fs, entry, there, follow)
        page = await _next_page(listing)


async def _resolved(
    fs: ContentOperations, entry: DirEntry, target: str, follow: bool
) -> Item | Failure:
    """An item from an entry; a symlink costs a request more."""
    source = entry.path
    try:
        found = entry.stat()
        if found.is_symlink() and follow:
            found = await fs.stat(source)
        link = await fs.readlink(source) if found.is_symlink() else ""
    except STOPPING:
        raise
    except OSError as error:
        return Failure(source, error)
    return _item(source, target, found, link, follow)


def _item(source: str, target: str, found: Stat, link: str, followed: bool) -> Item | Failure:
    attributes = found.attributes
    if found.kind.special:
        return Failure(source, OSError(errno.EINVAL, SPECIAL, source))
    several = found.is_file() and (attributes.links > 1 or followed)
    return Item(
        source,
        target,
        FileKind(attributes.kind),
        attributes.size,
        attributes.mode,
        attributes.modified_ns,
        link,
        accessed_ns=attributes.accessed_ns,
        inode=attributes.inode,
        owner=attributes.owner,
        group=attributes.group,
        identity=attributes.inode if several else None,
        acl=attributes.acl,
    )
