"""``memfs sync``: make a tree equal to another one, by copying what differs, as rsync does it.

Owns what differs, what is left out and what is deleted; the copying is that of ``put``, ``get`` and
``cp``. A run that was interrupted goes on when it is started again: what has arrived is equal.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import AsyncIterator, Callable, Sequence

import click

from memfs.cli.files.copying.sync_sides import ClusterSide, LocalSide, Side, State
from memfs.cli.files.progress import shown_progress
from memfs.cli.options import PATH, LocalPath, Operand, json_option
from memfs.cli.shell import Shell, file_command, quoted, reason, write_json
from memfs.client.transfer.cluster_source import cluster_tree
from memfs.client.transfer.copy_calls import copy, get, put
from memfs.client.transfer.copying import Failure, Follow, Item, Progress, Transferred, chosen
from memfs.client.transfer.upload import local_tree
from memfs.paths import join
from memfs.types import FileKind

_MARK = "memfs:"


@file_command(
    "sync",
    example="memfs sync --delete ./site/ memfs:/srv/site\nmemfs sync memfs:/results ./results",
)
@click.argument("source", type=LocalPath(), metavar="SOURCE")
@click.argument("target", type=LocalPath(), metavar="TARGET")
@click.option("-c", "--checksum", is_flag=True, help="Compare content, not size and time.")
@click.option("--delete", is_flag=True, help="Remove from TARGET what SOURCE does not have.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out such names or paths.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar, no summary.")
@json_option
async def sync(
    shell: Shell,
    source: str,
    target: str,
    checksum: bool,
    delete: bool,
    dry_run: bool,
    exclude: tuple[str, ...],
    verbose: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make TARGET equal to SOURCE: copy what is new or differs in size or time.

    A path in the cluster is written memfs:/PATH or memfs://HOST:PORT/PATH; one of the two has to be
    one, both may. SOURCE/ means what is in it, SOURCE itself goes into TARGET. Modes, times and
    symbolic links are kept. A PATTERN with a / matches paths below SOURCE, one without matches
    names; what it matches is neither copied nor deleted.
    """
    if not _is_ours(source) and not _is_ours(target):
        raise click.UsageError("neither is in the cluster: write memfs:/PATH for the one that is")
    sides = tuple(
        ClusterSide(shell) if _is_ours(each) else LocalSide() for each in (source, target)
    )
    names = [_plain(each) for each in (source, target)]
    into = not source.endswith("/")
    if into:
        names[1] = join(names[1], names[0].rstrip("/").rpartition("/")[2])
    work = _Sync(shell, sides[0], sides[1], names[0], names[1])
    work.checksum, work.delete, work.dry_run = checksum, delete, dry_run
    work.excluded, work.says = _matcher(exclude), verbose or dry_run
    work.as_json = as_json
    if into and not dry_run and not await work.make_room(target):
        return
    with shell.attempt("cannot synchronise", source), shown_progress(quiet or dry_run) as report:
        await work.run(report.progress)
    if as_json:
        write_json(work.counts)


def _is_ours(text: str) -> bool:
    return text.startswith(_MARK)


def _plain(text: str) -> str:
    if not _is_ours(text):
        return text.rstrip("/") or "/"
    operand: Operand = PATH.convert(text, None, click.get_current_context())
    return operand


