"""The options that ``put``, ``get`` and ``cp`` share, and what they do to each thing to copy.

They mean what they mean for cp(1).
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import click

from memfs.cli.files.changing.names import check_targets
from memfs.cli.files.changing.replacing import Clobber, clobber_options, confirmed
from memfs.cli.options import json_option
from memfs.cli.shell import Shell, quoted
from memfs.client.stat import Stat
from memfs.client.transfer.copying import Follow, Item
from memfs.client.transfer.hard_links import HardLinks
from memfs.types import FileKind

F = TypeVar("F", bound=Callable[..., Any])
Found = Stat | os.stat_result


class CopyFlags(NamedTuple):
    """The options of one copy."""

    recursive: bool
    preserve: bool
    xattrs: bool
    """With ``preserve``: extended attributes too."""
    links: HardLinks | None
    """Hard links found so far, of all operands; None: each name gets a copy of its own."""
    follow: Follow
    link: bool
    """Make hard links instead of copies."""
    plain: bool
    """The target is the new name, not a directory to copy into."""
    directory: str | None
    """The directory to copy all operands into."""
    clobber: Clobber | None
    update: bool
    """Only what is newer than what it replaces."""
    parents: bool
    """The target gets the source's whole path."""
    force: bool
    verbose: bool
    as_json: bool


def copy_flags(function: F) -> F:
    """Add the options that the three commands share, given to the body as one ``options``."""

    @functools.wraps(function)
    async def body(shell: Shell, **given: Any) -> None:
        archive, links = given.pop("archive"), given.pop("links")
        recursive = given.pop("recursive") or archive
        link = given.pop("link", False)
        kept = links or archive or (recursive and not link)
        usual = Follow.NEVER if kept else Follow.ALWAYS if link else Follow.NAMED
        follow = given.pop("follow") or usual
        preserve = given.pop("preserve") or archive
        hard = HardLinks() if preserve or links else None
        check_targets(given["directory"], given["plain"])
        names = (
            "plain",
            "directory",
            "clobber",
            "update",
            "parents",
            "force",
            "verbose",
            "as_json",
        )
        rest = {name: given.pop(name) for name in names}
        await function(
            shell,
            options=CopyFlags(recursive, preserve, archive, hard, follow, link, **rest),
            **given,
        )

    for decorate in reversed(_SHARED):
        body = decorate(body)
    return body  # type: ignore[return-value]


_SHARED = (
    click.option("-r", "-R", "--recursive", is_flag=True, help="Directories and all in them."),
    click.option("-p", "--preserve", is_flag=True, help="Keep modes, times and hard links."),
    click.option(
        "-a", "--archive", is_flag=True, help="Short for -r -p -d; extended attributes too."
    ),
    click.option(
        "-L", "--dereference", "follow", flag_value=Follow.ALWAYS, help="Follow symbolic links."
    ),
    click.option("-H", "follow", flag_value=Follow.NAMED, help="Follow those that are operands."),
    click.option(
        "-P", "--no-dereference", "follow", flag_value=Follow.NEVER, help="Copy links as links."
    ),
    click.option("-d", "links", is_flag=True, help="The same, and keep hard links."),
    click.option("-t", "--target-directory", "directory", help="Copy all operands into it."),
    click.option("-T", "--no-target-directory", "plain", is_flag=True, help="TARGET is the name."),
    click.option("-f", "--force", is_flag=True, help="Replace what exists (as always, but -l)."),
    clobber_options,
    click.option("-u", "--update", is_flag=True, help="Only what is newer than what it replaces."),
    click.option("--parents", is_flag=True, help="All of SOURCE's path below TARGET."),
    click.option("-v", "--verbose", is_flag=True, help="Say what is copied."),
    click.option("-q", "--quiet", is_flag=True, help="No progress bar, no summary."),
    json_option,
)


class Choice:
    """What ``-n``, ``-i``, ``-u`` and ``-v`` do to each thing that is about to be copied."""

    def __init__(self, shell: Shell, options: CopyFlags, local: bool) -> None:
        self._shell, self._options, self._local = shell, options, local

    async def choose(self, items: Sequence[Item]) -> Sequence[Item]:
        """The items to copy."""
        if self._options.clobber in (Clobber.ASK, Clobber.NEVER) or self._options.update:
            there = await self._there(items, follow=False)
            followed = await self._there(items, follow=True) if self._options.update else there
            known = zip(items, there, followed, strict=True)
            items = [item for item, old, led_to in known if self._replaces(item, old, led_to)]
        if self._options.verbose:
            for item in items:
                print(f"{quoted(item.source)} -> {quoted(item.target)}")
        return items

    async def wants(self, item: Item) -> bool:
        """Whether one thing is copied."""
        return bool(await self.choose([item]))

    def _replaces(self, item: Item, old: Found | None, led_to: Found | None) -> bool:
        """``old`` is what has the target's name now, ``led_to`` what it leads to if it is a
        link."""
        if old is None or item.kind == FileKind.DIRECTORY:
            return True
        compared = old if item.kind == FileKind.SYMLINK else led_to
        newest = compared is None or item.modified_ns > compared.st_mtime_ns
        if self._options.update and not newest:
            return False
        if self._options.clobber is Clobber.ASK:
            return confirmed(f"overwrite {quoted(item.target)}?")
        return self._options.clobber is not Clobber.NEVER

    async def _there(self, items: Sequence[Item], follow: bool) -> Sequence[Found | None]:
        targets = [item.target for item in items]
        if self._local:
            return await asyncio.to_thread(lambda: [_local(each, follow) for each in targets])
        return await self._shell.fs.stat_many(targets, follow_symlinks=follow)


def _local(path: str, follow: bool) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=follow)  # noqa: PTH116 - either way
    except OSError:
        return None
