"""``memfs ls`` and ``memfs tree``."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import click

from memfs.cli import layout
from memfs.cli.layout import Row
from memfs.cli.options import PATH, Operand, json_option
from memfs.cli.shell import Shell, file_command, printable, write_json
from memfs.errors import PathNotFoundError
from memfs.paths import join
from memfs.types import Attributes, FileKind


class _Format(NamedTuple):
    """The options of ``ls``."""

    long: bool
    human: bool
    recursive: bool
    by_time: bool
    by_size: bool
    reverse: bool
    all: bool
    directory: bool
    single: bool
    as_json: bool


@file_command("ls", example="memfs ls -lh /data")
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH...]")
@click.option("-l", "long", is_flag=True, help="Permissions, owner, size, time.")
@click.option("-h", "--human-readable", "human", is_flag=True, help="Sizes as 1.5K, 64M (with -l).")
@click.option("-R", "--recursive", is_flag=True, help="Subdirectories too.")
@click.option("-t", "by_time", is_flag=True, help="Newest first.")
@click.option("-S", "by_size", is_flag=True, help="Largest first.")
@click.option("-r", "--reverse", is_flag=True, help="The other way round.")
@click.option("-a", "--all", is_flag=True, help="Names that begin with a dot too.")
@click.option("-d", "--directory", is_flag=True, help="Directories themselves, not their content.")
@click.option("-1", "single", is_flag=True, help="One name a line, as when piped.")
@json_option
async def ls(shell: Shell, paths: tuple[Operand, ...], **options: bool) -> None:
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
                files.append(await _row(shell, path, path, attributes, form))
    _show(_ordered(files, form), form, [row.name for row in files])
    titled = len(operands) > 1 or form.recursive
    for at, directory in enumerate(directories):
        with shell.attempt("cannot open directory", directory):
            await _list(shell, directory, form, titled, bool(files or at))


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
    link = form.long and attributes.kind == FileKind.SYMLINK
    target = await shell.fs.readlink(path) if link else ""
    return Row(printable(name), attributes, printable(target))


async def _list(shell: Shell, path: str, form: _Format, titled: bool, apart: bool) -> None:
    """Show one directory, and with ``-R`` those below it."""
    if titled and not form.as_json:
        print(f"{'' if not apart else chr(10)}{printable(path)}:")
    rows: list[Row] = []
    full: dict[str, str] = {}
    async for entry in shell.entries(path):
        if form.all or not entry.name.startswith("."):
            row = await _row(shell, entry.path, entry.name, entry.stat().attributes, form)
            full[row.name] = entry.path
            rows.append(row)
    rows = _ordered(rows, form)
    _show(rows, form, [full[row.name] for row in rows])
    if form.recursive:
        for row in rows:
            if row.attributes.kind == FileKind.DIRECTORY:
                below = full[row.name]
                with shell.attempt("cannot open directory", below):
                    await _list(shell, below, form, titled, True)


def _ordered(rows: list[Row], form: _Format) -> list[Row]:
    keys: dict[bool, Callable[[Row], int]] = {
        form.by_time: lambda row: -row.attributes.modified_ns,
        form.by_size: lambda row: -row.attributes.size,
    }
    if True in keys:
        rows = sorted(rows, key=keys[True])
    return rows[::-1] if form.reverse else rows


def _show(rows: list[Row], form: _Format, paths: list[str]) -> None:
    if form.as_json:
        for row, path in zip(rows, paths, strict=True):
            write_json(layout.described(path, row.attributes))
        return
    if not rows:
        return
    if form.long:
        lines = layout.long_lines(rows, time.time(), form.human)
    elif form.single or not sys.stdout.isatty():
        lines = [row.name for row in rows]
    else:
        lines = layout.columns([row.name for row in rows], shutil.get_terminal_size().columns)
    sys.stdout.write("\n".join(lines) + "\n")


@file_command("tree", example="memfs tree -L 2 /data")
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH...]")
@click.option("-L", "depth", type=click.IntRange(1), help="Levels to show.")
@click.option("-d", "only_directories", is_flag=True, help="Directories only.")
@click.option("-a", "--all", "everything", is_flag=True, help="Names that begin with a dot too.")
async def tree(
    shell: Shell,
    paths: tuple[Operand, ...],
    depth: int | None,
    only_directories: bool,
    everything: bool,
) -> None:
    """Show directories as trees, the root by default."""
    counts = {True: 0, False: 0}
    for path in await shell.expand(paths or (Operand("/"),), "cannot open"):
        with shell.attempt("cannot open", path):
            print(printable(path))
            async for line, is_directory in _branches(
                shell, path, "", depth or 1 << 30, only_directories, everything
            ):
                counts[is_directory] += 1
                print(line)
    total = f"\n{counts[True]} director{'y' if counts[True] == 1 else 'ies'}"
    print(total if only_directories else f"{total}, {counts[False]} files")


async def _branches(
    shell: Shell, path: str, indent: str, depth: int, only_directories: bool, everything: bool
) -> AsyncIterator[tuple[str, bool]]:
    """Lines below ``path``, and whether each is of a directory."""
    entries = [
        entry
        async for entry in shell.entries(path)
        if (everything or not entry.name.startswith("."))
        and (entry.is_dir() or not only_directories)
    ]
    for at, entry in enumerate(entries):
        last = at == len(entries) - 1
        target = f" -> {await shell.fs.readlink(entry.path)}" if entry.is_symlink() else ""
        branch = "└── " if last else "├── "
        yield indent + branch + printable(entry.name + target), entry.is_dir()
        if entry.is_dir() and depth > 1:
            with shell.attempt("cannot open", join(path, entry.name)):
                deeper = indent + ("    " if last else "│   ")
                async for line in _branches(
                    shell, entry.path, deeper, depth - 1, only_directories, everything
                ):
                    yield line