def _matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a path, relative to the source, is excluded."""

    def matches(relative: str) -> bool:
        name = relative.rpartition("/")[2]
        return any(
            fnmatch.fnmatchcase(relative, pattern.strip("/"))
            if "/" in pattern.rstrip("/")
            else fnmatch.fnmatchcase(name, pattern.rstrip("/"))
            for pattern in patterns
        )

    return matches


class _Sync:
    """One run."""

    checksum = delete = dry_run = says = as_json = False
    excluded: Callable[[str], bool]

    def __init__(self, shell: Shell, source: Side, target: Side, top: str, there: str) -> None:
        self._shell = shell
        self._source, self._target = source, target
        self._top, self._there = top, there
        self._seen: set[str] = set()
        self.counts = {"copied": 0, "unchanged": 0, "deleted": 0, "failed": 0}

    async def make_room(self, directory: str) -> bool:
        """Make ``directory`` for a source to go into, as rsync does; False when that failed."""
        with self._shell.attempt("cannot make", directory):
            if (await self._source.states([self._top]))[0] is not None:
                await self._target.make_parent(self._there)
            return True
        return False

    async def run(self, progress: Progress | None) -> None:
        """Copy, then delete. Nothing is deleted when a part of the source could not be read."""
        if self.dry_run:
            async for each in chosen(self._items(), self._choose):
                if not isinstance(each, Item):
                    self._fail(each.path, each.error)
        else:
            done = await self._copy(progress)
            for path, error in done.failures:
                self._fail(path, error)
        if self.delete and not self.counts["failed"]:
            await self._delete_extraneous()
        elif self.delete:
            self._shell.warn("nothing is deleted, for not everything could be read and copied")

    def _fail(self, path: str, error: OSError) -> None:
        self.counts["failed"] += 1
        self._shell.complain(f"cannot synchronise {quoted(path)}: {reason(error)}")

    def _items(self) -> AsyncIterator[Item | Failure]:
        if isinstance(self._source, LocalSide):
            return local_tree(self._top, self._there, Follow.NAMED)
        return cluster_tree(self._shell.fs, self._top, self._there, Follow.NAMED)

    async def _copy(self, progress: Progress | None) -> Transferred:
        both = isinstance(self._source, ClusterSide) and isinstance(self._target, ClusterSide)
        act = put if isinstance(self._source, LocalSide) else copy if both else get
        return await act(
            self._shell.fs,
            self._top,
            self._there,
            preserve=True,
            follow_symlinks=Follow.NAMED,
            progress=progress,
            choose=self._choose,
            return_errors=True,
        )

    # --- what differs -------------------------------------------------------------------------

    async def _choose(self, items: Sequence[Item]) -> Sequence[Item]:
        """What has to be copied. Records everything that the source has."""
        items = [item for item in items if item.named or not self.excluded(self._relative(item))]
        self._seen.update(item.target for item in items)
        states = await self._target.states([item.target for item in items])
        wanted = []
        for item, state in zip(items, states, strict=True):
            if await self._differs(item, state):
                wanted.append(item)
        return wanted

    def _relative(self, item: Item) -> str:
        return item.source[len(self._top) :].strip("/")

    async def _differs(self, item: Item, state: State | None) -> bool:
        if state is not None and state.kind != item.kind and self.delete:
            await self._remove(item.target, state)
            state = None
        if item.kind == FileKind.DIRECTORY:
            if state is None:
                self._say("copy", item.target + "/")
            return True
        if state is not None and state.kind == item.kind and await self._is_equal(item, state):
            self.counts["unchanged"] += 1
            return False
        self.counts["copied"] += 1
        self._say("copy", item.target)
        return True

    async def _is_equal(self, item: Item, state: State) -> bool:
        if item.kind == FileKind.SYMLINK:
            return await self._target.link(item.target) == item.link
        if item.size != state.size:
            return False
        if self.checksum:
            sums = [self._source.checksum(item.source), self._target.checksum(item.target)]
            first, second = await asyncio.gather(*sums)
            if first != second:
                return False
        elif item.modified_ns != state.modified_ns:
            return False
        if (item.mode, item.modified_ns) != (state.mode, state.modified_ns) and not self.dry_run:
            await self._target.set_attributes(item)
        return True

    def _say(self, act: str, path: str) -> None:
        if self.says and self.as_json:
            write_json({"action": act, "path": path})
        elif self.says:
            print(f"{act} {quoted(path)}")

    # --- what is too much ---------------------------------------------------------------------

    async def _delete_extraneous(self) -> None:
        """Remove what the source does not have, the deepest first."""
        doomed = []
        hidden: set[str] = set()
        async for path, state in self._target.below(self._there):
            above = path.rpartition("/")[0]
            if above in hidden or self.excluded(path[len(self._there) :].strip("/")):
                hidden.add(path)
            elif path not in self._seen:
                doomed.append((path, state))
        for path, state in reversed(doomed):
            kept = state.kind == FileKind.DIRECTORY and any(
                each.startswith(path + "/") for each in hidden
            )
            if not kept:
                await self._remove(path, state)

    async def _remove(self, path: str, state: State) -> None:
        self.counts["deleted"] += 1
        self._say("delete", path)
        if not self.dry_run:
            with self._shell.attempt("cannot delete", path):
                await self._target.remove(path, state)
