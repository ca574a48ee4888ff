"""``memfs ls`` and ``memfs tree``."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import click

from memfs.cli.files.looking import columns as layout
from memfs.cli.files.looking.columns import Row
from memfs.cli.files.looking.times import formats_of
from memfs.cli.files.looking.version_order import VersionKey
from memfs.cli.options import PATH, Operand, json_option
from memfs.cli.quoting import c_quoted, shell_quoted
from memfs.cli.shell import Shell, file_command, printable, write_json
from memfs.client.stat import DirEntry, Stat
from memfs.errors import PathNotFoundError, SymlinkLoopError
from memfs.paths import join
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
    almost_all: bool
    directory: bool
    single: bool
    in_columns: bool
    inodes: bool
    classify: bool
    slashes: bool
    literal: bool
    follow: bool
    follow_operands: bool
    no_owner: bool
    no_group: bool
    hide_group: bool
    numeric: bool
    by_access: bool
    by_change: bool
    by_extension: bool
    by_version: bool
    directories_first: bool
    quoted: bool
    blocks: bool
    time_style: str
    colour: str
    as_json: bool

    @property
    def ordered(self) -> bool:
        """Whether another order than that of names is wanted, in which the namespace lists."""
        sorting = self.by_time or self.by_size or self.by_extension or self.by_version
        clock = (self.by_access or self.by_change) and not self.long
        return not self.unsorted and (sorting or clock or self.reverse or self.directories_first)

    def needs_attributes(self, listed: Stat) -> bool:
        """Whether more is shown than name, kind and inode."""
        marked = (self.classify or self.blocks) and listed.is_file()
        clock = self.by_time or self.by_access or self.by_change
        return marked or self.long or clock or self.by_size or self.as_json

    @property
    def clock(self) -> str:
        """Which of the times is shown and sorted by."""
        if self.by_change:
            return "changed_ns"
        return "accessed_ns" if self.by_access else "modified_ns"

    @property
    def lengthy(self) -> layout.Long:
        """Of a long listing."""
        group = not self.no_group and not self.hide_group
        return layout.Long(
            self.human,
            self.inodes,
            not self.no_owner,
            group,
            self.numeric,
            self.time_style,
            self.clock,
            self.blocks,
        )

    def shows(self, name: str) -> bool:
        """Whether a name of a directory is listed."""
        return self.all or self.almost_all or not name.startswith(".")

    def shown(self, name: str) -> str:
        """A name as it is printed: as a shell takes it where a terminal shows it."""
        if self.quoted and not self.as_json:
            return c_quoted(name)
        if self.literal or self.as_json or not sys.stdout.isatty():
            return printable(name)
        return shell_quoted(name, always=False)

    @property
    def streams(self) -> bool:
        """Whether names can be shown as they arrive: in the order of names and not in columns."""
        return not self.ordered and (self.as_json or self.long or not self.columnar)

    @property
    def columnar(self) -> bool:
        """Whether several names stand in a line."""
        return not self.single and (self.in_columns or sys.stdout.isatty())


class _Screen:
    """Prints one listing, a part at a time."""

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
                _aligned(rows),
                time.time(),
                form.lengthy,
                decorate=self._decorated,
                least=self._widths,
            )
        rows = _aligned(rows) if form.columnar else rows
        before = self._before(rows)
        shown = [number + self._decorated(row) for number, row in zip(before, rows, strict=True)]
        if not form.columnar:
            return shown
        plain = [
            number + row.name + self._mark(row) for number, row in zip(before, rows, strict=True)
        ]
        return layout.columns(plain, shutil.get_terminal_size().columns, shown)

    def _before(self, rows: list[Row]) -> list[str]:
        """What stands before the names: inodes and sizes, no narrower than on earlier pages."""
        form, cells = self._form, []
        if form.inodes:
            cells.append([str(row.attributes.inode) for row in rows])
        if form.blocks:
            cells.append([layout.kibibytes(row.attributes, form.human) for row in rows])
        least = self._widths or [0] * len(cells)
        self._widths = [
            max(width, *map(len, column)) for width, column in zip(least, cells, strict=True)
        ]
        aligned = [
            [f"{each:>{width}} " for each in column]
            for width, column in zip(self._widths, cells, strict=True)
        ]
        return ["".join(each) for each in zip(*aligned, strict=True)] or [""] * len(rows)

    def _decorated(self, row: Row) -> str:
        coloured = self._colours(row.name, row.attributes) if self._colours else row.name
        return coloured + self._mark(row)

    def _mark(self, row: Row) -> str:
        """The suffix of ``-F``; a link has none with ``-l``, which shows it anyway."""
        mark = layout.indicator(row.attributes) if self._form.classify else ""
        if self._form.slashes and row.attributes.kind == FileKind.DIRECTORY:
            mark = "/"
        return "" if row.target and self._form.long else mark


def _aligned(rows: list[Row]) -> list[Row]:
    """Where some names are quoted on a terminal, the others are indented by one."""
    quoted = [row.name.startswith(("'", '"')) for row in rows]
    if not sys.stdout.isatty() or not any(quoted):
        return rows
    return [
        row if is_quoted else row._replace(name=" " + row.name)
        for row, is_quoted in zip(rows, quoted, strict=True)
    ]


class _TimeStyle(click.ParamType[str]):
    """How times are shown."""

    name = "style"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Raises a usage error."""
        try:
            formats_of(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class _ListCommand(click.Command):
    """A command with ``--color[=WHEN]``: a word behind it is no value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        until = args.index("--") if "--" in args else len(args)
        options = ["--color=always" if each == "--color" else each for each in args[:until]]
        return super().parse_args(ctx, options + args[until:])


_ORDERS = {
    "name": "",
    "none": "unsorted",
    "size": "by_size",
    "time": "by_time",
    "version": "by_version",
    "extension": "by_extension",
}
"""What ``--sort`` says, and the option that says the same."""


@file_command("ls", cls=_ListCommand, example="memfs ls -lh /data\nmemfs ls -lv --time-style=+%F")
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH...]")
@click.option("-l", "long", is_flag=True, help="Permissions, owner, size, time.")
@click.option("-h", "--human-readable", "human", is_flag=True, help="Sizes as 1.5K, 64M (with -l).")
@click.option("-g", "no_owner", is_flag=True, help="As -l, without the owner.")
@click.option("-o", "no_group", is_flag=True, help="As -l, without the group.")
@click.option("-G", "--no-group", "hide_group", is_flag=True, help="No group (with -l).")
@click.option("-n", "--numeric-uid-gid", "numeric", is_flag=True, help="As -l, with numbers.")
@click.option("--full-time", is_flag=True, help="As -l, with all of the time.")
@click.option(
    "--time-style",
    type=_TimeStyle(),
    default="locale",
    help="Of times (with -l): full-iso, long-iso, iso, locale or +FORMAT, as date has it.",
)
@click.option("-R", "--recursive", is_flag=True, help="Subdirectories too.")
@click.option("-t", "by_time", is_flag=True, help="Newest first.")
@click.option("-u", "by_access", is_flag=True, help="The time of access, for -l and -t.")
@click.option("-c", "by_change", is_flag=True, help="That of the attributes, for -l and -t.")
@click.option("-X", "by_extension", is_flag=True, help="By what follows the last dot.")
@click.option("-v", "by_version", is_flag=True, help="Numbers in names by their value.")
@click.option("--group-directories-first", "directories_first", is_flag=True, help="Before files.")
@click.option("-S", "by_size", is_flag=True, help="Largest first.")
@click.option("-U", "unsorted", is_flag=True, help="As the namespace has them: by name.")
@click.option(
    "--sort",
    type=click.Choice([*_ORDERS]),
    help="none (-U), size (-S), time (-t), version (-v), extension (-X).",
)
@click.option("-r", "--reverse", is_flag=True, help="The other way round.")
@click.option(
    "-a", "--all", is_flag=True, help="Names with a dot first too, and . and .. themselves."
)
@click.option("-A", "--almost-all", is_flag=True, help="The same without . and .. themselves.")
@click.option("-L", "--dereference", "follow", is_flag=True, help="What links lead to.")
@click.option(
    "-H",
    "--dereference-command-line",
    "follow_operands",
    is_flag=True,
    help="... those that are operands.",
)
@click.option("-d", "--directory", is_flag=True, help="Directories themselves, not their content.")
@click.option("-1", "single", is_flag=True, help="One name a line, as when piped.")
@click.option("-C", "in_columns", is_flag=True, help="In columns, as on a terminal.")
@click.option("-p", "slashes", is_flag=True, help="/ behind directories.")
@click.option("-N", "--literal", is_flag=True, help="Names without quotes.")
@click.option("-Q", "--quote-name", "quoted", is_flag=True, help="Names in double quotes.")
@click.option("-i", "--inode", "inodes", is_flag=True, help="The number of each inode.")
@click.option("-s", "--size", "blocks", is_flag=True, help="KiB that each file's content takes.")
@click.option("-F", "--classify", is_flag=True, help="/ behind directories, @ links, * programs.")
@click.option(
    "--color",
    "colour",
    type=click.Choice(["auto", "always", "never"]),
    default="never",
    help="Kinds in the colours of LS_COLORS; --color alone means always.",
)
@json_option
async def ls(shell: Shell, paths: tuple[Operand, ...], **options: Any) -> None:
    """List directories, the root by default.

    Other orders than that of names (-t, -S, -X, -v, -r) hold a directory's entries in memory, about
    1 KiB each; else what a page of the listing brings is printed at once.
    """
    full_time, order = options.pop("full_time"), options.pop("sort")
    if order is not None:
        options |= {option: option == _ORDERS[order] for option in _ORDERS.values() if option}
    form = _Format(**options)
    if form.no_owner or form.no_group or form.numeric or full_time:
        form = form._replace(long=True)
    if full_time:
        form = form._replace(time_style="full-iso")
    files: list[Row] = []
    directories: list[Row] = []
    operands = await shell.expand(paths or (Operand("/"),), "cannot access")
    for path in operands:
        with shell.attempt("cannot access", path):
            attributes = await _attributes(shell, path, form)
            if attributes.kind == FileKind.DIRECTORY and not form.directory:
                directories.append(Row(path, attributes, "", path))
            else:
                row = await _row(shell, path, path, attributes, form)
                files += await _with_residence(shell, [row], form)
    if not form.unsorted:
        for rows in (files, directories):
            rows.sort(key=lambda row: row.path.encode())
    _Screen(form).show(_ordered(files, form, lambda row: row.path))
    titled = len(operands) > 1 or form.recursive
    preceded = bool(files)
    for directory in _ordered(directories, form, lambda row: row.path):
        preceded = await _list(shell, directory.path, form, titled, preceded)


async def _attributes(shell: Shell, path: str, form: _Format) -> Attributes:
    """An operand's own attributes, or those of what it leads to, when ls(1) takes them."""
    if form.follow or form.follow_operands:
        return (await shell.fs.stat(path)).attributes
    if not (form.directory or form.long or form.classify):  # only if it leads to a directory
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
    return Row(form.shown(name), attributes, form.shown(target) if target else "", path)


async def _entry_row(shell: Shell, entry: DirEntry, form: _Format) -> Row:
    attributes = entry.listed.attributes
    if form.needs_attributes(entry.listed):
        with shell.attempt("cannot access", entry.path):
            attributes = entry.stat().attributes
    if attributes.is_bare:  # where a link leads is not told either
        return Row(form.shown(entry.name), attributes, "", entry.path)
    if form.follow and entry.is_symlink():
        matters = form.slashes or form.classify or form.needs_attributes(entry.listed)
        quiet = () if matters else (PathNotFoundError, SymlinkLoopError)
        with shell.attempt("cannot access", entry.path, expected=quiet):
            attributes = (await shell.fs.stat(entry.path)).attributes
    row = await _row(shell, entry.path, entry.name, attributes, form)
    if form.directories_first and entry.is_symlink():
        row = row._replace(leads_to_directory=await shell.fs.isdir(entry.path))
    return row


async def _with_residence(shell: Shell, rows: list[Row], form: _Format) -> list[Row]:
    """The states of a page's files in their external stores; nothing is asked where none is
    shown."""
    if not (form.long or form.as_json) or not any(row.attributes.object_state for row in rows):
        return rows
    found = await shell.fs.residence([Stat(row.attributes) for row in rows])
    return [row._replace(residence=each) for row, each in zip(rows, found, strict=True)]


async def _list(shell: Shell, top: str, form: _Format, titled: bool, preceded: bool) -> bool:
    """Show one directory, and with ``-R`` those below it.

    ``preceded``: something is shown above already; returns whether there is now.
    """
    waiting = [top]
    while waiting:
        path = waiting.pop()
        title = ""
        if titled and not form.as_json:
            title = f"{chr(10) if preceded else ''}{form.shown(path)}:"
        with shell.attempt("cannot open directory", path):
            pages = aiter(shell.fs.scandir_pages(path))
            first: list[DirEntry] = await anext(
                pages, []
            )  # nothing is said of a directory that cannot be read
            if title:
                print(title)
            preceded = True
            found = [each async for each in _shown(shell, path, first, pages, form)]
            waiting += reversed(found if form.recursive else [])
    return preceded


async def _shown(
    shell: Shell,
    top: str,
    page: list[DirEntry] | None,
    pages: AsyncIterator[list[DirEntry]],
    form: _Format,
) -> AsyncIterator[str]:
    """Show what one directory holds, as it arrives if that is possible; the directories in it."""
    screen = _Screen(form)
    rows = await _dots(shell, top) if form.all and not form.as_json else []
    while page is not None:
        fresh = [await _entry_row(shell, each, form) for each in page if form.shows(each.name)]
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


async def _dots(shell: Shell, top: str) -> list[Row]:
    """The entries ``.`` and ``..``, which the namespace does not list."""
    found = [(name, await shell.fs.stat(join(top, name))) for name in (".", "..")]
    return [Row(name, each.attributes) for name, each in found]


def _directories(rows: list[Row]) -> list[str]:
    return [row.path for row in rows if row.path and row.attributes.kind == FileKind.DIRECTORY]


def _is_directory(row: Row) -> bool:
    return row.attributes.kind == FileKind.DIRECTORY or row.leads_to_directory


def _name(row: Row) -> str:
    """The plain name, without quotes."""
    return row.path.rpartition("/")[2] or row.name


def _extension(name: str) -> str:
    return name[name.rfind(".") :] if "." in name else ""


def _ordered(rows: list[Row], form: _Format, name_of: Callable[[Row], str] = _name) -> list[Row]:
    if not form.ordered:
        return rows
    by_time = form.by_time or ((form.by_access or form.by_change) and not form.long)
    keys: dict[bool, Callable[[Row], Any]] = {
        form.by_extension: lambda row: _extension(name_of(row)),
        form.by_version: lambda row: VersionKey(name_of(row)),
        by_time: lambda row: -getattr(row.attributes, form.clock),
        form.by_size: lambda row: -row.attributes.size,
    }
    if True in keys:
        rows = sorted(rows, key=keys[True])
    rows = rows[::-1] if form.reverse else rows
    if form.directories_first:
        rows = sorted(rows, key=lambda row: not _is_directory(row))
    return rows
