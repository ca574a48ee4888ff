"""``memfs tree``: directories with lines that lead to what they hold."""

from __future__ import annotations

from collections.abc import AsyncIterator

import click

from memfs.cli.files.looking import columns as layout
from memfs.cli.options import PATH, Operand, WholeNumber, json_option
from memfs.cli.shell import Shell, file_command, printable, write_json
from memfs.client.stat import DirEntry
from memfs.quantities import counted


@file_command("tree", example="memfs tree -L 2 /data")
@click.argument("paths", nargs=-1, type=PATH, metavar="[PATH...]")
@click.option("-L", "depth", type=WholeNumber(1), default=1 << 30, help="Levels to show.")
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
