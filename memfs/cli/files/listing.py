"""``memfs ls`` and ``memfs tree``."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import click

from memfs.cli.files import columns as layout
from memfs.cli.files.columns import Row
from memfs.cli.options import PATH, Operand, json_option
from memfs.cli.shell import Shell, file_command, printable, write_json
from memfs.client.stat import DirEntry, Stat
from memfs.errors import PathNotFoundError
from memfs.quantities import counted
from memfs.types import Attributes, FileKind


class _Format(NamedTuple):
    """The options of ``ls``."""

    long: bool
    human: bool
    recursive: bool
    by_time: bool
    by_size: bool
    unsorted: bool
    reverse: bool
    all: bool
    directory: bool
    single: bool
    inodes: bool
    classify: bool
    colour: str
    as_json: bool

    @property
    def ordered(self) -> bool:
        """Whether another order is wanted than the namespace's, by name."""
        return not self.unsorted and (self.by_time or self.by_size or self.reverse)

    def needs_attributes(self, listed: Stat) -> bool:
        """Whether more is shown than name, kind and inode."""
        marked = self.classify and listed.is_file()
        return marked or self.long or self.by_time or self.by_size or self.as_json

    @property
    def streams(self) -> bool:
        """Whether names can be shown as they arrive: in the namespace's order, not in columns."""
        return not self.ordered and (
            self.as_json or self.long or self.single or not sys.stdout.isatty()
        )


class _Screen:
    """Shows the rows of one listing, some at a time."""

    def __init__(self, form: _Format) -> None:
        self._form = form
        coloured = form.colour == "always" or (form.colour == "auto" and sys.stdout.isatty())
        self._colours = layout.Colours(os.environ.get("LS_COLORS", "")) if coloured else None
        self._widths: list[int] = []

    def show(self, rows: list[Row]) -> None:
        if self._form.as_json:
            for row in rows:
                write_json(layout.described(row.path, row.attributes, row.target, row.residence))
        elif rows:
            sys.stdout.write("\n".join(self._lines(rows)) + "\n")

    def _lines(self, rows: list[Row]) -> list[str]:
        form = self._form
        if form.long:
            return layout.long_lines(
                rows,
                time.time(),
                form.human,
                inodes=form.inodes,
                decorate=self._decorated,
                least=self._widths,
            )
        before = self._numbers(rows) if form.inodes else [""] * len(rows)
        shown = [number + self._decorated(row) for number, row in zip(before, rows, strict=True)]
        if form.single or not sys.stdout.isatty():
            return shown
        plain = [
            number + row.name + self._mark(row) for number, row in zip(before, rows, strict=True)
        ]
        return layout.columns(plain, shutil.get_terminal_size().columns, shown)

    def _numbers(self, rows: list[Row]) -> list[str]:
        width = max(len(str(row.attributes.inode)) for row in rows)
        self._widths = [max([width, *self._widths])]
        return [f"{row.attributes.inode:>{self._widths[0]}} " for row in rows]

    def _decorated(self, row: Row) -> str:
        coloured = self._colours(row.name, row.attributes) if self._colours else row.name
        return coloured + self._mark(row)

    def _mark(self, row: Row) -> str:
        """The suffix of ``-F``; a link has none with ``-l``, which shows it anyway."""
        mark = layout.indicator(row.attributes) if self._form.classify else ""
        return "" if row.target and self._form.long else mark


@file_command("ls", example="memfs ls -lh /data")
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH...]")
@click.option("-l", "long", is_flag=True, help="Permissions, owner, size, time.")
@click.option("-h", "--human-readable", "human", is_flag=True, help="Sizes as 1.5K, 64M (with -l).")
@click.option("-R", "--recursive", is_flag=True, help="Subdirectories too.")
@click.option("-t", "by_time", is_flag=True, help="Newest first.")
@click.option("-S", "by_size", is_flag=True, help="Largest first.")
@click.option("-U", "unsorted", is_flag=True, help="As the namespace has them: by name.")
@click.option("-r", "--reverse", is_flag=True, help="The other way round.")
@click.option("-a", "--all", is_flag=True, help="Names that begin with a dot too.")
@click.option("-d", "--directory", is_flag=True, help="Directories themselves, not their content.")
@click.option("-1", "single", is_flag=True, help="One name a line, as when piped.")
@click.option("-i", "--inode", "inodes", is_flag=True, help="The number of each inode.")
@click.option("-F", "--classify", is_flag=True, help="/ behind directories, @ links, * programs.")
@click.option(
    "--color",
    "colour",
    type=click.Choice(["auto", "always", "never"]),
    is_flag=False,
    flag_value="always",
    default="never",
    help="Kinds in the colours of LS_COLORS.",
)
@json_option
async def ls(shell: Shell, paths: tuple[Operand, ...], **options: Any) -> None:
    """List directories, the root by default."""
    form = _Format(**options)
    files: list[Row] = []
    directories: list[str] = []
    operands = await shell.expand(paths or (Operand("/"),), "cannot access")
    for path in operands:
        with shell.attempt("cannot access", path):
            attributes = await _attributes(shell, path, form)
            if attributes.kind == FileKind.DIRECTORY and not form.directory:
                directories.append(path)
            else:
                row = await _row(shell, path, path, attributes, form)
                files += await _with_residence(shell, [row], form)
    _Screen(form).show(_ordered(files, form))
    titled = len(operands) > 1 or form.recursive
    apart = bool(files)
    for directory in directories:
        apart = await _list(shell, directory, form, titled, apart)


async def _attributes(shell: Shell, path: str, form: _Format) -> Attributes:
    """Those of what a link leads to, unless the link itself is meant or leads nowhere."""
    if not form.directory:
        try:
            found = (await shell.fs.stat(path)).attributes
            if found.kind == FileKind.DIRECTORY:
                return found
        except PathNotFoundError:
            pass
    return (await shell.fs.lstat(path)).attributes


async def _row(shell: Shell, path: str, name: str, attributes: Attributes, form: _Format) -> Row:
    link = (form.long or form.as_json) and attributes.kind == FileKind.SYMLINK
    target = await shell.fs.readlink(path) if link else ""
    return Row(printable(name), attributes, printable(target), path)


async def _entry_row(shell: Shell, entry: DirEntry, form: _Format) -> Row:
    attributes = entry.listed.attributes
    if form.needs_attributes(entry.listed):
        with shell.attempt("cannot access", entry.path):
            attributes = entry.stat().attributes
    if attributes.is_bare:  # where a link leads is not told either
        return Row(printable(entry.name), attributes, "", entry.path)
    return await _row(shell, entry.path, entry.name, attributes, form)


async def _with_residence(shell: Shell, rows: list[Row], form: _Format) -> list[Row]:
    """Where it is shown, how the files of a page stand to their stores; no question elsewhere."""
    if not (form.long or form.as_json) or not any(row.attributes.object_state for row in rows):
        return rows
    found = await shell.fs.residence([Stat(row.attributes) for row in rows])
    return [row._replace(residence=each) for row, each in zip(rows, found, strict=True)]


async def _list(shell: Shell, top: str, form: _Format, titled: bool, apart: bool) -> bool:
    """Show one directory, and with ``-R`` those below it.

    ``apart``: something is shown above already; returns whether there is now.
    """
    waiting = [top]
    while waiting:
        path = waiting.pop()
        title = ""
        if titled and not form.as_json:
            title = f"{chr(10) if apart else ''}{printable(path)}:"
        with shell.attempt("cannot open directory", path):
            pages = aiter(shell.fs.scandir_pages(path))
            first: list[DirEntry] = await anext(
                pages, []
            )  # nothing is said of a directory that cannot be read
            if title:
                print(title)
            apart = True
            found = [each async for each in _shown(shell, first, pages, form)]
            waiting += reversed(found if form.recursive else [])
    return apart


async def _shown(
    shell: Shell, page: list[DirEntry] | None, pages: AsyncIterator[list[DirEntry]], form: _Format
) -> AsyncIterator[str]:
    """Show what one directory holds, as it arrives if that is possible; the directories in it."""
    screen = _Screen(form)
    rows: list[Row] = []
    while page is not None:
        fresh = [
            await _entry_row(shell, entry, form)
            for entry in page
            if form.all or not entry.name.startswith(".")
        ]
        rows += await _with_residence(shell, fresh, form)
        if form.streams:
            screen.show(rows)
            for directory in _directories(rows):
                yield directory
            rows = []
        page = await anext(pages, None)
    rows = _ordered(rows, form)
    screen.show(rows)
    for directory in _directories(rows):
        yield directory


def _directories(rows: list[Row]) -> list[str]:
    return [row.path for row in rows if row.attributes.kind == FileKind.DIRECTORY]


def _ordered(rows: list[Row], form: _Format) -> list[Row]:
    if not form.ordered:
        return rows
    keys: dict[bool, Callable[[Row], int]] = {
        form.by_time: lambda row: -row.attributes.modified_ns,
        form.by_size: lambda row: -row.attributes.size,
    }
    if True in keys:
        rows = sorted(rows, key=keys[True])
    return rows[::-1] if form.reverse else rows


@file_command("tree", example="memfs tree -L 2 /data")
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH...]")
@click.option("-L", "depth", type=click.IntRange(1), default=1 << 30, help="Levels to show.")
@click.option("-d", "only_directories", is_flag=True, help="Directories only.")
@click.option("-a", "--all", "everything", is_flag=True, help="Names that begin with a dot too.")
@json_option
async def tree(
    shell: Shell,
    paths: tuple[Operand, ...],
    depth: int,
    only_directories: bool,
    everything: bool,
    as_json: bool,
) -> None:
    """Show directories as trees, the root by default."""
    counts = {True: 0, False: 0}
    for path in await shell.expand(paths or (Operand("/"),), "cannot open"):
        with shell.attempt("cannot open", path):
            top = await shell.fs.stat(path)
            if as_json:
                write_json(layout.described(path, top.attributes))
            else:
                print(printable(path))
            if not top.is_dir():
                counts[False] += 1
                continue
            async for entry, before, link in _branches(
                shell, path, depth, only_directories, everything
            ):
                counts[entry.is_dir()] += 1
                if as_json:
                    write_json(layout.described(entry.path, entry.listed.attributes, link))
                else:
                    print(before + printable(f"{entry.name} -> {link}" if link else entry.name))
    if not as_json:
        print(_total(counts[True], None if only_directories else counts[False]))


def _total(directories: int, files: int | None) -> str:
    shown = "\n" + counted(directories, "directory", "directories")
    return shown if files is None else f"{shown}, {counted(files, 'file')}"


async def _branches(
    shell: Shell, top: str, depth: int, only_directories: bool, everything: bool
) -> AsyncIterator[tuple[DirEntry, str, str]]:
    """Entries below ``top``, depth first, with the text before each and where a link leads."""

    async def listed(path: str) -> AsyncIterator[tuple[DirEntry, bool]]:
        """The entries that are shown, and of each whether it is the last."""
        before = None
        with shell.attempt("cannot open", path):
            async for entry in shell.entries(path):
                if entry.name.startswith(".") and not everything:
                    continue
                if entry.is_dir() or not only_directories:
                    if before is not None:
                        yield before, False
                    before = entry
        if before is not None:
            yield before, True

    levels = [("", listed(top))]
    while levels:
        indent, entries = levels[-1]
        found = await anext(entries, None)
        if found is None:
            levels.pop()
            continue
        entry, last = found
        link = ""
        if entry.is_symlink() and not entry.listed.attributes.is_bare:
            link = await shell.fs.readlink(entry.path)
        yield entry, indent + ("└── " if last else "├── "), link
        if entry.is_dir() and len(levels) < depth:
            deeper = indent + ("    " if last else "│   ")
            levels.append((deeper, listed(entry.path)))
